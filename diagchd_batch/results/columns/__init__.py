"""The columns of an output's tables, each declared once. To add one, see `results.columns.scores`."""

from diagchd_batch.results.columns.declaration import Column, Presence, StoredMasks, parquet_options
from diagchd_batch.results.columns.metadata import (
    RUN_ID_KEY,
    SCHEMA_VERSION_KEY,
    SHARD_METADATA_KEY,
    schema_version_of,
    shard_metadata,
    table_metadata,
)
from diagchd_batch.results.columns.run_column import add_run, with_run, without_run
from diagchd_batch.results.columns.scores import (
    CLASSES,
    MASK_COLUMNS,
    PREDICTION_COLUMNS,
    PREDICTIONS,
    REFERENCE_OK,
    RUN_COLUMN,
    SCHEMA_VERSION,
    SCORE_COLUMNS,
    SCORES,
    STATUS_FAILED,
    STATUS_OK,
    SURFACE_CLASSES,
    WHOLE_HEART,
    score_columns_of_version,
)
from diagchd_batch.results.columns.sources import DIGEST_OF_FILE, DIGEST_OF_FRAMES, SOURCE_COLUMNS, SOURCES

__all__ = [
    "CLASSES",
    "DIGEST_OF_FILE",
    "DIGEST_OF_FRAMES",
    "MASK_COLUMNS",
    "PREDICTIONS",
    "PREDICTION_COLUMNS",
    "REFERENCE_OK",
    "RUN_COLUMN",
    "RUN_ID_KEY",
    "SCHEMA_VERSION",
    "SCHEMA_VERSION_KEY",
    "SCORES",
    "SCORE_COLUMNS",
    "SHARD_METADATA_KEY",
    "SOURCES",
    "SOURCE_COLUMNS",
    "STATUS_FAILED",
    "STATUS_OK",
    "SURFACE_CLASSES",
    "WHOLE_HEART",
    "Column",
    "Presence",
    "StoredMasks",
    "add_run",
    "parquet_options",
    "schema_version_of",
    "score_columns_of_version",
    "shard_metadata",
    "table_metadata",
    "with_run",
    "without_run",
]
