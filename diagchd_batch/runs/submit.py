"""`submit`: scores a cohort, evaluates it and reports on it, on this machine or on a cluster."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from diagchd_batch import output_layout
from diagchd_batch.cluster.existing_cluster import ExistingCluster
from diagchd_batch.cluster.header_tasks import ray_reader
from diagchd_batch.cluster.job_api import ClusterJobs
from diagchd_batch.cluster.local_cluster import LocalCluster
from diagchd_batch.cluster.node_checks.nodes_at_start import check_nodes
from diagchd_batch.cluster.resources import Cluster
from diagchd_batch.cluster.this_machine import this_machine
from diagchd_batch.config.job_file import JobConfig
from diagchd_batch.config.overlapping_uris import refuse_overlapping_places
from diagchd_batch.exit_codes import ExitCode
from diagchd_batch.json_records import DamagedRecordError
from diagchd_batch.results.columns import SCHEMA_VERSION
from diagchd_batch.results.columns.evaluation_tables import TABLES
from diagchd_batch.results.lineage import resolve_lineage
from diagchd_batch.results.metrics_tables import has_metrics
from diagchd_batch.results.run_record import read_run_record
from diagchd_batch.runs.details_of_plan import count_same_content
from diagchd_batch.runs.index import IndexMessages, index_archive, needs_headers
from diagchd_batch.runs.plan import check_study_names, read_evaluation_files
from diagchd_batch.scoring.driver.held_out_folds import HeldOutFolds
from diagchd_batch.scoring.driver.prepare_job import model_of, requested_input_root, requested_run
from diagchd_batch.scoring.driver.run_identity.claims import RunRegistry
from diagchd_batch.scoring.driver.run_identity.run_request import RunRequest
from diagchd_batch.scoring.driver.run_job import RunOutcome, run_job
from diagchd_batch.scoring.liveness.driver_log import DriverLog
from diagchd_batch.scoring.liveness.progress_events import RunProgress
from diagchd_batch.storage import Store
from diagchd_batch.studies.header_index.read_many import ReadChunks
from diagchd_batch.studies.plan.stored_plan import PlanHead
from diagchd_batch.uris import join_uri
from diagchd_batch.wording import counted
from diagchd_batch.workspace import Workspace

if TYPE_CHECKING:
    from diagchd_batch.report.key_figures import KeyFigure

_REPORTED_EXIT_CODES = set(ExitCode) - {ExitCode.DONE, ExitCode.FAILED_INPUTS}
"""The exit codes of a driver that tell more than Ray's own status does."""

_TABLES_OF_EVERY_VERSION = ("estimates", "study_results", "flow")

MAX_FINDINGS_SHOWN = 20
"""The places of identifiers that `submit` shows. `privacy check` shows all."""


@dataclass(frozen=True, slots=True)
class SubmitOptions:
    """A job, and what the command line says about it.

    Attributes:
        config: The job file.
        environ: The environment variables, which may hold the identifier key.
        command: The words of the command line, for the private run record.
        request: Which run is meant: a new one, a named one, or a part of the input.
        until: When the last shard must have ended; None for no deadline.
        accept_changed_shards: Whether score files that a finished run had lost may come back with other bytes.
    """

    config: JobConfig
    environ: Mapping[str, str]
    command: Sequence[str]
    request: RunRequest
    until: datetime | None = None
    accept_changed_shards: bool = False


@dataclass(frozen=True, slots=True)
class Submission:
    """A run that ended. `notes` say what its evaluation left out, and why."""

    outcome: RunOutcome
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ClusterSubmission:
    """A run that a cluster works on. `attached`: an earlier submission of it was still running."""

    jobs: ClusterJobs
    run_id: str
    submission_id: str
    attached: bool


@dataclass(frozen=True, slots=True)
class LineageTotals:
    """What a run and the runs that it continues hold together."""

    n_runs: int
    n_studies: int
    n_images: int
    n_ok: int
    n_failed: int


def lineage_totals(config: JobConfig, run_id: str) -> LineageTotals | None:
    """Return what a run and the runs that it continues hold together, or None if it continues none.

    Args:
        config: The run's job file.
        run_id: The run's id.

    Raises:
        RunFault: A table of one of the runs is damaged.
    """
    workspace = Workspace.of_job(config)
    record = read_run_record(workspace.storage, run_id)
    if record is None or record.parent_run_id is None:
        return None
    n_runs = len(resolve_lineage(workspace.storage, run_id))
    rows = workspace.query(_LINEAGE_TOTALS, run_id).to_pylist()
    return LineageTotals(n_runs, **rows[0])


_LINEAGE_TOTALS = """
SELECT count(DISTINCT study_id) AS n_studies, count(DISTINCT image_id) AS n_images,
       count(*) FILTER (status = 'ok') AS n_ok, count(*) FILTER (status = 'failed') AS n_failed
FROM current
"""


def check_job(config: JobConfig) -> None:
    """Check what can be checked before any node is asked for, so that a mistake is reported at once.

    Raises:
        ConfigError: The output lies in the input.
        InputError: A reference, readers or covariates file cannot be used.
    """
    refuse_overlapping_places(config)
    read_evaluation_files(config)


def submit_here(options: SubmitOptions, progress: RunProgress, log: DriverLog | None = None) -> Submission:
    """Score, evaluate and report on this machine, with a Ray of its own.

    The same call resumes a run that was interrupted, and repeats the outcome of one that is finished.

    Args:
        options: The job, and what the command line says about it.
        progress: Receives what happens.
        log: Keeps the run's messages in the private tree; None to keep none.

    Returns:
        The run's outcome, and what its evaluation left out.

    Raises:
        DiagchdBatchError: The run cannot go on. What is committed stays.
        RunInterrupted: SIGINT or SIGTERM arrived. What is committed stays.
    """
    check_job(options.config)
    return score_evaluate_report(options, LocalCluster(this_machine()), progress, log)


def submit_on_joined_ray(options: SubmitOptions, progress: RunProgress, log: DriverLog | None = None) -> Submission:
    """Score, evaluate and report on the Ray cluster that this process belongs to, once every node has been checked.

    Args:
        options: The job, and what the command line says about it.
        progress: Receives what happens.
        log: Receives the driver's messages and keeps them in the private tree; None to keep none.

    Returns:
        The run's outcome, and what its evaluation left out.

    Raises:
        DiagchdBatchError: The errors of `submit_here`, and an error if a node is not suitable.
    """
    config = options.config
    check_job(config)
    cluster = ExistingCluster(config.cluster, progress.message)
    cluster.nodes()
    check_nodes(config)
    read_chunks = ray_reader(Workspace.of_job(config, options.environ).archive)
    return score_evaluate_report(options, cluster, progress, log, read_chunks)


def score_evaluate_report(
    options: SubmitOptions,
    cluster: Cluster,
    progress: RunProgress,
    log: DriverLog | None = None,
    read_chunks: ReadChunks | None = None,
    folds: HeldOutFolds | None = None,
) -> Submission:
    """Score, evaluate and report on a cluster. Exceptions are those of `submit_here`.

    Args:
        options: The job, and what the command line says about it.
        cluster: Where the actors run.
        progress: Receives what happens.
        log: Receives the driver's messages and keeps them in the private tree; None to keep none.
        read_chunks: Reads headers on the cluster; None to read them here.
        folds: The folds of a training, whose out-of-fold predictions the run then is.

    Returns:
        The run's outcome, and what its evaluation left out.
    """
    config, environ = options.config, options.environ
    notes: list[str] = []

    # Evaluation and report are imported when they are needed. The client of a cluster does without them, a job that is
    # refused too, and otherwise workers start a second or two earlier.
    def evaluate(run_id: str) -> None:
        from diagchd_batch.runs.evaluate import evaluate_tables

        progress.message("scored; evaluating")
        workspace = Workspace.of_job(config, environ)
        notes.extend(evaluate_tables(workspace, run_id, config.evaluation).notes)
        if n := count_same_content(workspace, run_id):
            notes.append(
                f"{counted(n, 'image')} with the content of another one: all are scored and counted; `plan --details` "
                "writes their names to the private tree"
            )

    def report(run_id: str) -> None:
        from diagchd_batch.report import write_report

        write_report(Workspace.of_job(config, environ).storage, run_id)

    if needs_headers(config) and folds is None:
        # An output of another archive is refused before its index is touched.
        requested_input_root(Workspace.of_job(config, environ), options.request)
        index_archive(config, environ, IndexMessages(progress.message), read_chunks)
    outcome = run_job(
        config,
        cluster,
        progress,
        environ=environ,
        command=options.command,
        request=options.request,
        until=options.until,
        accept_changed_shards=options.accept_changed_shards,
        check_plan=lambda plan: check_study_names(config, plan),
        missing_tables=lambda run_id: _missing_tables(Workspace.of_job(config, environ).storage, run_id),
        derive=evaluate,
        conclude=report,
        log=log,
        folds=folds,
    )
    if config.output.privacy_check and outcome.exit_code in (ExitCode.DONE, ExitCode.FAILED_INPUTS) and outcome.counts:
        outcome = _after_privacy_check(config, environ, outcome, progress)
    return Submission(outcome, tuple(notes))


def _missing_tables(storage: Store, run_id: str) -> list[str]:
    """Return the metrics tables of a finished run, and its report, that are missing."""
    record = None
    with suppress(DamagedRecordError):
        record = read_run_record(storage, run_id)
    # An earlier version of the program made fewer tables.
    expected = TABLES if record and record.schema_version == SCHEMA_VERSION else _TABLES_OF_EVERY_VERSION
    lost = [f"table {name}" for name in expected if not has_metrics(storage, run_id, name)]
    return [*lost, *([] if storage.stat(output_layout.report_file(run_id)) else ["report"])]


def _after_privacy_check(
    config: JobConfig, environ: Mapping[str, str], outcome: RunOutcome, progress: RunProgress
) -> RunOutcome:
    """Return the outcome, with exit code 1 if the output shows an identifier. The run itself is kept as it is."""
    from diagchd_batch.runs.privacy_check import check_output

    progress.message("searching the output for identifiers")
    report = check_output(Workspace.of_job(config, environ), allowed=config.privacy.allowed)
    for note in report.notes:
        progress.message(f"privacy check: {note}")
    for finding in report.findings[:MAX_FINDINGS_SHOWN]:
        progress.message(f"privacy check: {finding.kind}: {finding.file}: {finding.place}")
    for reason in report.unsearched[:MAX_FINDINGS_SHOWN]:
        progress.message(f"privacy check: not searched: {reason}")
    if report.ok:
        return outcome
    progress.message(
        f"privacy check: {counted(report.n_findings, 'place')} with identifiers; do not share this output before "
        "the command `privacy check` finds none. The run is kept"
    )
    return replace(outcome, exit_code=ExitCode.FAILED)


def report_uri(config: JobConfig, run_id: str) -> str | None:
    """Return the URI of a run's report, or None if it has none.

    Args:
        config: The job file.
        run_id: The run's id.
    """
    key = output_layout.report_file(run_id)
    there = Workspace.of_job(config).storage.stat(key)
    return join_uri(config.output.uri, key) if there else None


def plan_of_headers(config: JobConfig, run_id: str) -> PlanHead | None:
    """Return the numbers of a run's plan if it was made from the index of headers, or None.

    Args:
        config: The job file.
        run_id: The run's id.
    """
    if not needs_headers(config):
        return None
    return PlanHead.read(Workspace.of_job(config).private, output_layout.plan_head(run_id))


def key_figures(config: JobConfig, run_id: str) -> "list[KeyFigure]":
    """Return the figures of a run that a summary shows. The list is empty if the run was not evaluated.

    Args:
        config: The job file.
        run_id: The run's id.
    """
    from diagchd_batch.report.key_figures import read_key_figures

    return read_key_figures(Workspace.of_job(config).storage, run_id)


def submit_to_cluster(options: SubmitOptions, address: str) -> ClusterSubmission:
    """Start a run on a cluster through its job API, or attach to the submission of it that is running there.

    The output must be reachable from here, because run ids are keyed and the key lies in the private tree.

    Args:
        options: The job, and what the command line says about it.
        address: The cluster's address, such as ``http://head:8265``.

    Returns:
        The cluster, the run, and the submission of it that is running there.

    Raises:
        ConfigError: The cluster refuses this client, or the job file cannot be used there.
        RunFault: The cluster does not answer.
    """
    config, request = options.config, options.request
    check_job(config)
    jobs = ClusterJobs(address)
    workspace = Workspace.of_job(config, options.environ)
    model = model_of(config)
    registry = RunRegistry(workspace.storage, workspace.private, workspace.create_key())
    root = requested_input_root(workspace, request)
    run_id = requested_run(config, model, registry, root, request).identity.run_id
    words = [] if request.selection == "all" else ["--select", request.selection]
    if request.input_moved:
        words.append("--input-moved")
    if options.accept_changed_shards:
        words.append("--accept-changed-shards")
    if options.until:
        words += ["--until", options.until.isoformat()]
    submission_id, attached = jobs.submit(config, workspace.private, run_id, words)
    return ClusterSubmission(jobs, run_id, submission_id, attached)


def follow_submission(
    config: JobConfig,
    submission: ClusterSubmission,
    *,
    write_log: Callable[[str], None],
    say: Callable[[str], None],
) -> ExitCode:
    """Pass the log of a submission on until it ends, and return the exit code of its run.

    Args:
        config: The job file.
        submission: What `submit_to_cluster` returned.
        write_log: Receives the log piece by piece.
        say: Receives a sentence for the user if the run did not succeed.
    """
    status, driver_exit_code = submission.jobs.follow(submission.submission_id, write_log)
    if status == "SUCCEEDED":
        record = read_run_record(Workspace.of_job(config).storage, submission.run_id)
        if record is None:
            return ExitCode.DONE  # The selection was empty, so no run was begun.
        if record.exit_code is not None:
            return ExitCode(record.exit_code)
    say(f"Ray reports that the job {status.lower()}; the same command resumes the run")
    return ExitCode(driver_exit_code) if driver_exit_code in _REPORTED_EXIT_CODES else ExitCode.FAILED
