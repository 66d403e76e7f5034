"""`plan` of a training job: what `train` would do, found out without writing anything to the output."""

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from diagchd_batch.cluster.this_machine import this_machine
from diagchd_batch.config.job_file import JobConfig
from diagchd_batch.config.overlapping_uris import refuse_overlapping_places
from diagchd_batch.config.training_block import StageConfig
from diagchd_batch.model.card import ModelCard
from diagchd_batch.model.packages.registry import load_card
from diagchd_batch.runs.details_of_plan import PlanDetails, write_plan_details
from diagchd_batch.runs.train import training_of, training_target
from diagchd_batch.scoring.driver.run_identity.claims import RunRegistry
from diagchd_batch.scoring.driver.run_identity.run_request import RunRequest
from diagchd_batch.scoring.driver.storage_and_limit_checks import (
    check_limits,
    check_place_is_writable,
    check_writable,
)
from diagchd_batch.sources.checks import check_readable
from diagchd_batch.studies.header_index.planned_headers import headers_for
from diagchd_batch.studies.identifiers import Pseudonymizer
from diagchd_batch.studies.plan.make_plan import draft_plan
from diagchd_batch.studies.plan.stored_plan import PlanHead
from diagchd_batch.studies.scratch_database import ScratchDatabase
from diagchd_batch.training.cohort import PLAN_COLUMNS, CohortCounts, TrainingCohort, cohort_of, count_rows
from diagchd_batch.training.folds import Fold, assign_folds
from diagchd_batch.training.image_cache import CacheSettings
from diagchd_batch.training.recipe.batch_order import steps_per_epoch, useful_rows
from diagchd_batch.training.recipe.initial_weights import network_to_train
from diagchd_batch.training.run_training import suitable_threads
from diagchd_batch.training.step_speed import StepSpeed, measured_speeds
from diagchd_batch.training.training_record import read_training_record, training_tree
from diagchd_batch.workspace import Workspace


@dataclass(frozen=True, slots=True)
class PlannedStage:
    """What a stage of a fold does at most; it may end early.

    Attributes:
        name: The stage's name.
        trains: What is trained (`StageConfig.trains`).
        epochs: Largest number of epochs.
        batch_size: Images in a batch.
        steps_per_epoch: Batches of an epoch; 0 if the fold has no image that the stage could train on.
        n_validation_frames: Frames of the validation part that the stage is measured on.
    """

    name: str
    trains: str
    epochs: int
    batch_size: int
    steps_per_epoch: int
    n_validation_frames: int

    @property
    def n_steps(self) -> int:
        """Steps of all epochs."""
        return self.epochs * self.steps_per_epoch


@dataclass(frozen=True, slots=True)
class PlannedFold:
    """One fold. The name of a held-out site or of another value of a column is left out.

    Attributes:
        number: The fold's number, from 0.
        training: The part that is trained on.
        validation: The part that chooses the best epoch.
        held_out: The part that the fold's model predicts.
        stages: The stages.
    """

    number: int
    training: CohortCounts
    validation: CohortCounts
    held_out: CohortCounts
    stages: tuple[PlannedStage, ...]

    @property
    def n_steps(self) -> int:
        """Steps of all stages at most."""
        return sum(stage.n_steps for stage in self.stages)


@dataclass(frozen=True, slots=True)
class TrainingPreview:
    """What a training would do.

    Attributes:
        network: The name of the network.
        grid: Height and width of the images that the network sees.
        head: The plan in numbers.
        whole: Counts of all studies that may be trained on.
        n_with_mask: Frames with a mask.
        n_unlabelled: Studies without a label.
        folds: The folds.
        folds_are_drawn: False before the output has a key: then other subjects may be in a fold, in equal numbers.
        cache_bytes: Bytes of the decoded images and masks in the private tree.
        run_id: The training that the job would go on with; None if it would begin a new one.
        folds_done: Folds of it that are trained.
        threads: Threads of a fold on this machine.
        side_by_side: Folds that are trained at a time on this machine.
        speeds: What a stage trains -> its speed; empty if it is not known.
        details: The file in the private tree that names missing, skipped and duplicate files; None if it was not asked
            for.
    """

    network: str
    grid: tuple[int, int]
    head: PlanHead
    whole: CohortCounts
    n_with_mask: int
    n_unlabelled: int
    folds: tuple[PlannedFold, ...]
    folds_are_drawn: bool
    cache_bytes: int
    run_id: str | None
    folds_done: int
    threads: int
    side_by_side: int
    speeds: Mapping[str, StepSpeed] = field(default_factory=dict)
    details: PlanDetails | None = None

    @property
    def expected_s(self) -> float | None:
        """Seconds that the folds that are left take at most on this machine; None if the speed is not known.

        The decoding of the images, and the predictions at the end, are not in it.
        """
        if not self.speeds:
            return None
        left = sorted((self._fold_s(fold) for fold in self.folds), reverse=True)[: len(self.folds) - self.folds_done]
        busy_s = np.zeros(self.side_by_side)
        for seconds in left:
            busy_s[np.argmin(busy_s)] += seconds
        return float(busy_s.max())

    def _fold_s(self, fold: PlannedFold) -> float:
        total_s = 0.0
        for stage in fold.stages:
            speed = self.speeds[stage.trains]
            epoch_s = stage.steps_per_epoch * stage.batch_size * speed.train_image_s
            epoch_s += stage.n_validation_frames * speed.validate_image_s
            total_s += speed.compile_s + stage.epochs * epoch_s
        return total_s


def preview_training(
    config: JobConfig,
    environ: Mapping[str, str],
    *,
    request: RunRequest = RunRequest(),
    on_listed: Callable[[int], None] | None = None,
    with_details: bool = False,
) -> TrainingPreview:
    """Plan a training job, divide its studies, and look for the training that it would go on with.

    Nothing is written but details.

    Args:
        config: A job with a block `training`.
        environ: The environment variables, which may hold the identifier key.
        request: What the command line says about the training.
        on_listed: Receives the number of objects listed so far.
        with_details: Whether the names of missing, skipped and duplicate files are written to the private tree.

    Returns:
        The studies, the folds, and what is left to train. The speed is not known yet.

    Raises:
        DiagchdBatchError: What `train` would raise before it reads images.
    """
    settings = training_of(config)
    check_limits(config.limits)
    refuse_overlapping_places(config)
    card = network_to_train(settings, config.model.name)
    workspace = Workspace.of_job(config, environ)
    check_readable(workspace.archive)
    check_writable(workspace)
    check_place_is_writable("training.package_uri", settings.package_uri)
    key = workspace.find_key()
    run_id, folds_done = _begun_training(config, card, workspace, key, request)
    details: PlanDetails | None = None

    def write_details(database: ScratchDatabase) -> None:
        nonlocal details
        details = write_plan_details(config.input, workspace, database)

    with draft_plan(
        config.input,
        config.shards,
        workspace.archive,
        Pseudonymizer(key or secrets.token_bytes(32)),
        headers=headers_for(config.input, workspace.private),
        progress=on_listed,
        inspect=write_details if with_details else None,
    ) as draft:
        head, studies, images = draft.head, draft.studies(), draft.images(PLAN_COLUMNS)
    cohort = cohort_of(config, studies, images.to_pandas())
    folds = assign_folds(cohort, settings.folds, settings.seed)
    cache = CacheSettings.of_job(config, card)
    n_frames = len(cohort) if head.n_frames is None else round(len(cohort) * head.n_frames / max(1, head.n_images))
    whole = count_rows(cohort, np.arange(len(cohort)))
    node = this_machine()
    threads = suitable_threads(settings, len(folds), [node])
    return TrainingPreview(
        network=card.name,
        grid=(card.architecture.height, card.architecture.width),
        head=head,
        whole=whole,
        n_with_mask=int(cohort.has_mask.sum()),
        n_unlabelled=len(np.unique(cohort.study_ids[cohort.labels_i8 < 0])),
        folds=tuple(_planned_fold(cohort, fold, settings.resolved_stages) for fold in folds),
        folds_are_drawn=key is not None,
        cache_bytes=n_frames * (cache.image_bytes + cache.mask_bytes),
        run_id=run_id,
        folds_done=folds_done,
        threads=threads,
        side_by_side=min(len(folds), node.gpus or max(1, node.cpus // threads)),
        details=details,
    )


def with_measured_steps(preview: TrainingPreview, config: JobConfig) -> TrainingPreview:
    """Time training steps on this machine, and return the preview with their speed, if they can be timed.

    Args:
        preview: What `preview_training` returned.
        config: The same job.
    """
    speeds = measured_speeds(training_of(config), load_card(config.model.name), preview.threads)
    return replace(preview, speeds=speeds or {})


def _begun_training(
    config: JobConfig, card: ModelCard, workspace: Workspace, key: bytes | None, request: RunRequest
) -> tuple[str | None, int]:
    """Return the id of the training that the job goes on with, if there is one, and its number of trained folds."""
    if key is None:
        return None, 0
    tree = training_tree(workspace)
    target = training_target(config, card, RunRegistry(tree.storage, tree.private, key), key, request)
    if not target.exists:
        return None, 0
    record = read_training_record(tree, target.identity.run_id)
    return target.identity.run_id, sum(fold.is_done for fold in record.folds) if record else 0


def _planned_fold(cohort: TrainingCohort, fold: Fold, stages: Sequence[StageConfig]) -> PlannedFold:
    return PlannedFold(
        number=fold.number,
        training=count_rows(cohort, fold.training_rows),
        validation=count_rows(cohort, fold.validation_rows),
        held_out=count_rows(cohort, fold.held_out_rows),
        stages=tuple(_planned_stage(cohort, fold, stage) for stage in stages),
    )


def _planned_stage(cohort: TrainingCohort, fold: Fold, stage: StageConfig) -> PlannedStage:
    rows, validation_rows = (
        useful_rows(stage, part, cohort.labels_i8, cohort.has_mask)
        for part in (fold.training_rows, fold.validation_rows)
    )
    return PlannedStage(
        name=stage.name,
        trains=stage.trains,
        epochs=stage.epochs,
        batch_size=min(stage.batch_size, max(1, len(rows))),
        steps_per_epoch=steps_per_epoch(len(rows), stage.batch_size),
        n_validation_frames=len(validation_rows),
    )
