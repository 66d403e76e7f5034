"""Where each file of an output lies: a function that makes its key and, for files that are listed, a pattern.

Keys are relative to the root of the output, or of the private tree. The patterns are for `fullmatch`, so that no
temporary file of a writer and no copy of a table is ever taken for a table. Their groups are named after the arguments
of the function that makes the key.
"""

import re

from diagchd_batch.errors import UsageError
from diagchd_batch.wording import shown_value

PRIVATE = "_private"
"""The name of the private tree inside an output. `output.private_uri` puts it elsewhere.

Programs that read an output whole leave out names that begin with an underscore. DuckDB does not, so the tables of the
private tree end in another way than `.parquet` and no ``**/*.parquet`` finds them.
"""

PRIVATE_V1 = "private"
"""Its name in outputs of schema version 1, which keep it."""

PRIVATE_TABLE_SUFFIX = ".pq"
PRIVATE_TABLE_SUFFIX_V1 = ".parquet"
_PRIVATE_TABLE = r"\.(?:pq|parquet)"

SCORES_PREFIX = "scores/"
PREDICTIONS_PREFIX = "predictions/"
METRICS_PREFIX = "metrics/"
COMPARISONS_PREFIX = "comparisons/"
RUNS_PREFIX = "runs/"
RUN_TABLE_PREFIX = "run_table/"
LINEAGES_PREFIX = "lineages/"
SUPERSEDED_PREFIX = "superseded/"
DELETIONS_PREFIX = "deletions/"

_RUN_ID_TEXT = r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}"
_RUN = rf"run_id=(?P<run_id>{_RUN_ID_TEXT})"
_NUMBER = r"(?:\d{5}|[1-9]\d{5,})"  # of a shard or part; no other spelling of a number counts
_TABLE = r"(?P<table>[a-z][a-z0-9_]*)"
_OTHER_RUN = rf"compare_to=(?P<other_run_id>{_RUN_ID_TEXT})"
_ONLY_PART = "part-00000.parquet"

RUN_DIRECTORY = re.compile(rf"(?P<prefix>(?:[^/=]+/)+?){_RUN}/.*", re.DOTALL)
"""Any file of a run, in either tree."""

SHARD_FILE = re.compile(rf"{SCORES_PREFIX}{_RUN}/shard-(?P<shard>{_NUMBER})\.parquet")
PREDICTIONS_FILE = re.compile(rf"{PREDICTIONS_PREFIX}{_RUN}/part-(?P<part>{_NUMBER})\.parquet")
METRICS_FILE = re.compile(rf"{METRICS_PREFIX}{_TABLE}/{_RUN}/{re.escape(_ONLY_PART)}")
COMPARISON_FILE = re.compile(rf"{COMPARISONS_PREFIX}{_TABLE}/{_RUN}/{_OTHER_RUN}/{re.escape(_ONLY_PART)}")
METRICS_FILE_V1 = re.compile(rf"{METRICS_PREFIX}{_RUN}/{_TABLE}\.parquet")
"""A metrics table where outputs of schema version 1 have it. It is read and removed, and no longer written."""

COMPARISON_FILE_V1 = re.compile(rf"{METRICS_PREFIX}{_RUN}/{_OTHER_RUN}/{_TABLE}\.parquet")
"""A table of a comparison where outputs of schema version 1 have it."""

RUN_TABLE_FILE = re.compile(rf"{RUN_TABLE_PREFIX}(?P<run_id>{_RUN_ID_TEXT})\.parquet")
LINEAGE_FILE = re.compile(rf"{LINEAGES_PREFIX}(?P<run_id>{_RUN_ID_TEXT})\.parquet")
SUPERSEDED_FILE = re.compile(rf"{SUPERSEDED_PREFIX}(?P<run_id>{_RUN_ID_TEXT})\.parquet")
RUN_RECORD = re.compile(rf"{RUNS_PREFIX}{_RUN}/run\.json")
NODE_MARK = re.compile(rf"{RUNS_PREFIX}_?node-mark\.(?P<run_id>{_RUN_ID_TEXT})\.(?P<submission>[0-9a-f]{{8}})")
"""Earlier versions wrote the name without the underscore."""
DELETION_NOTE = re.compile(rf"{DELETIONS_PREFIX}deletion-(?P<number>{_NUMBER})\.json")


def check_run_id(run_id: str) -> str:
    """Return `run_id`, which may come from a command line or from a record that somebody sent.

    Every function of this module that takes a run id calls it, so no run id leads out of its output.

    Raises:
        UsageError: It has other characters than a run id may have.
    """
    if not re.fullmatch(_RUN_ID_TEXT, run_id):
        raise UsageError(
            f"{shown_value(run_id)} is no run id, which begins with a letter or digit and has letters, digits, dots, "
            "dashes and underscores only, at most 80; the command `list` shows the runs of an output"
        )
    return run_id


def _run(run_id: str) -> str:
    return f"run_id={check_run_id(run_id)}"


def _compare_to(other_run_id: str) -> str:
    return f"compare_to={check_run_id(other_run_id)}"


def run_prefix(prefix: str, run_id: str) -> str:
    """Return the prefix of one run's files below a prefix such as `SCORES_PREFIX`, which holds those of all runs.

    Args:
        prefix: The prefix of all runs.
        run_id: The run's id.
    """
    return f"{prefix}{_run(run_id)}/"


def table_glob(key: str, *, all_runs: bool) -> str:
    """Return a path with wild cards that finds the file of a public table and those that come later.

    Args:
        key: The file's key, such as that of `predictions_file`.
        all_runs: Whether files of all runs are found, or only those of the same run.
    """
    key = re.sub(r"/compare_to=[^/]+/", "/compare_to=*/", key)
    key = re.sub(r"/run_id=[^/]+/", "/run_id=*/", key) if all_runs else key
    return re.sub(r"-\d+\.parquet$", "-[0-9]*.parquet", key)


def scores_prefix(run_id: str) -> str:
    """Return the prefix of a run's score files."""
    return run_prefix(SCORES_PREFIX, run_id)


def shard_file(run_id: str, shard: int) -> str:
    """Return the key of the committed record of a shard: scores, masks and failures.

    Args:
        run_id: The run's id.
        shard: The shard's number, from 0.
    """
    return f"{scores_prefix(run_id)}shard-{shard:05d}.parquet"


def predictions_prefix(run_id: str) -> str:
    """Return the prefix of a run's predictions."""
    return run_prefix(PREDICTIONS_PREFIX, run_id)


def predictions_file(run_id: str, part: int) -> str:
    """Return the key of one part of a run's predictions.

    Args:
        run_id: The run's id.
        part: The part's number, from 0.
    """
    return f"{predictions_prefix(run_id)}part-{part:05d}.parquet"


def metrics_table_prefix(table: str) -> str:
    """Return the prefix of a metrics table of all runs."""
    return f"{METRICS_PREFIX}{table}/"


def metrics_file(run_id: str, table: str) -> str:
    """Return the key of a metrics table.

    Each table has a directory of its own, so that programs that read a directory of Parquet files as one data set can
    read a table of all runs.

    Args:
        run_id: The run's id.
        table: The table's name, such as ``estimates``.
    """
    return run_prefix(metrics_table_prefix(table), run_id) + _ONLY_PART


def metrics_prefix_v1(run_id: str) -> str:
    """Return the prefix of a run's metrics tables and comparisons in an output of schema version 1."""
    return run_prefix(METRICS_PREFIX, run_id)


def metrics_file_v1(run_id: str, table: str) -> str:
    """Return the key of a metrics table in an output of schema version 1.

    Args:
        run_id: The run's id.
        table: The table's name.
    """
    return f"{metrics_prefix_v1(run_id)}{table}.parquet"


def comparisons_table_prefix(table: str) -> str:
    """Return the prefix of a table of all comparisons."""
    return f"{COMPARISONS_PREFIX}{table}/"


def comparison_file(run_id: str, other_run_id: str, table: str) -> str:
    """Return the key of a table that compares a run with an earlier one.

    Args:
        run_id: The id of the later run.
        other_run_id: The id of the earlier run.
        table: The table's name, such as ``comparison_flips``.
    """
    return f"{comparisons_table_prefix(table)}{_run(run_id)}/{_compare_to(other_run_id)}/{_ONLY_PART}"


def comparison_file_v1(run_id: str, other_run_id: str, table: str) -> str:
    """Return the key of a table that compares two runs in an output of schema version 1.

    Args:
        run_id: The id of the later run.
        other_run_id: The id of the earlier run.
        table: The table's name.
    """
    return f"{metrics_prefix_v1(run_id)}{_compare_to(other_run_id)}/{table}.parquet"


def report_file(run_id: str) -> str:
    """Return the key of a run's report."""
    return f"reports/{_run(run_id)}/index.html"


def run_record(run_id: str) -> str:
    """Return the key of a run's public record, which has no URI and no secret."""
    return f"{RUNS_PREFIX}{_run(run_id)}/run.json"


def run_table_file(run_id: str) -> str:
    """Return the key of a run's row of the table `runs`.

    The key has no ``run_id=``, here and in the two tables below. Their files have the column `run_id`, and pyarrow and
    pandas refuse a column that is in the path as well.
    """
    return f"{RUN_TABLE_PREFIX}{check_run_id(run_id)}.parquet"


def lineage_file(run_id: str) -> str:
    """Return the key of the table of the runs that the lineage has that ends with a run."""
    return f"{LINEAGES_PREFIX}{check_run_id(run_id)}.parquet"


def superseded_file(run_id: str) -> str:
    """Return the key of the table of the predictions that count no longer since a run."""
    return f"{SUPERSEDED_PREFIX}{check_run_id(run_id)}.parquet"


def success_marker(run_id: str) -> str:
    """Return the key of the file whose existence says that a run is finished."""
    return f"{RUNS_PREFIX}{_run(run_id)}/_SUCCESS"


def node_mark(run_id: str, submission: str) -> str:
    """Return the key of the file by which a node sees that its output is the run's.

    It exists while a submission lives. It has no directory of its own, which would stay behind on a disk. Most engines
    skip names that begin with an underscore.

    Args:
        run_id: The run's id.
        submission: The submission's id.
    """
    return f"{RUNS_PREFIX}_node-mark.{check_run_id(run_id)}.{submission}"


def deletion_note(number: int) -> str:
    """Return the key of the note that a deletion leaves, which names nobody.

    Args:
        number: The deletion's number in its output, from 0.
    """
    return f"{DELETIONS_PREFIX}deletion-{number:05d}.json"


# Keys in the private tree.

ID_KEY = "id_key"
ID_KEY_CHECK = "id_key_check.json"

INPUT_ROOT = "input_root.json"
"""The root of the archive that the output's tokens are relative to."""

PLAN_STUDIES_NAME = "studies"
"""The name of a plan's table of studies without its suffix, in its draft too."""

PLAN_HEAD = re.compile(rf"{RUNS_PREFIX}{_RUN}/plan\.json")
PLAN_PART = re.compile(rf"{RUNS_PREFIX}{_RUN}/plan/(?P<plan_digest>[^/]+)/part-(?P<part>{_NUMBER}){_PRIVATE_TABLE}")
PLAN_STUDIES = re.compile(rf"{RUNS_PREFIX}{_RUN}/plan/(?P<plan_digest>[^/]+)/{PLAN_STUDIES_NAME}{_PRIVATE_TABLE}")
SOURCES_FILE = re.compile(
    rf"{RUNS_PREFIX}{_RUN}/sources/shard-(?P<shard>{_NUMBER})\.(?P<attempt>[^/]+){_PRIVATE_TABLE}"
)
IDENTIFYING_VALUES_FILE = re.compile(SOURCES_FILE.pattern.replace("/sources/", "/identifying_values/"))
ATTEMPT_MARKER = re.compile(
    rf"{RUNS_PREFIX}{_RUN}/attempts/shard-(?P<shard>{_NUMBER})/(?P<attempt>[^/]+)\.(?P<state>open|closed)\.json"
)
HEARTBEAT_FILE = re.compile(rf"{RUNS_PREFIX}{_RUN}/heartbeats/(?P<name>[^/]+)\.json")
HEADER_INDEX_PREFIX = "header_index/"
TRAINING_TREE_PREFIX = "training/"
"""Where the tree of an output's trainings lies in the private tree. It has the layout of a private tree itself."""

TRAINING_CACHE_PREFIX = "training_cache/"
HEADER_INDEX_HEAD = re.compile(rf"{HEADER_INDEX_PREFIX}head-(?P<number>{_NUMBER})\.json")
HEADER_INDEX_PART = re.compile(rf"{HEADER_INDEX_PREFIX}part-(?P<part>{_NUMBER})\.(?P<build>[0-9a-f]{{16}})\.pq")
LOG_PART = re.compile(rf"{RUNS_PREFIX}{_RUN}/logs/(?P<name>[^/]+)/part-(?P<part>{_NUMBER})\.log")


def private_run(run_id: str) -> str:
    """Return the prefix of all private files of a run."""
    return run_prefix(RUNS_PREFIX, run_id)


def identity_file(run_id: str) -> str:
    """Return the key of a run's fingerprint fields and input identity, created once and never changed."""
    return private_run(run_id) + "identity.json"


def kept_digests_file(run_id: str) -> str:
    """Return the key of the digests of the score files that a finished run has lost and that are made again."""
    return private_run(run_id) + "kept_digests.json"


def plan_head(run_id: str) -> str:
    """Return the key of the file that names the plan that won. It is created only if absent, after the plan's parts."""
    return private_run(run_id) + "plan.json"


def plan_prefix(run_id: str, plan_digest: str) -> str:
    """Return the prefix of a plan's tables.

    The plan's digest is part of it, so that two drivers that plan at once cannot mix their plans.

    Args:
        run_id: The run's id.
        plan_digest: The plan's SHA-256 as hex digits, of which the first 16 are used.
    """
    return private_run(run_id) + f"plan/{plan_digest[:16]}/"


def plan_part(run_id: str, plan_digest: str, part: int, suffix: str = PRIVATE_TABLE_SUFFIX) -> str:
    """Return the key of one part of a plan's images.

    Args:
        run_id: The run's id.
        plan_digest: The plan's SHA-256 as hex digits.
        part: The part's number, from 0.
        suffix: The suffix of the plan's tables, which depends on the plan's format.
    """
    return plan_prefix(run_id, plan_digest) + plan_part_name(part) + suffix


def plan_part_name(part: int) -> str:
    """Return the name of one part of a plan's images without its suffix, in the plan's draft too.

    Args:
        part: The part's number, from 0.
    """
    return f"part-{part:05d}"


def plan_studies(run_id: str, plan_digest: str, suffix: str = PRIVATE_TABLE_SUFFIX) -> str:
    """Return the key of all studies of the inventory: subjects, labels, why rows are excluded.

    Args:
        run_id: The run's id.
        plan_digest: The plan's SHA-256 as hex digits.
        suffix: The suffix of the plan's tables, which depends on the plan's format.
    """
    return plan_prefix(run_id, plan_digest) + PLAN_STUDIES_NAME + suffix


def sources_prefix(run_id: str) -> str:
    """Return the prefix of a run's sources."""
    return private_run(run_id) + "sources/"


def sources_file(run_id: str, shard: int, attempt: str) -> str:
    """Return the key of what one attempt at a shard read its images from.

    Args:
        run_id: The run's id.
        shard: The shard's number, from 0.
        attempt: The attempt's name.
    """
    return f"{sources_prefix(run_id)}shard-{shard:05d}.{attempt}{PRIVATE_TABLE_SUFFIX}"


def identifying_values_prefix(run_id: str) -> str:
    """Return the prefix of what a run's files say about patients."""
    return private_run(run_id) + "identifying_values/"


def identifying_values_file(run_id: str, shard: int, attempt: str) -> str:
    """Return the key of what the files of a shard say about patients. The arguments are those of `sources_file`."""
    return f"{identifying_values_prefix(run_id)}shard-{shard:05d}.{attempt}{PRIVATE_TABLE_SUFFIX}"


def attempts_prefix(run_id: str, shard: int | None = None) -> str:
    """Return the prefix of the attempt markers of a shard, or of all shards.

    Args:
        run_id: The run's id.
        shard: The shard's number, from 0; None for all shards.
    """
    return private_run(run_id) + "attempts/" + ("" if shard is None else f"shard-{shard:05d}/")


def attempt_marker(run_id: str, shard: int, attempt: str, state: str) -> str:
    """Return the key of an attempt's marker.

    Args:
        run_id: The run's id.
        shard: The shard's number, from 0.
        attempt: The attempt's name.
        state: ``open`` or ``closed``.
    """
    return attempts_prefix(run_id, shard) + f"{attempt}.{state}.json"


def fault_file(run_id: str, name: str) -> str:
    """Return the key of the traceback of an unforeseen fault.

    Args:
        run_id: The run's id.
        name: The file's name, without its suffix.
    """
    return private_run(run_id) + f"faults/{name}.txt"


def driver_fault_file(name: str) -> str:
    """Return the key of the messages of a driver that ended before it knew its run."""
    return f"faults/{name}.txt"


def heartbeats_prefix(run_id: str) -> str:
    """Return the prefix of a run's heartbeats."""
    return private_run(run_id) + "heartbeats/"


def heartbeat_file(run_id: str, name: str) -> str:
    """Return the key of one process's heartbeat.

    Args:
        run_id: The run's id.
        name: The name of the process, as `heartbeats.driver_name` or `heartbeats.worker_name` returns it.
    """
    return heartbeats_prefix(run_id) + f"{name}.json"


def node_proof(run_id: str, submission: str) -> str:
    """Return the key of what a worker's node is checked against. It exists while a submission lives.

    Args:
        run_id: The run's id.
        submission: The submission's id.
    """
    return private_run(run_id) + f"nodes/{submission}.json"


def logs_prefix(run_id: str) -> str:
    """Return the prefix of a run's logs."""
    return private_run(run_id) + "logs/"


def log_part(run_id: str, name: str, part: int) -> str:
    """Return the key of one part of a driver's messages.

    Names sort in the order in which drivers started, and the parts of one log follow each other.

    Args:
        run_id: The run's id.
        name: The log's name, which begins with the time at which its driver started.
        part: The part's number, from 0.
    """
    return logs_prefix(run_id) + f"{name}/part-{part:05d}.log"


def header_index_head(number: int) -> str:
    """Return the key of one state of the index of headers. The one with the highest number counts."""
    return f"{HEADER_INDEX_PREFIX}head-{number:05d}.json"


def header_index_part(build: str, part: int) -> str:
    """Return the key of one table of the index of headers. It counts if the newest head names it.

    Args:
        build: The 16 hex digits that name the build, so that two builds at once never write the same file.
        part: The table's number in its build, from 0.
    """
    return f"{HEADER_INDEX_PREFIX}part-{part:05d}.{build}{PRIVATE_TABLE_SUFFIX}"


def training_cache_prefix(part: str = "") -> str:
    """Return the prefix of decoded training images, which all runs of an output share.

    Args:
        part: The 32 hex digits that name a part by its contents; nothing for all parts.
    """
    return TRAINING_CACHE_PREFIX + (f"{part}/" if part else "")


def fold_prefix(run_id: str, fold: int) -> str:
    """Return the prefix of a fold's checkpoints and final weights.

    Args:
        run_id: The run's id.
        fold: The fold's number, from 0.
    """
    return private_run(run_id) + f"training/fold-{fold:02d}/"


def fold_events_prefix(run_id: str, fold: int) -> str:
    """Return the prefix of a fold's events for TensorBoard, in the tree of trainings.

    Args:
        run_id: The training's run id.
        fold: The fold's number, from 0.
    """
    return fold_prefix(run_id, fold) + "tensorboard/"


def submitted_job(name: str) -> str:
    """Return the key of a job file on its way to the driver that a cluster starts for it."""
    return f"submitted/{name}.json"


def stop_request(run_id: str, submission: str) -> str:
    """Return the key of the file whose existence asks a submission to end after the shards that it works on.

    Args:
        run_id: The run's id.
        submission: The submission's id.
    """
    return private_run(run_id) + f"stop/{submission}"


def private_run_record(run_id: str) -> str:
    """Return the key of the full run record: configuration with its URIs, hosts, command line."""
    return private_run(run_id) + "run.json"


def private_evaluation_file(run_id: str, name: str, suffix: str = PRIVATE_TABLE_SUFFIX) -> str:
    """Return the key of a private table of `evaluate`: ids that matched no study, and the names behind tokens.

    Args:
        run_id: The run's id.
        name: The table's name.
        suffix: The table's suffix; evaluations of schema version 1 have another one.
    """
    return private_run(run_id) + f"evaluation/{name}{suffix}"


def gallery_file(run_id: str) -> str:
    """Return the key of the gallery: cases with their pictures, which may show names."""
    return f"reports/{_run(run_id)}/gallery.html"


DELETION_PREFIX = "deletion/"
DELETION_JOURNAL = f"{DELETION_PREFIX}journal.json"
"""What a deletion has decided to do. Its existence says that the deletion is not finished."""


AUGMENTATION_PREVIEW_FILE = "augmentation_preview.html"
"""The page of augmented training images in the private tree. A later preview replaces it."""
PLAN_DETAILS_FILE = "plan_details.csv"
"""What `plan --details` found, in the private tree. The next one replaces it."""


def staged_file(staging: str, number: int) -> str:
    """Return the key of a file that a deletion has ready to put in the place of another one.

    Args:
        staging: The name of the deletion.
        number: The file's number, from 0.
    """
    return f"{DELETION_PREFIX}staged/{staging}/{number:06d}"


def export_records_prefix(lineage: str) -> str:
    """Return the prefix of what shareable exports of a lineage published.

    Args:
        lineage: The id of the lineage's first run.
    """
    return private_run(lineage) + "exports/"


def export_record(lineage: str, number: int) -> str:
    """Return the key of what one shareable export published.

    Args:
        lineage: The id of the lineage's first run.
        number: The export's number in its lineage, from 0.
    """
    return f"{export_records_prefix(lineage)}shareable-{number:05d}.json"


def worklist_prefix(run_id: str) -> str:
    """Return the prefix under which `export worklist` writes by default."""
    return private_run(run_id) + "worklist/"


def patterns() -> list[re.Pattern[str]]:
    """Return the pattern of each kind of file whose name has a number or a run id."""
    return [value for value in globals().values() if isinstance(value, re.Pattern) and value is not RUN_DIRECTORY]


def run_ids_in(key: str) -> set[str]:
    """Return the ids of the runs that a key of either tree names.

    Args:
        key: The key.
    """
    found = {part.partition("=")[2] for part in key.split("/")[:-1] if part.startswith(("run_id=", "compare_to="))}
    for pattern in patterns():
        if match := pattern.fullmatch(key):
            found |= {value for name, value in match.groupdict().items() if name in ("run_id", "other_run_id")}
    return found
