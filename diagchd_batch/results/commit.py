"""Commits a shard: one file, created only if absent, so that exactly one attempt wins."""

import hashlib
import io
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from diagchd_batch.errors import ItemError
from diagchd_batch.output_layout import (
    SOURCES_FILE,
    identifying_values_file,
    shard_file,
    sources_file,
    sources_prefix,
)
from diagchd_batch.results.columns import SOURCE_COLUMNS, SOURCES, parquet_options
from diagchd_batch.storage import Store

IDENTIFYING_VALUES_KEY = b"diagchd_batch.identifying_values"
"""Metadata key of a sources file: its attempt also wrote a file of identifying values. Earlier versions did not."""

SCORES_DIGEST_KEY = b"diagchd_batch.scores_sha256"
"""Metadata key of a sources file: the digest of the shard file that its attempt made."""

_CHUNK_BYTES = 8 << 20


def file_sha256(file: BinaryIO) -> str:
    """Return the SHA-256 of all bytes of an open file, in hexadecimal."""
    digest = hashlib.sha256()
    file.seek(0)
    while chunk := file.read(_CHUNK_BYTES):
        digest.update(chunk)
    return digest.hexdigest()


def stored_sha256(store: Store, key: str) -> str:
    """Return the SHA-256 of a stored object, in hexadecimal. Memory does not depend on its size.

    Args:
        store: The store.
        key: The object's key.

    Raises:
        ItemError: The object cannot be read.
    """
    info = store.stat(key)
    size_bytes = (info and info.size_bytes) or 0
    digest = hashlib.sha256()
    for start in range(0, size_bytes, _CHUNK_BYTES):
        digest.update(store.read_range(key, start, _CHUNK_BYTES))
    return digest.hexdigest()


def recorded_digests(private: Store, run_id: str, shards: Collection[int]) -> dict[int, list[str]]:
    """Return the digests that attempts recorded for the score files of shards.

    Args:
        private: The private tree.
        run_id: The run.
        shards: The numbers of the shards.

    Returns:
        Shard → the SHA-256 of each file that an attempt made, as 64 hex digits, each once. The list is empty if no
        sources file of the shard can be read.
    """
    found: dict[int, list[str]] = {shard: [] for shard in shards}
    for info in private.list(sources_prefix(run_id)):
        match = SOURCES_FILE.fullmatch(info.key)
        if match is None or int(match["shard"]) not in found:
            continue
        digests = found[int(match["shard"])]
        with suppress(ItemError, pa.ArrowException):  # `verify` reports a damaged sources file
            metadata = pq.read_schema(io.BytesIO(private.read(info.key))).metadata or {}
            digest = metadata.get(SCORES_DIGEST_KEY, b"").decode()
            if digest and digest not in digests:
                digests.append(digest)
    return found


def record_sources(
    private: Store,
    run_id: str,
    shard: int,
    attempt: str,
    scores: BinaryIO,
    rows: Iterable[Mapping[str, Any]],
    metadata: Mapping[bytes, bytes],
) -> None:
    """Write what an attempt read its images from, and the digest of the shard file that it made.

    Call it before `commit_shard`, so that no committed shard lacks its sources. `verify` finds the attempt that won by
    the digest.

    Args:
        private: The private tree.
        run_id: The run.
        shard: The shard's number.
        attempt: The attempt's name.
        scores: The shard file, as it was written. `commit_shard` must get the same open file.
        rows: Rows of schema SOURCES.
        metadata: The metadata of the run's tables (`columns.table_metadata`).
    """
    stamped = {**metadata, SCORES_DIGEST_KEY: file_sha256(scores).encode()}
    if private.stat(identifying_values_file(run_id, shard, attempt)) is not None:
        stamped[IDENTIFYING_VALUES_KEY] = b"recorded"
    table = pa.Table.from_pylist([dict(row) for row in rows], schema=SOURCES.with_metadata(stamped))
    # In memory, because URIs name patients and a worker that is killed would leave a temporary file behind.
    file = pa.BufferOutputStream()
    pq.write_table(table, file, **parquet_options(SOURCE_COLUMNS, table.num_rows))
    private.create(sources_file(run_id, shard, attempt), file.getvalue().to_pybytes())


def commit_shard(storage: Store, run_id: str, shard: int, scores: BinaryIO) -> bool:
    """Make a finished shard file the shard's record.

    The file is open, and is never opened again by a name, so what is committed is what `record_sources` digested.

    Args:
        storage: The output.
        run_id: The run's id.
        shard: The shard's number, from 0.
        scores: The finished Parquet file.

    Returns:
        Whether this file won. False: another worker's file was there first and stays.
    """
    return storage.create(shard_file(run_id, shard), scores)
