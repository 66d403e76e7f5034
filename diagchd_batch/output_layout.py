"""Where everything of an output lies. Keys are relative to the output's, or the private, storage root."""

PRIVATE = "private"
"""The private tree's name under an output that keeps it there; `output.private_uri` puts it elsewhere."""

NUMBER = r"(?:\d{5}|[1-9]\d{5,})"
"""A shard's or part's number as file names have it, as a regular expression; no other spelling of it counts."""


def shard_file(run_id: str, shard: int) -> str:
    """The committed record of a shard: scores, masks and failures."""
    return f"scores/run_id={run_id}/shard-{shard:05d}.parquet"


def scores_prefix(run_id: str) -> str:
    return f"scores/run_id={run_id}/"


def predictions_file(run_id: str, part: int) -> str:
    return f"predictions/run_id={run_id}/part-{part:05d}.parquet"


def predictions_prefix(run_id: str) -> str:
    return f"predictions/run_id={run_id}/"


def metrics_file(run_id: str, table: str) -> str:
    return f"metrics/run_id={run_id}/{table}.parquet"


def comparison_file(run_id: str, other_run_id: str, table: str) -> str:
    """What `compare` says of a run against an earlier one."""
    return f"metrics/run_id={run_id}/compare_to={other_run_id}/{table}.parquet"


def report_file(run_id: str) -> str:
    return f"reports/run_id={run_id}/index.html"


def run_record(run_id: str) -> str:
    """The public run record: no URI, no secret."""
    return f"runs/run_id={run_id}/run.json"


def success_marker(run_id: str) -> str:
    return f"runs/run_id={run_id}/_SUCCESS"


RUNS_PREFIX = "runs/"


def node_mark(run_id: str, submission: str) -> str:
    """By which a node sees that its output is the run's; there while a submission lives. In no directory of its own,
    which would stay behind on a disk."""
    return f"{RUNS_PREFIX}node-mark.{run_id}.{submission}"


# Below: keys in the private storage.

ID_KEY = "id_key"
ID_KEY_CHECK = "id_key_check.json"

INPUT_ROOT = "input_root.json"
"""The root of the archive that the output's tokens are relative to."""


def private_run(run_id: str) -> str:
    return f"runs/run_id={run_id}/"


def identity_file(run_id: str) -> str:
    """Fingerprint fields and input identity, created once and never changed."""
    return private_run(run_id) + "identity.json"


def plan_head(run_id: str) -> str:
    """Names the plan that won; created only if absent, after the plan's parts."""
    return private_run(run_id) + "plan.json"


def plan_part(run_id: str, plan_digest: str, part: int) -> str:
    """Parts lie under their plan's digest, so that two drivers that plan at once cannot mix their plans."""
    return private_run(run_id) + f"plan/{plan_digest[:16]}/part-{part:05d}.parquet"


def plan_studies(run_id: str, plan_digest: str) -> str:
    """All studies of the inventory beside the parts: subjects, labels, why rows are excluded."""
    return private_run(run_id) + f"plan/{plan_digest[:16]}/studies.parquet"


def sources_file(run_id: str, shard: int, attempt: str) -> str:
    return private_run(run_id) + f"sources/shard-{shard:05d}.{attempt}.parquet"


def sources_prefix(run_id: str) -> str:
    return private_run(run_id) + "sources/"


def attempts_prefix(run_id: str, shard: int | None = None) -> str:
    return private_run(run_id) + "attempts/" + ("" if shard is None else f"shard-{shard:05d}/")


def attempt_marker(run_id: str, shard: int, attempt: str, state: str) -> str:
    """`state` is ``open`` or ``closed``."""
    return attempts_prefix(run_id, shard) + f"{attempt}.{state}.json"


def fault_file(run_id: str, name: str) -> str:
    """The traceback of a fault that nobody foresaw."""
    return private_run(run_id) + f"faults/{name}.txt"


def heartbeats_prefix(run_id: str) -> str:
    return private_run(run_id) + "heartbeats/"


def heartbeat_file(run_id: str, name: str) -> str:
    return heartbeats_prefix(run_id) + f"{name}.json"


def node_proof(run_id: str, submission: str) -> str:
    """What a worker's node is checked against, while a submission lives."""
    return private_run(run_id) + f"nodes/{submission}.json"


def logs_prefix(run_id: str) -> str:
    return private_run(run_id) + "logs/"


def log_part(run_id: str, name: str, part: int) -> str:
    """What a driver said. Names sort in the order in which drivers began; a log's parts follow each other."""
    return logs_prefix(run_id) + f"{name}/part-{part:05d}.log"


def submitted_job(name: str) -> str:
    """A job file on its way to the driver that a cluster starts for it."""
    return f"submitted/{name}.json"


def stop_request(run_id: str, submission: str) -> str:
    """Its being there asks a submission to end after the shards in hand."""
    return private_run(run_id) + f"stop/{submission}"


def private_run_record(run_id: str) -> str:
    """The full run record: configuration with its URIs, hosts, command line."""
    return private_run(run_id) + "run.json"


def private_evaluation_file(run_id: str, name: str) -> str:
    """What `evaluate` keeps to itself: ids that matched no study, and whose name a token or number stands for."""
    return private_run(run_id) + f"evaluation/{name}.parquet"


def gallery_file(run_id: str) -> str:
    """Cases with their pictures, which may show names: the counterpart of `report_file` in the private tree."""
    return f"reports/run_id={run_id}/gallery.html"


def worklist_prefix(run_id: str) -> str:
    """Where `export worklist` writes unless told otherwise."""
    return private_run(run_id) + "worklist/"
