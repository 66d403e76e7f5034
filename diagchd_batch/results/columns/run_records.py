"""The columns of the table `runs`: one row for each run, what follows from its public record."""

from typing import Any

import pyarrow as pa

from diagchd_batch.table_format.declared_columns import DeclaredColumn, arrow_schema

_TEXT, _SMALL, _COUNT, _NUMBER, _TIME = pa.string(), pa.int32(), pa.int64(), pa.float64(), pa.timestamp("us")
_COUNTS = pa.map_(pa.string(), pa.int64())
_UNFINISHED, _RUNNING = "runs that are not finished", "runs that have not ended"


def _column(name: str, kind: pa.DataType, description: str, **more: Any) -> DeclaredColumn:
    return DeclaredColumn(name, kind, description, since=2, **more)


def _later(name: str, kind: pa.DataType, description: str, **more: Any) -> DeclaredColumn:
    return _column(name, kind, description, null_when=_UNFINISHED, **more)


RUN_COLUMNS = (
    _column("run_id", _TEXT, "the run"),
    _column("parent_run_id", _TEXT, "the run that it continues", null_when="runs that continue none"),
    _column("selection", _TEXT, "the part of the input that it planned", values=("all", "new", "failed")),
    _column("status", _TEXT, "how far it is", values=("running", "finished", "failed", "interrupted", "stopped")),
    _column("exit_code", _SMALL, "exit code of the command that ended it", null_when=_RUNNING),
    _column("simulated", pa.bool_(), "whether the data are simulated"),
    _column("fingerprint", _TEXT, "SHA-256 over everything that changes a score"),
    _column("model", _TEXT, "name of the model"),
    _column("weights_digest", _TEXT, "SHA-256 of the model's weights"),
    _column("architecture", _TEXT, "version of the network"),
    _column("preprocessing", _TEXT, "version of the preprocessing"),
    _column("precision", _TEXT, "precision of the model's arithmetic"),
    _column("height", _SMALL, "height of the model's grid", unit="pixels", minimum=1),
    _column("width", _SMALL, "width of the model's grid", unit="pixels", minimum=1),
    _column("chd_threshold", _NUMBER, "probability from which `chd_call` is true", minimum=0, maximum=1),
    _column("batch_size", _SMALL, "images in a batch of the model", minimum=1),
    _column("package_version", _TEXT, "version of diagchd-batch"),
    _column("versions", pa.map_(pa.string(), pa.string()), "versions of other packages, by name"),
    _column("devices", pa.list_(pa.string()), "devices that computed"),
    _column("started_at", _TIME, "start of its first submission", unit="UTC"),
    _column("ended_at", _TIME, "end of its last submission", unit="UTC", null_when=_RUNNING),
    _column("submissions", _SMALL, "number of submissions, resumptions included", minimum=1),
    _column("scoring_s", _NUMBER, "scoring time of all submissions", unit="seconds", minimum=0, null_when=_RUNNING),
    _later("images_per_s", _NUMBER, "images scored in a second", unit="1/second", minimum=0),
    _column("frame_rule", _TEXT, "which frames of a file were planned, if the manifest names none"),
    _column("subjects_given", pa.bool_(), "whether the input names the subject of every study"),
    _column("n_planned_studies", _COUNT, "planned studies", minimum=0),
    _column("n_planned_subjects", _COUNT, "planned subjects", minimum=0),
    _column("n_planned_images", _COUNT, "planned image files", minimum=0),
    _column("n_planned_masks", _COUNT, "planned reference masks", minimum=0),
    _column("n_shards", _COUNT, "planned shards", minimum=0),
    _column("n_excluded", _COUNT, "rows of the manifest that it excludes", minimum=0),
    _later("n_rows", _COUNT, "rows of its predictions", minimum=0),
    _later("n_ok", _COUNT, "rows with status `ok`", minimum=0),
    _later("n_failed", _COUNT, "rows with status `failed`", minimum=0),
    _later("n_chd_calls", _COUNT, "rows whose `chd_call` is true", minimum=0),
    _later("failure_counts", _COUNTS, "failed rows by `error_code`"),
    _later("reference_status_counts", _COUNTS, "scored rows by `reference_status`"),
    _later("quality_flag_counts", _COUNTS, "scored rows by quality flag"),
    _column("config", _TEXT, "JSON text of the job file, without URIs and secrets"),
    _column("schema_version", _SMALL, "schema version that its tables were written with", minimum=1),
)
"""`run_table/R.parquet`, and the view `runs`. A run that continues none has a null `parent_run_id`."""

RUNS = arrow_schema(RUN_COLUMNS)
