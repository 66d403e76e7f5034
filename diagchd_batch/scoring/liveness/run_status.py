"""What a run is doing, read from its output alone, so that it can also be told when the cluster is gone."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from diagchd_batch import output_layout
from diagchd_batch.errors import UsageError
from diagchd_batch.json_records import DamagedRecordError
from diagchd_batch.results.columns import STATUS_OK
from diagchd_batch.results.datasets import committed_shards, damage_as_fault, read_scores
from diagchd_batch.results.output import Output
from diagchd_batch.results.run_record import RunRecord, read_run_record
from diagchd_batch.scoring.liveness.heartbeats import (
    SubmissionState,
    driver_name,
    heartbeat_names,
    read_worker_beats,
    submission_state,
)
from diagchd_batch.storage import Store

_DRIVER = driver_name("")
_KINDS = {"failed": "a fault of the run", "interrupted": "a signal", "stopped": "a deadline or a stop"}
_ENDED_EARLY = tuple(_KINDS)

DAMAGED = "damaged"
"""The status of a run whose record cannot be read. The rest of its state comes from its other files."""


@dataclass(frozen=True, slots=True)
class RunState:
    """The state of a run. A field whose source is missing is None.

    Attributes:
        run_id: The run.
        status: planning, running, stopping (a stop was requested), stopped, finished, failed, interrupted, lost (its
            driver died without a last heartbeat) or damaged (its record cannot be read).
        reason: What kind of event ended the run early, and where the full text is; or what is damaged. It names no file
            of the input.
        model: The model's name.
        precision: The model's precision.
        started_at: When the first submission began.
        ended_at: When the run ended; None while a driver lives.
        exit_code: The exit code of a run that ended.
        n_shards: Planned shards.
        shards_done: Committed shards.
        n_images: Planned image files.
        n_ok: Committed rows with a result.
        failures: Error code → committed rows without one.
        submissions: How often the run was submitted.
        attempts: Attempts at shards.
        workers: Workers that live.
        n_in_flight: Images that are done of shards that are not committed.
        images_per_s: The rate of the living workers together, or, for a run that ended, of all its submissions.
        remaining_s: The seconds left, if all shards are of one size.
        parent_run_id: The run that this one continues, if it does.
        selection: Which files it scores: all, new or failed.
    """

    run_id: str
    status: str
    reason: str | None
    model: str | None
    precision: str | None
    started_at: datetime | None
    ended_at: datetime | None
    exit_code: int | None
    n_shards: int | None
    shards_done: int
    n_images: int | None
    n_ok: int
    failures: Mapping[str, int]
    submissions: int
    attempts: int
    workers: int
    n_in_flight: int
    images_per_s: float | None
    remaining_s: float | None
    parent_run_id: str | None = None
    selection: str | None = None


def run_state(output: Output, run_id: str) -> RunState:
    """Return the state of a run.

    Args:
        output: The output.
        run_id: The run.

    Raises:
        UsageError: The output holds nothing of such a run.
    """
    damage: str | None = None
    record: RunRecord | None = None
    try:
        record = read_run_record(output.storage, run_id)
    except DamagedRecordError as error:  # one damaged run must not end a list of all
        damage = str(error)
    drivers = _drivers(output, run_id)
    done = committed_shards(output.storage, run_id)
    if record is None and not damage and not drivers and not done:
        raise UsageError(f"the output holds no run {run_id}; the command `list` names those it holds")
    live = live_submissions(output, run_id)
    status = DAMAGED if damage else _status(output, run_id, record, live)
    beats = [read_worker_beats(output.private, run_id, name) for name in live]
    outcomes = outcomes_so_far(output.storage, run_id) if done else {}
    n_in_flight = sum(n for beat in beats for shard, n in beat.images_done.items() if shard not in done)
    n_left = _images_left(record, len(done), n_in_flight)
    images_per_s = sum(beat.images_per_s for beat in beats) if live else record.images_per_s if record else None
    keys = (info.key for info in output.private.list(output_layout.attempts_prefix(run_id)))
    attempts = map(output_layout.ATTEMPT_MARKER.fullmatch, keys)
    return RunState(
        run_id=run_id,
        status=status,
        reason=damage or (_reason(record) if record and status in _ENDED_EARLY else None),
        model=record.model.name if record else None,
        precision=record.model.precision if record else None,
        started_at=record.started_at if record else None,
        ended_at=record.ended_at if record and not live else None,
        exit_code=record.exit_code if record else None,
        n_shards=record.plan.n_shards if record else None,
        shards_done=len(done),
        n_images=record.plan.n_images if record else None,
        n_ok=outcomes.get(STATUS_OK, 0),
        failures={code: n for code, n in outcomes.items() if code != STATUS_OK},
        # The record counts submissions that got as far as scoring. Each driver left a heartbeat, but for those of the
        # first versions.
        submissions=max(record.submissions if record else 0, len(drivers)),
        attempts=sum(match["state"] == "open" for match in attempts if match),
        workers=sum(len(beat.workers) for beat in beats),
        n_in_flight=n_in_flight,
        images_per_s=images_per_s or None,
        remaining_s=n_left / images_per_s if live and n_left is not None and images_per_s else None,
        parent_run_id=record.parent_run_id if record else None,
        selection=record.selection if record else None,
    )


def current_status(output: Output, record: RunRecord) -> str:
    """Return what a run is doing. The record of a run that was killed still says that it runs.

    Args:
        output: The output, with its private tree.
        record: The run's record.

    Returns:
        A status of `RunState`, but for `damaged`.
    """
    return _status(output, record.run_id, record, live_submissions(output, record.run_id))


def _status(output: Output, run_id: str, record: RunRecord | None, live: Sequence[str]) -> str:
    status = record.status if record else "planning"
    if status in ("running", "planning") and not live:
        return "lost"
    if live and status != "finished":
        if all(output.private.stat(output_layout.stop_request(run_id, name)) for name in live):
            return "stopping"
        return "running" if record else "planning"
    return status


def _reason(record: RunRecord) -> str:
    """Return where the reason can be read. The text itself may name places and files."""
    place = f"in the private tree, {output_layout.private_run_record(record.run_id)}, reason"
    return f"{_KINDS[record.status]}, exit code {record.exit_code}; the full text is {place}"


def outcomes_so_far(output: Store, run_id: str) -> Counter[str]:
    """Return the number of rows of each outcome in the shards that are committed so far.

    Args:
        output: The output.
        run_id: The run's id.

    Returns:
        `ok` or an error code → rows.

    Raises:
        RunFault: A score file is damaged.
    """
    counts: Counter[str] = Counter()
    with damage_as_fault(run_id):
        for batch in read_scores(output, run_id).to_batches(columns=["error_code"]):
            counts.update(code or STATUS_OK for code in batch["error_code"].to_pylist())
    return counts


def live_submissions(output: Output, run_id: str) -> list[str]:
    """Return the ids of a run's submissions whose drivers live.

    Args:
        output: The output, with its private tree.
        run_id: The run's id.
    """
    names = _drivers(output, run_id)
    return [name for name in names if submission_state(output.private, run_id, name) is SubmissionState.LIVE]


def _images_left(record: RunRecord | None, n_shards_done: int, n_in_flight: int) -> float | None:
    if record is None:
        return None
    share_left = 1 - n_shards_done / record.plan.n_shards if record.plan.n_shards else 0.0
    return max(0.0, record.plan.n_images * share_left - n_in_flight)


def _drivers(output: Output, run_id: str) -> list[str]:
    """Return the submissions whose driver left a heartbeat."""
    return [name.removeprefix(_DRIVER) for name in heartbeat_names(output.private, run_id) if name.startswith(_DRIVER)]
