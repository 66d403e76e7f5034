"""Takes a job from its configuration to finished tables: claim, plan, score, compact, record."""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from diagchd_batch import output_layout
from diagchd_batch.cluster.node_checks.nodes_joining_later import node_marks
from diagchd_batch.cluster.resources import Cluster
from diagchd_batch.config.job_file import JobConfig
from diagchd_batch.errors import DiagchdBatchError, RunFault
from diagchd_batch.exit_codes import ExitCode
from diagchd_batch.process.interrupts import RunInterrupted, interruptible
from diagchd_batch.results.compaction import compact_predictions
from diagchd_batch.results.counts import RunCounts
from diagchd_batch.results.datasets import committed_shards
from diagchd_batch.results.deletion.records import refuse_unfinished_deletion
from diagchd_batch.results.derived_tables import write_lineage_tables
from diagchd_batch.results.run_record import read_private_run_record, read_run_record
from diagchd_batch.scoring.driver.failure_monitor import FailureMonitor
from diagchd_batch.scoring.driver.held_out_folds import HeldOutFolds
from diagchd_batch.scoring.driver.lineage_selection import lineage_plans
from diagchd_batch.scoring.driver.lost_files import (
    LostFiles,
    changed_shards,
    find_lost_files,
    refuse_changed_shards,
    reopen,
)
from diagchd_batch.scoring.driver.prepare_job import Job, prepare_job
from diagchd_batch.scoring.driver.run_identity.run_request import RunRequest
from diagchd_batch.scoring.driver.run_record_writer import RunFacts, RunRecordWriter
from diagchd_batch.scoring.driver.storage_and_limit_checks import check_space
from diagchd_batch.scoring.liveness.driver_log import DriverLog
from diagchd_batch.scoring.liveness.heartbeats import DriverBeat, Heartbeat, driver_name, read_worker_beats
from diagchd_batch.scoring.liveness.left_node_marks import remove_left_node_marks
from diagchd_batch.scoring.liveness.progress_events import RunProgress, RunStart, ShardSummary
from diagchd_batch.scoring.liveness.run_status import live_submissions, outcomes_so_far
from diagchd_batch.scoring.liveness.stop_conditions import Ending, RunEnding
from diagchd_batch.studies.header_index.planned_headers import headers_for
from diagchd_batch.studies.plan.make_plan import count_new_images
from diagchd_batch.studies.plan.planned_images import ShardReference
from diagchd_batch.studies.plan.stored_plan import Plan, open_plan
from diagchd_batch.wording import counted

_ENDINGS = {Ending.DEADLINE: "at the deadline", Ending.STOP: "as it was asked to"}


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """How a call of `run_job` ended.

    Attributes:
        run_id: The run.
        exit_code: The exit code of the command.
        counts: The run's rows by outcome; None if the run is not complete.
        resumed: Whether the run was begun before.
        repeated: Whether the run was complete before, so that nothing was done.
        n_new_images: For a repeated run, the images that were added to its input since it was planned.
        ending: Why the run was stopped with images left; None if it was not. It can be resumed.
        n_images_left: For a stopped run, the images that are left.
        nothing_selected: Whether nothing is new since that run, or nothing failed in it, so that no run was begun.
    """

    run_id: str
    exit_code: ExitCode
    counts: RunCounts | None
    resumed: bool = False
    repeated: bool = False
    n_new_images: int = 0
    ending: Ending | None = None
    n_images_left: int = 0
    nothing_selected: bool = False


def run_job(
    config: JobConfig,
    cluster: Cluster,
    progress: RunProgress,
    *,
    environ: Mapping[str, str],
    command: Sequence[str],
    request: RunRequest = RunRequest(),
    until: datetime | None = None,
    accept_changed_shards: bool = False,
    check_plan: Callable[[Plan], None] | None = None,
    missing_tables: Callable[[str], Sequence[str]] = lambda run_id: (),
    derive: Callable[[str], None] | None = None,
    conclude: Callable[[str], None] | None = None,
    log: DriverLog | None = None,
    folds: HeldOutFolds | None = None,
) -> RunOutcome:
    """Begin, resume or repeat the run that the job file and the request mean, and take it to its end.

    Whatever happens, the shards that are committed stay, and the same call resumes. A finished run that has lost files
    is resumed, too, and its files are made again.

    Args:
        config: The job file.
        cluster: Where the actors run.
        progress: Gets the run's events.
        environ: The environment variables, which may hold the identifier key.
        command: The words of the command, for the record.
        request: What the command line says about the run.
        until: When the last shard must have ended; None for no deadline.
        accept_changed_shards: Whether score files that a finished run had lost may come back with other bytes.
        check_plan: Gets the frozen plan, and raises what would stop the run after it was scored.
        missing_tables: Gets the id of a finished run, and returns the names of missing files that `derive` and
            `conclude` made.
        derive: Gets the run id once the predictions are there, and makes what must exist before the run is finished.
        conclude: Gets the run id once the run's record is final, and makes what is made from the record.
        log: The driver's log, which is kept in the private tree once the run is claimed.
        folds: The folds of a training, if the run is its out-of-fold predictions (`prepare_job`).

    Returns:
        How the run ended.

    Raises:
        DiagchdBatchError: The run cannot go on; `exit_code` says why.
        RunInterrupted: A SIGINT or SIGTERM came.
    """
    with interruptible():
        prepared = prepare_job(config, cluster, environ, request, until, folds)
        if prepared.builds_on is None:
            job = prepared.claim()
        else:
            with prepared.draft(progress.listed) as draft:
                is_correction = prepared.target.identity.selection == "new" and draft.holds_corrections()
                if not draft.head.n_images and not is_correction:
                    return RunOutcome(prepared.builds_on, ExitCode.DONE, None, nothing_selected=True)
                job = prepared.claim()
                draft.freeze(job.private, job.run_id)
        lost = _lost_files(job, missing_tables)
        if job.claim.finished and not lost:
            return _repeat(job, progress)
        if log:
            log.keep(job.short_timeout.private, job.run_id, job.submission)
        with Heartbeat(job.short_timeout.private, job.run_id, driver_name(job.submission), DriverBeat):
            # A deletion that was decided before this heartbeat shows now; one that is decided later sees the heartbeat.
            refuse_unfinished_deletion(job.private)
            if lost:
                progress.message(f"run {job.run_id} was finished but is not whole, and is resumed; {lost}")
                reopen(job.output, job.private, job.run_id, lost)
            plan = job.plan(progress.listed)
            if check_plan:
                check_plan(plan)
            return _run(job, plan, cluster, progress, command, accept_changed_shards, derive, conclude)


def _run(
    job: Job,
    plan: Plan,
    cluster: Cluster,
    progress: RunProgress,
    command: Sequence[str],
    accept_changed_shards: bool,
    derive: Callable[[str], None] | None,
    conclude: Callable[[str], None] | None,
) -> RunOutcome:
    facts = RunFacts(job.config, job.identity, job.model, plan.head, command, job.prepared.folds)
    recorder = RunRecordWriter(job.output, job.private, (job.short_timeout.storage, job.short_timeout.private), facts)
    began_s = time.monotonic()
    try:
        recorder.running()
        ending = _score(job, plan, cluster, progress, recorder, began_s)
        scoring_s = time.monotonic() - began_s
        left = _pending(job, plan)
        n_left = sum(shard.n_images for shard in left)
        if ending and left:
            recorder.stopped(ending, n_left, scoring_s, _devices(job))
            progress.message(f"stopped {_ENDINGS[ending]}, {counted(n_left, 'image')} left")
            return RunOutcome(job.run_id, ExitCode.DONE, None, job.claim.resumed, ending=ending, n_images_left=n_left)
        if left:  # workers reported them as committed; a run without them must never look finished
            raise RunFault(
                f"{counted(len(left), 'shard')}, first {left[0].shard}, with {counted(n_left, 'image')} not in the "
                "output although scored; find out who removes files there, then give the same command again"
            )
        changed = changed_shards(job.output, job.private, job.run_id)
        if not accept_changed_shards:
            refuse_changed_shards(job.private, job.run_id, changed)
        counts = compact_predictions(job.output, job.run_id, job.table_metadata)
        if derive:
            derive(job.run_id)
        exit_code = ExitCode.FAILED_INPUTS if counts.n_failed else ExitCode.DONE
        recorder.finished(counts, exit_code, scoring_s, _devices(job), changed)
        write_lineage_tables(job.output, job.run_id)
        if conclude:
            conclude(job.run_id)
        job.private.delete(output_layout.kept_digests_file(job.run_id))
        job.output.create(output_layout.success_marker(job.run_id), b"")
    except (RunInterrupted, DiagchdBatchError) as reason:
        recorder.ended_early(reason, time.monotonic() - began_s)
        raise
    return RunOutcome(job.run_id, exit_code, counts, job.claim.resumed)


def _lost_files(job: Job, missing_tables: Callable[[str], Sequence[str]]) -> LostFiles:
    """Return what the run has lost since it was finished; nothing if it was not finished."""
    if not job.claim.finished:
        record = read_private_run_record(job.private, job.run_id)
        if record is None or record.status != "finished":
            return LostFiles()
    lost = find_lost_files(job.output, job.private, open_plan(job.private, job.run_id), job.run_id, missing_tables)
    # Without _SUCCESS, which somebody deleted or a killed driver never wrote, the derived files are made again anyway.
    return lost if job.claim.finished else replace(lost, derived=())


def _pending(job: Job, plan: Plan) -> list[ShardReference]:
    """Return the shards that are not committed."""
    done = committed_shards(job.output, job.run_id)
    return [shard for shard in plan.shards() if shard.shard not in done]


def _score(
    job: Job, plan: Plan, cluster: Cluster, progress: RunProgress, recorder: RunRecordWriter, began_s: float
) -> Ending | None:
    """Score what is not committed yet, and return why not all of it could begin, if so."""
    pending = _pending(job, plan)
    n_done_shards = plan.head.n_shards - len(pending)
    n_pending_images = sum(shard.n_images for shard in pending)
    progress.started(
        RunStart(
            run_id=job.run_id,
            n_images=plan.head.n_images,
            n_shards=plan.head.n_shards,
            done_images=plan.head.n_images - n_pending_images,
            done_shards=n_done_shards,
            resumed=job.claim.resumed,
            shared=any(name != job.submission for name in live_submissions(job.short_timeout, job.run_id)),
        )
    )
    if plan.head.n_left_out:
        progress.message(
            f"left out: {counted(plan.head.n_left_out, 'name')} below input.uri that no plan can hold; "
            "`plan --details` with this job file says which"
        )
    gate = job.gate()
    if not pending:
        return None
    if ending := gate.closed():
        return ending
    check_space(job.output, n_pending_images)
    monitor = FailureMonitor(
        progress,
        job.watched_limits,
        job.actors,
        job.short_timeout.private,
        job.run_id,
        job.submission,
        outcomes_so_far(job.output, job.run_id) if n_done_shards else Counter(),
    )
    ending = None

    def on_summary(summary: ShardSummary) -> None:
        nonlocal ending
        if summary.declined is None:
            monitor.on_summary(summary)
        elif ending is None:
            ending = summary.declined
            progress.message(f"no further shard starts ({ending}); those in progress are finished")

    def on_tick() -> None:
        cluster.check()
        monitor.on_tick()
        if not monitor.has_seen_workers and (reason := gate.closed()):
            raise RunEnding(reason)

    remove_left_node_marks(job.output, job.private)
    marks = node_marks(job.run_id, job.submission, job.input, job.output, job.private)
    with cluster.connected(), marks:
        from diagchd_batch.scoring.driver.ray_data import run_shards  # imports Ray, which nothing needed before

        try:
            run_shards(
                job.settings(plan.head),
                pending,
                job.actors,
                on_summary=on_summary,
                on_tick=on_tick,
                on_excluded=progress.message if cluster.elastic else None,
            )
        except RunEnding as end:
            ending = end.ending
        except (RunInterrupted, DiagchdBatchError) as reason:
            # before Ray is disconnected: its shutdown with tasks in progress can end this process without a message
            progress.message(f"ending the run: {reason}")
            recorder.ended_early(reason, time.monotonic() - began_s)
            raise
    return ending


def _repeat(job: Job, progress: RunProgress) -> RunOutcome:
    record = read_run_record(job.output, job.run_id)
    if record is None or record.exit_code is None:
        raise RunFault(f"run {job.run_id} is marked as finished but has no record; begin another with --new-run")
    n_new = count_new_images(
        job.config.input,
        job.input,
        lineage_plans(job.run_id, job.output, job.private),
        job.pseudonymizer,
        headers=headers_for(job.config.input, job.private),
        progress=progress.listed,
    )
    return RunOutcome(
        job.run_id, ExitCode(record.exit_code), record.counts, resumed=True, repeated=True, n_new_images=n_new
    )


def _devices(job: Job) -> frozenset[str]:
    """Return the devices of all workers of the submission, dead ones included."""
    return read_worker_beats(job.private, job.run_id, job.submission, ended=True).devices
