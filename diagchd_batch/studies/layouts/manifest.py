"""The layout `manifest`: a table names the images, their studies, subjects, masks, labels and exclusions."""

import pyarrow as pa

from diagchd_batch.config.job_file import InputConfig
from diagchd_batch.errors import InputError
from diagchd_batch.studies.scratch_database import ScratchDatabase
from diagchd_batch.studies.tables import cell_parsing
from diagchd_batch.studies.tables.csv_and_parquet import TableBatch, TableColumns, read_table, table_digest

SOURCE = "input.manifest"
COLUMNS = TableColumns(
    required=("study_id", "uri"),
    optional=("frame", "subject_id", "fetus", "mask_uri", "label", "include", "exclude_reason"),
)
REASON_NOT_STATED = "not stated"


def fill_entries(database: ScratchDatabase, config: InputConfig) -> str | None:
    """Copy the manifest to table `entries`.

    Args:
        database: The database to fill.
        config: The input block of the job file, with a manifest.

    Returns:
        The word for the manifest's rows in messages, ``lines`` or ``rows``; None if the manifest has no rows.

    Raises:
        InputError: A cell is invalid. The message names its row.
    """
    assert config.manifest is not None  # the job file's model requires it
    rows_called = None
    for batch in read_table(config.manifest, SOURCE, COLUMNS):
        database.insert("entries", _entries(batch))
        rows_called = f"{batch.unit}s"
    return rows_called


def manifest_digest(config: InputConfig) -> str | None:
    """Return the SHA-256 of the manifest's bytes, which is part of a run's identity, or None without a manifest.

    Raises:
        InputError: The manifest is absent or cannot be read.
    """
    return table_digest(config.manifest, SOURCE) if config.manifest else None


def _entries(batch: TableBatch) -> pa.RecordBatch:
    return pa.record_batch(
        {
            "row": pa.array(batch.rows, pa.int64()),
            "study": pa.array(batch.parse("study_id", cell_parsing.identifier), pa.string()),
            "subject": pa.array(batch.parse("subject_id", cell_parsing.text), pa.string()),
            "fetus": pa.array(batch.parse("fetus", cell_parsing.text), pa.string()),
            "uri": pa.array(batch.parse("uri", cell_parsing.relative_key), pa.string()),
            "frame": pa.array(batch.parse("frame", cell_parsing.frame_number), pa.int32()),
            "mask_uri": pa.array(batch.parse("mask_uri", cell_parsing.optional_key), pa.string()),
            "label": pa.array(batch.parse("label", cell_parsing.binary), pa.int8()),
            "excluded_because": pa.array(_exclusions(batch), pa.string()),
        }
    )


def _exclusions(batch: TableBatch) -> list[str | None]:
    """Return for each row the reason for its exclusion, or None if it is included."""
    included = batch.parse("include", cell_parsing.yes_or_no)
    reasons = batch.parse("exclude_reason", cell_parsing.text)
    for row, include, reason in zip(batch.rows, included, reasons, strict=True):
        if include and reason:
            raise InputError(f"{SOURCE}, {batch.unit} {row}: include says yes, but exclude_reason gives a reason")
    return [
        reason or REASON_NOT_STATED if include is False or reason else None
        for include, reason in zip(included, reasons, strict=True)
    ]
