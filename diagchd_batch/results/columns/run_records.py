"""The columns of the table `runs`: one row for each run, what follows from its public record."""

import pyarrow as pa

from diagchd_batch.results.columns.declaration import Column, Presence, arrow_schema

_TEXT, _SMALL, _COUNT, _NUMBER, _TIME = pa.string(), pa.int32(), pa.int64(), pa.float64(), pa.timestamp("us")
_COUNTS = pa.map_(pa.string(), pa.int64())


def _known(name: str, kind: pa.DataType, description: str) -> Column:
    return Column(name, kind, description, Presence.ALWAYS, since=2)


def _later(name: str, kind: pa.DataType, description: str) -> Column:
    """Declare a column that is null until something is known, mostly until the run has ended."""
    return Column(name, kind, description, Presence.WHERE_KNOWN, since=2)


RUN_COLUMNS = (
    _known("run_id", _TEXT, "the run"),
    _later("parent_run_id", _TEXT, "the run that it continues; null: it continues none"),
    _known("selection", _TEXT, "the part of the input that it planned: `all`, `new` or `failed`"),
    _known("status", _TEXT, "`running`, `finished`, `failed`, `interrupted` or `stopped`"),
    _later("exit_code", _SMALL, "exit code of the command that ended it"),
    _known("simulated", pa.bool_(), "whether the data are simulated"),
    _known("fingerprint", _TEXT, "SHA-256 over everything that changes a score"),
    _known("model", _TEXT, "name of the model"),
    _known("weights_digest", _TEXT, "SHA-256 of the model's weights"),
    _known("architecture", _TEXT, "version of the network"),
    _known("preprocessing", _TEXT, "version of the preprocessing"),
    _known("precision", _TEXT, "precision of the model's arithmetic"),
    _known("height", _SMALL, "height of the model's grid, in pixels"),
    _known("width", _SMALL, "width of the model's grid, in pixels"),
    _known("chd_threshold", _NUMBER, "probability from which `chd_call` is true"),
    _known("batch_size", _SMALL, "images in a batch of the model"),
    _known("package_version", _TEXT, "version of diagchd-batch"),
    _known("versions", pa.map_(pa.string(), pa.string()), "versions of other packages, by name"),
    _known("devices", pa.list_(pa.string()), "devices that computed"),
    _known("started_at", _TIME, "start of its first submission, UTC"),
    _later("ended_at", _TIME, "end of its last submission, UTC"),
    _known("submissions", _SMALL, "number of submissions, resumptions included"),
    _later("scoring_s", _NUMBER, "time spent scoring in all submissions, in seconds"),
    _later("images_per_s", _NUMBER, "images scored in a second"),
    _known("frame_rule", _TEXT, "which frames of a file were planned, if the manifest names none"),
    _known("subjects_given", pa.bool_(), "whether the input names the subject of every study"),
    _known("n_planned_studies", _COUNT, "planned studies"),
    _known("n_planned_subjects", _COUNT, "planned subjects"),
    _known("n_planned_images", _COUNT, "planned image files"),
    _known("n_planned_masks", _COUNT, "planned reference masks"),
    _known("n_shards", _COUNT, "planned shards"),
    _known("n_excluded", _COUNT, "rows of the manifest that it excludes"),
    _later("n_rows", _COUNT, "rows of its predictions"),
    _later("n_ok", _COUNT, "rows with status `ok`"),
    _later("n_failed", _COUNT, "rows with status `failed`"),
    _later("n_chd_calls", _COUNT, "rows whose `chd_call` is true"),
    _later("failure_counts", _COUNTS, "failed rows by `error_code`"),
    _later("reference_status_counts", _COUNTS, "scored rows by `reference_status`"),
    _later("quality_flag_counts", _COUNTS, "scored rows by quality flag"),
    _known("config", _TEXT, "JSON text of the job file, without URIs and secrets"),
    _known("schema_version", _SMALL, "schema version that its tables were written with"),
)
"""`run_table/R.parquet`, and the view `runs`. A run that continues none has a null `parent_run_id`."""

RUNS = arrow_schema(RUN_COLUMNS)
