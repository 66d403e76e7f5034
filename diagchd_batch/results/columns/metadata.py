"""The key-value metadata of an output's Parquet files."""

from collections.abc import Mapping

from diagchd_batch.results.columns.scores import SCHEMA_VERSION

SCHEMA_VERSION_KEY = b"diagchd_batch.schema_version"
RUN_ID_KEY = b"diagchd_batch.run_id"
SHARD_METADATA_KEY = b"diagchd_batch.shard"
DATA_KEY = b"diagchd_batch.data"
SIMULATED = b"SIMULATED"


def table_metadata(
    *, run_id: str, fingerprint: str, simulated: bool, schema_version: int = SCHEMA_VERSION
) -> dict[bytes, bytes]:
    """Return the metadata of every table of a run.

    It holds no time, date or host, so that files stay byte-identical.

    Args:
        run_id: The run's id.
        fingerprint: The run's fingerprint, 64 hexadecimal digits.
        simulated: Whether the data are SIMULATED, which the metadata then says.
        schema_version: The schema version that the table was written with.
    """
    values = {
        SCHEMA_VERSION_KEY.decode(): str(schema_version),
        RUN_ID_KEY.decode(): run_id,
        "diagchd_batch.fingerprint": fingerprint,
    }
    if simulated:
        values[DATA_KEY.decode()] = SIMULATED.decode()
    return {key.encode(): value.encode() for key, value in values.items()}


def shard_metadata(table_metadata: Mapping[bytes, bytes], shard: int) -> dict[bytes, bytes]:
    """Return a score file's metadata: that of the run's tables and the number of the shard.

    Args:
        table_metadata: The metadata of the run's tables, as `table_metadata` returns it.
        shard: The shard's number, from 0.
    """
    return {**table_metadata, SHARD_METADATA_KEY: str(shard).encode()}


def schema_version_of(metadata: Mapping[bytes, bytes]) -> int | None:
    """Return the schema version in a table's metadata, or None where this program knows no such version."""
    stored = metadata.get(SCHEMA_VERSION_KEY, b"").decode(errors="replace")
    known = {str(version): version for version in range(1, SCHEMA_VERSION + 1)}
    return known.get(stored)
