"""`train`: trains a model on the studies of a job, on this machine or on the Ray cluster that this process belongs to.

A training has a plan, a run id, a log and heartbeats, as a run that scores. They lie in a tree of their own below the
private tree (`training.training_record`).
"""

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from diagchd_batch import output_layout
from diagchd_batch.cluster.existing_cluster import ExistingCluster
from diagchd_batch.cluster.local_cluster import LocalCluster
from diagchd_batch.cluster.node_checks.nodes_at_start import check_nodes
from diagchd_batch.cluster.resources import Cluster
from diagchd_batch.cluster.this_machine import this_machine
from diagchd_batch.config.job_file import JobConfig
from diagchd_batch.config.overlapping_uris import refuse_overlapping_places
from diagchd_batch.config.training_block import TrainingConfig
from diagchd_batch.errors import ConfigError, DiagchdBatchError, RunFault
from diagchd_batch.escaping import command_line
from diagchd_batch.exit_codes import ExitCode
from diagchd_batch.model.card import ModelCard
from diagchd_batch.model.packages.decision_files import (
    CALIBRATION,
    OPERATING_POINTS,
    CalibrationFile,
    OperatingPointsFile,
)
from diagchd_batch.process.interrupts import RunInterrupted, interruptible
from diagchd_batch.process.native_stderr import native_stderr_silenced
from diagchd_batch.process.scratch_files import scratch_directory
from diagchd_batch.results.deletion.records import refuse_unfinished_deletion
from diagchd_batch.results.output import Output
from diagchd_batch.runs.cross_validation import held_out_folds, record_folds, recorded_folds, score_held_out
from diagchd_batch.runs.index import IndexMessages, index_archive, needs_headers
from diagchd_batch.scoring.driver.held_out_folds import HeldOutFolds
from diagchd_batch.scoring.driver.run_identity.claims import Claim, RunRegistry, Target
from diagchd_batch.scoring.driver.run_identity.identity import input_fields, keyed_digest
from diagchd_batch.scoring.driver.run_identity.run_request import RunRequest
from diagchd_batch.scoring.driver.run_job import RunOutcome
from diagchd_batch.scoring.driver.storage_and_limit_checks import check_limits, check_place_is_writable, check_places
from diagchd_batch.scoring.liveness.driver_log import DriverLog
from diagchd_batch.scoring.liveness.heartbeats import DriverBeat, Heartbeat, driver_name
from diagchd_batch.scoring.liveness.stop_conditions import Ending, RunEnding, StopConditions
from diagchd_batch.scoring.scoring_version import SCORING_VERSION
from diagchd_batch.storage import Store, open_store
from diagchd_batch.studies.header_index.planned_headers import headers_for
from diagchd_batch.studies.identifiers import Pseudonymizer
from diagchd_batch.studies.plan.make_plan import freeze_plan
from diagchd_batch.studies.plan.stored_plan import Plan
from diagchd_batch.studies.tables.csv_and_parquet import table_digest
from diagchd_batch.training.cohort import TrainingCohort, load_cohort
from diagchd_batch.training.folds import Fold, assign_folds, refuse_leaks
from diagchd_batch.training.image_cache import CacheSettings, ImageCache, build_cache, open_cache
from diagchd_batch.training.image_cache.decode_part import CachePlaces
from diagchd_batch.training.package_writer import WrittenPackage, predict_and_write, refuse_another_package
from diagchd_batch.training.recipe.initial_weights import network_to_train
from diagchd_batch.training.reporting.mlflow_log import check_mlflow, log_training
from diagchd_batch.training.reporting.training_page import FinishedTraining, FoldHistory, training_page
from diagchd_batch.training.run_training import FoldNote, TrainingPlaces, run_training
from diagchd_batch.training.training_record import (
    TrainingRecord,
    TrainingRecordWriter,
    read_training_record,
    training_tree,
)
from diagchd_batch.uris import join_uri
from diagchd_batch.wording import counted
from diagchd_batch.workspace import Workspace

if TYPE_CHECKING:
    from diagchd_batch.training.fold_task import FoldResult

_DECODER_THREADS = 2


class TrainProgress(Protocol):
    """Receives the events of a training, all from the driver's thread. No event contains an identifier."""

    def listed(self, n_objects: int) -> None:
        """Planning has listed `n_objects` objects of the input so far."""
        ...

    def cached(self, n_done: int, n_parts: int) -> None:
        """A part of the images is decoded.

        Args:
            n_done: Parts so far.
            n_parts: All parts.
        """
        ...

    def folds(self, notes: Sequence[FoldNote | None]) -> None:
        """Tell how far each fold is; None for a fold that has not begun."""
        ...

    def message(self, text: str) -> None:
        """Something that the user should know."""
        ...


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """A training job, and what the command line says about it.

    Attributes:
        config: The job file.
        environ: The environment variables, which may hold the identifier key.
        command: The words of the command line, for the private record.
        request: Which training is meant: a new one or a named one.
        until: When the folds must have saved their state and ended; None for no deadline.
    """

    config: JobConfig
    environ: Mapping[str, str]
    command: Sequence[str]
    request: RunRequest
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class TrainOutcome:
    """How a training ended.

    Attributes:
        run_id: The training's run id.
        exit_code: The exit code of the command.
        package_uri: Where the package is; None if it is not written yet.
        n_folds: Number of folds.
        resumed: Whether the training was begun before.
        repeated: Whether it was finished before, so that nothing was done.
        ending: Why it was stopped before its end; None if it was not. The same command goes on.
        out_of_fold_run_id: The run of the out-of-fold predictions; None if no study was held out.
        report_uri: Where the page of curves and figures is; None if it is not written yet.
    """

    run_id: str
    exit_code: ExitCode
    package_uri: str | None
    n_folds: int
    resumed: bool = False
    repeated: bool = False
    ending: Ending | None = None
    out_of_fold_run_id: str | None = None
    report_uri: str | None = None


@dataclass(frozen=True)
class _Training:
    """A claimed training."""

    options: TrainOptions
    settings: TrainingConfig
    network: ModelCard
    workspace: Workspace
    tree: Output
    claim: Claim
    submission: str

    @property
    def run_id(self) -> str:
        return self.claim.identity.run_id

    @property
    def until_s(self) -> float | None:
        return None if self.options.until is None else self.options.until.timestamp()

    def package(self) -> Store:
        return open_store(self.settings.package_uri)


def train_here(options: TrainOptions, progress: TrainProgress, log: DriverLog | None = None) -> TrainOutcome:
    """Train on this machine, with a Ray of its own, and return the outcome. The same call resumes a training.

    Args:
        options: The job, and what the command line says about it.
        progress: Receives what happens.
        log: Receives the driver's messages and keeps them in the private tree; None to keep none.

    Returns:
        How the training ended.

    Raises:
        DiagchdBatchError: The training cannot go on. The last checkpoints stay.
        RunInterrupted: SIGINT or SIGTERM arrived. The last checkpoints stay.
    """
    return _train(options, LocalCluster(this_machine()), progress, log)


def train_on_joined_ray(options: TrainOptions, progress: TrainProgress, log: DriverLog | None = None) -> TrainOutcome:
    """Train on the Ray cluster that this process belongs to, after a check of all nodes, and return the outcome.

    Args:
        options: The job, and what the command line says about it.
        progress: Receives what happens.
        log: Receives the driver's messages and keeps them in the private tree; None to keep none.

    Returns:
        How the training ended.

    Raises:
        DiagchdBatchError: The errors of `train_here`, and an error if a node is not suitable.
    """
    cluster = ExistingCluster(options.config.cluster, progress.message)
    cluster.nodes()
    check_nodes(options.config)
    return _train(options, cluster, progress, log)


def training_of(config: JobConfig) -> TrainingConfig:
    """Return the block `training` of a job.

    Raises:
        ConfigError: The job has none.
    """
    if config.training is None:
        raise ConfigError(
            "the job file has no block training, so it says nothing about how to train; add one "
            f"(`{command_line('config', 'schema')}` shows its keys), or score with the command `submit`"
        )
    return config.training


def training_target(
    config: JobConfig, network: ModelCard, registry: RunRegistry, key: bytes, request: RunRequest
) -> Target:
    """Return the training that a job and a request mean. Writes nothing.

    Args:
        config: The training job.
        network: The card of the network.
        registry: The trainings of the job's output.
        key: The identifier key.
        request: What the command line says about the training.

    Raises:
        FingerprintMismatchError: The training that was named exists under other settings.
    """
    training = training_of(config)
    settings = training.model_dump(mode="json", include={
        "seed", "folds", "augmentation", "initial_weights", "precision", "class_weights", "sampling", "test"
    })  # fmt: skip
    architecture = network.architecture
    fields: dict[str, Any] = {
        "kind": "training",
        "architecture": architecture.identifier,
        "width_factor": architecture.width_factor,
        "height": architecture.height,
        "width": architecture.width,
        "preprocessing": network.preprocessing,
        "preset": training.preset,
        "stages": [stage.model_dump(mode="json") for stage in training.resolved_stages],
        **settings,
        "frames": config.input.frame_rule,
        "region": config.input.region,
        "max_pixels": config.limits.max_pixels,
        "max_file_bytes": config.limits.max_file_bytes,
        "scoring_version": SCORING_VERSION,
    }
    tables = {
        "evaluation.reference": config.evaluation.reference,
        "evaluation.covariates": config.evaluation.covariates,
        "training.test.studies": training.test and training.test.studies,
    }
    digests = {name: keyed_digest(key, {name: table_digest(uri, name)}) for name, uri in tables.items() if uri}
    return registry.target(fields, input_fields(config.input) | digests, request)


def _train(options: TrainOptions, cluster: Cluster, progress: TrainProgress, log: DriverLog | None) -> TrainOutcome:
    config = options.config
    settings = training_of(config)
    check_limits(config.limits)
    check_mlflow(settings.mlflow_experiment, options.environ)
    refuse_overlapping_places(config)
    network = network_to_train(settings, config.model.name)
    workspace = Workspace.of_job(config, options.environ)
    with interruptible():
        check_places(workspace.archive, workspace.storage, workspace.private)
        refuse_unfinished_deletion(workspace.private)
        key = workspace.create_key()
        if needs_headers(config):
            index_archive(config, options.environ, IndexMessages(progress.message))
        tree = training_tree(workspace)
        registry = RunRegistry(tree.storage, tree.private, key)
        target = training_target(config, network, registry, key, options.request)
        if not target.exists:
            check_place_is_writable("training.package_uri", settings.package_uri)
            refuse_another_package(open_store(settings.package_uri))
        claim = registry.claim(target, batch_size=1, intra_op_threads=1, chd_threshold=network.chd_threshold)
        training = _Training(options, settings, network, workspace, tree, claim, secrets.token_hex(4))
        if claim.finished:
            return _repeat(training, cluster, progress, log)
        if log:
            log.keep(tree.private, training.run_id, training.submission)
        with Heartbeat(tree.private, training.run_id, driver_name(training.submission), DriverBeat):
            plan = freeze_plan(
                config.input,
                config.shards,
                workspace.archive,
                tree.private,
                training.run_id,
                Pseudonymizer(key),
                headers=headers_for(config.input, workspace.private),
                progress=progress.listed,
            )
            return _run(training, plan, cluster, progress)


def _run(training: _Training, plan: Plan, cluster: Cluster, progress: TrainProgress) -> TrainOutcome:
    cohort = load_cohort(training.options.config, plan)
    assign_folds(cohort, training.settings.folds, training.settings.seed)  # refuses before any image is read
    recorder = _begin_record(training, plan, cohort)
    try:
        folds = _train_folds(training, plan, cohort, cluster, progress, recorder)
        predicted = _predict_held_out(training, folds, cluster, progress)
    except RunEnding as end:
        recorder.write(status="stopped", exit_code=ExitCode.DONE, reason=str(end.ending), ended_at=datetime.now(UTC))
        return TrainOutcome(
            training.run_id, ExitCode.DONE, None, recorder.n_folds, training.claim.resumed, ending=end.ending
        )
    except (RunInterrupted, DiagchdBatchError) as reason:
        status = "interrupted" if isinstance(reason, RunInterrupted) else "failed"
        recorder.write(status=status, exit_code=reason.exit_code, reason=str(reason), ended_at=datetime.now(UTC))
        raise
    # The privacy check is made again by each call, so its result is not a part of the record.
    has_failed_inputs = predicted is not None and predicted.counts is not None and predicted.counts.n_failed > 0
    recorder.write(
        status="finished",
        exit_code=ExitCode.FAILED_INPUTS if has_failed_inputs else ExitCode.DONE,
        out_of_fold_run_id=predicted.run_id if predicted else None,
        ended_at=datetime.now(UTC),
    )
    training.tree.storage.create(output_layout.success_marker(training.run_id), b"")
    return TrainOutcome(
        training.run_id,
        predicted.exit_code if predicted else ExitCode.DONE,
        training.settings.package_uri,
        recorder.n_folds,
        training.claim.resumed,
        out_of_fold_run_id=predicted.run_id if predicted else None,
        report_uri=_page_uri(training.tree, training.run_id),
    )


def _predict_held_out(
    training: _Training, folds: HeldOutFolds | None, cluster: Cluster, progress: TrainProgress
) -> RunOutcome | None:
    """Return how the run of the out-of-fold predictions ended, which is finished; None if no study is held out."""
    if folds is None:
        progress.message("no study was held out, so there are no cross-validated figures")
        return None
    outcome = _score_held_out(training, folds, cluster, progress, RunRequest())
    if outcome.ending:
        raise RunEnding(outcome.ending)
    return outcome


def _score_held_out(
    training: _Training,
    folds: HeldOutFolds,
    cluster: Cluster,
    progress: TrainProgress,
    request: RunRequest,
    log: DriverLog | None = None,
) -> RunOutcome:
    """Make or resume the out-of-fold run, and tell what its exit code means for the training."""
    options = training.options
    outcome = score_held_out(
        options.config,
        folds,
        cluster,
        environ=options.environ,
        command=options.command,
        until=options.until,
        on_message=progress.message,
        request=request,
        log=log,
    )
    if outcome.exit_code is ExitCode.FAILED:
        progress.message(
            f"training {training.run_id} is finished and its package is written, but the privacy check of the output "
            "failed, so the exit code is 1: correct what it names above, and give the same command again, which trains "
            "nothing and searches again"
        )
    elif outcome.counts and outcome.counts.n_failed:
        failures = ", ".join(f"{code} {n:,}" for code, n in sorted(outcome.counts.failures.items()))
        progress.message(
            f"training {training.run_id} is finished, but {counted(outcome.counts.n_failed, 'row')} of its out-of-fold "
            f"run {outcome.run_id} failed ({failures}), so the exit code is 3; `query` shows which, by error_code"
        )
    return outcome


def _train_folds(
    training: _Training,
    plan: Plan,
    planned: TrainingCohort,
    cluster: Cluster,
    progress: TrainProgress,
    recorder: TrainingRecordWriter,
) -> HeldOutFolds | None:
    """Read the images, train the folds and write the package. Return which fold holds which study out."""
    config, private = training.options.config, training.tree.private
    settings = CacheSettings.of_job(config, training.network)
    stop = StopConditions(private, training.run_id, training.submission, training.until_s)
    with cluster.connected(), scratch_directory() as scratch:
        parts = build_cache(
            _cache_places(training, plan, planned, settings),
            tuple(plan.shards()),
            _until(stop, progress.cached),
        )
        whole = open_cache(private, settings, parts, Path(scratch))
        cohort, cache, folds = _divided(training, plan, whole, progress)
        recorder.begin_folds([fold.number for fold in folds])
        with native_stderr_silenced():  # TensorFlow greets on stderr when it is first imported
            import diagchd_batch.training.fold_task  # noqa: F401 - `run_training` imports it

        def on_tick(notes: list[FoldNote | None]) -> None:
            cluster.check()
            recorder.note(notes)
            progress.folds(notes)

        places = TrainingPlaces(
            run_id=training.run_id,
            submission=training.submission,
            private_uri=private.uri,
            object_timeout_s=config.limits.object_timeout_s,
            cache_settings=settings,
            cache_parts=parts,
            config=training.settings,
            card=training.network,
            until_s=training.until_s,
        )
        results = run_training(places, cohort, folds, cluster.nodes(), on_tick)
        progress.message("predicting the studies that each fold held out")
        weights = [private.read(result.weights_key) for result in results]
        devices = sorted({device for result in results for device in result.devices})
        written = predict_and_write(
            training.package(), training.network, config, cohort, folds, cache, weights, devices, Path(scratch)
        )
    for note in written.notes:
        progress.message(f"the package has {note}")
    _write_page(training, cohort, folds, results, written)
    experiment, histories = training.settings.mlflow_experiment, [result.history for result in results]
    if problem := log_training(experiment, training.options.environ, training.run_id, written.card, histories):
        progress.message(problem)
    recorder.finish_folds()
    stop_request = output_layout.TRAINING_TREE_PREFIX + output_layout.stop_request(training.run_id, training.submission)
    held_out = held_out_folds(cohort, folds, training.settings.folds, stop_request)
    if held_out:
        record_folds(private, training.run_id, held_out, written.card)
    return held_out


def _write_page(
    training: _Training,
    cohort: TrainingCohort,
    folds: Sequence[Fold],
    results: "Sequence[FoldResult]",
    written: WrittenPackage,
) -> None:
    package = training.package()
    calibration = package.read(CALIBRATION) if package.stat(CALIBRATION) else None
    page = training_page(
        FinishedTraining(
            run_id=training.run_id,
            config=training.settings,
            cohort=cohort,
            folds=[FoldHistory(fold, result.history) for fold, result in zip(folds, results, strict=True)],
            card=written.card,
            scores=written.scores,
            points=OperatingPointsFile.model_validate_json(package.read(OPERATING_POINTS)),
            calibration=None if calibration is None else CalibrationFile.model_validate_json(calibration),
            notes=written.notes,
        )
    )
    training.tree.storage.replace(output_layout.report_file(training.run_id), page.encode())


def _page_uri(tree: Output, run_id: str) -> str | None:
    key = output_layout.report_file(run_id)
    return join_uri(tree.storage.uri, key) if tree.storage.stat(key) else None


def _cache_places(training: _Training, plan: Plan, cohort: TrainingCohort, settings: CacheSettings) -> CachePlaces:
    config = training.options.config
    studies = plan.studies().read_all()["study_id"].to_pylist()
    return CachePlaces(
        run_id=training.run_id,
        input_uri=training.workspace.archive.uri,
        private_uri=training.tree.private.uri,
        settings=settings,
        limits=config.limits,
        dicomweb=config.input.dicomweb,
        excluded_studies=frozenset(studies) - set(cohort.study_ids.tolist()),
        threads=_DECODER_THREADS,
    )


def _until(stop: StopConditions, on_part: Callable[[int, int], None]) -> Callable[[int, int], None]:
    """Return `on_part`, which ends the training if it was asked to stop or the deadline has come."""

    def checked(n_done: int, n_parts: int) -> None:
        on_part(n_done, n_parts)
        if ending := stop.closed():
            raise RunEnding(ending)

    return checked


def _divided(
    training: _Training, plan: Plan, cache: ImageCache, progress: TrainProgress
) -> tuple[TrainingCohort, ImageCache, tuple[Fold, ...]]:
    """Return the cohort of the decoded frames, its cache in the same order, and its folds."""
    config = training.options.config
    if cache.failed:
        progress.message(
            f"{counted(len(cache.failed), 'image file')} could not be used, or has an unusable mask; the rest is used"
        )
    cohort = load_cohort(config, plan, cache.frames_of_images())
    if not len(cohort):
        raise RunFault(
            "no image of the input could be decoded, so there is nothing to train on; `plan` shows the input"
        )
    cache = cache.take(cohort.image_ids, cohort.frames)
    refuse_leaks(cohort, cache.picture_digests)
    return cohort, cache, assign_folds(cohort, training.settings.folds, training.settings.seed)


def _repeat(training: _Training, cluster: Cluster, progress: TrainProgress, log: DriverLog | None) -> TrainOutcome:
    """Return the outcome of a finished training. What is missing or damaged of its out-of-fold run is made again."""
    record = read_training_record(training.tree, training.run_id)
    if record is None:
        raise RunFault(
            f"training {training.run_id} is marked as finished but has no record; begin another with --new-run"
        )
    repaired = _repair_held_out(training, record, cluster, progress, log)
    return TrainOutcome(
        training.run_id,
        repaired.exit_code if repaired else ExitCode(record.exit_code or ExitCode.DONE),
        record.package_uri,
        len(record.folds),
        resumed=True,
        repeated=True,
        ending=repaired.ending if repaired else None,
        out_of_fold_run_id=record.out_of_fold_run_id,
        report_uri=_page_uri(training.tree, training.run_id),
    )


def _repair_held_out(
    training: _Training, record: TrainingRecord, cluster: Cluster, progress: TrainProgress, log: DriverLog | None
) -> RunOutcome | None:
    """Resume the out-of-fold run if it has lost files. Return None if the run cannot be made again."""
    if record.out_of_fold_run_id is None:
        return None
    folds = recorded_folds(training.tree.private, training.run_id, training.package())
    if folds is None:
        progress.message(
            f"{record.package_uri} no longer holds this training's package, or a subject was deleted, so the "
            f"out-of-fold run {record.out_of_fold_run_id} is not checked for missing files"
        )
        return None
    request = RunRequest(run_id=record.out_of_fold_run_id)
    return _score_held_out(training, folds, cluster, progress, request, log)


def _begin_record(training: _Training, plan: Plan, cohort: TrainingCohort) -> TrainingRecordWriter:
    """Record that a submission of a training has begun."""
    return TrainingRecordWriter(
        training.tree,
        TrainingRecord(
            run_id=training.run_id,
            status="running",
            model=training.settings.model_name,
            architecture=training.network.name,
            package_uri=training.settings.package_uri,
            n_studies=len(np.unique(cohort.study_ids)),
            n_subjects=len(np.unique(cohort.subject_ids)),
            n_images=plan.head.n_images,
            started_at=datetime.now(UTC),
            full_config=training.options.config.model_dump(mode="json"),
            command=list(training.options.command),
        ),
    )
