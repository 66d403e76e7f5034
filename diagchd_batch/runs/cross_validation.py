"""The last step of `train`: the out-of-fold predictions, as a run of the output like any other.

Each study is scored by the model of the fold that held it out, through the code that scores every run. So `verify`,
`evaluate`, `report`, `query` and `compare` work on it.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import ClassVar

import numpy as np

from diagchd_batch import output_layout
from diagchd_batch.cluster.resources import Cluster
from diagchd_batch.config.job_file import JobConfig, ModelConfig
from diagchd_batch.config.training_block import FoldsConfig
from diagchd_batch.errors import ItemError
from diagchd_batch.json_records import JsonRecord
from diagchd_batch.model.card import ModelCard
from diagchd_batch.model.packages.package import CARD, MAX_CARD_BYTES
from diagchd_batch.runs.submit import SubmitOptions, score_evaluate_report
from diagchd_batch.scoring.driver.held_out_folds import HeldOutFolds
from diagchd_batch.scoring.driver.run_identity.run_request import RunRequest
from diagchd_batch.scoring.driver.run_job import RunOutcome
from diagchd_batch.scoring.liveness.driver_log import DriverLog
from diagchd_batch.scoring.liveness.progress_events import RunStart, ShardSummary
from diagchd_batch.storage import Store
from diagchd_batch.training.cohort import TrainingCohort
from diagchd_batch.training.folds import Fold
from diagchd_batch.wording import counted


class RecordedFolds(JsonRecord):
    """Which fold of a finished training held which study out, so that a damaged out-of-fold run can be made again.

    It lies in the tree of trainings. A deletion of one of the subjects removes it.

    Attributes:
        rule: The value of `training.folds.rule`.
        names: The name of each fold, in the order of their numbers.
        column: The value of `training.folds.column`.
        fold_of_study: Token of a study → the number of the fold that held it out, from 0.
        weights_sha256: SHA-256 of each fold's weights in the package, in hexadecimal.
    """

    remedy: ClassVar[str] = "delete it; the out-of-fold run of this training is then no longer checked by `train`"
    indent: ClassVar[int | None] = None

    rule: str
    names: tuple[str, ...]
    column: str | None
    fold_of_study: dict[str, int]
    weights_sha256: tuple[str, ...]

    @property
    def folds(self) -> HeldOutFolds:
        """The folds, for a run."""
        return HeldOutFolds(self.rule, self.names, self.column, self.fold_of_study)


def record_folds(private: Store, run_id: str, folds: HeldOutFolds, card: ModelCard) -> None:
    """Record which fold of a training held which study out, for `recorded_folds`.

    Args:
        private: The tree of trainings.
        run_id: The training's run id.
        folds: Which fold holds which study out.
        card: The card of the training's package.
    """
    RecordedFolds(
        rule=folds.rule,
        names=folds.names,
        column=folds.column,
        fold_of_study=dict(folds.fold_of_study),
        weights_sha256=_weights_of(card),
    ).write(private, _recorded_folds_file(run_id))


def recorded_folds(private: Store, run_id: str, package: Store) -> HeldOutFolds | None:
    """Return what `record_folds` recorded, or None if it is gone or the package has other weights than then.

    Args:
        private: The tree of trainings.
        run_id: The training's run id.
        package: The place of the training's package.

    Raises:
        DamagedRecordError: The record cannot be read.
    """
    recorded = RecordedFolds.read(private, _recorded_folds_file(run_id))
    if recorded is None or package.stat(CARD) is None:
        return None
    try:
        card = ModelCard.model_validate_json(package.read(CARD, max_bytes=MAX_CARD_BYTES))
    except (ItemError, ValueError):
        return None
    return recorded.folds if _weights_of(card) == recorded.weights_sha256 else None


def _weights_of(card: ModelCard) -> tuple[str, ...]:
    return tuple(one.sha256 for one in card.weights_files)


def _recorded_folds_file(run_id: str) -> str:
    return output_layout.private_run(run_id) + "training/held_out.json"


def held_out_folds(
    cohort: TrainingCohort, folds: Sequence[Fold], config: FoldsConfig, stop_request: str | None
) -> HeldOutFolds | None:
    """Return which fold holds which study out, or None if no fold holds any out.

    Args:
        cohort: What was trained on.
        folds: The folds, in the order of the package's members.
        config: The block `training.folds`.
        stop_request: Key in the private tree of the request that stops the training.
    """
    fold_of_study = {
        study: fold.number for fold in folds for study in np.unique(cohort.study_ids[fold.held_out_rows]).tolist()
    }
    if not fold_of_study:
        return None
    return HeldOutFolds(config.rule, tuple(fold.name for fold in folds), config.column, fold_of_study, stop_request)


def score_held_out(
    config: JobConfig,
    folds: HeldOutFolds,
    cluster: Cluster,
    *,
    environ: Mapping[str, str],
    command: Sequence[str],
    until: datetime | None,
    on_message: Callable[[str], None],
    request: RunRequest = RunRequest(),
    log: DriverLog | None = None,
) -> RunOutcome:
    """Score the held-out studies of a training, evaluate them and write the report. The same call resumes the run.

    Args:
        config: The training job, whose package is written.
        folds: Which fold holds which study out.
        cluster: Where the actors run.
        environ: The environment variables, which may hold the identifier key.
        command: The words of the command line, for the private run record.
        until: When the last shard must have ended; None for no deadline.
        on_message: Receives what the user should know.
        request: Names the run of a training that was finished before.
        log: Keeps the run's messages in the private tree; None to keep none.

    Returns:
        How the run ended.

    Raises:
        DiagchdBatchError: The run cannot go on. What is committed stays.
        RunInterrupted: SIGINT or SIGTERM arrived. What is committed stays.
    """
    training = config.training
    assert training is not None
    model = ModelConfig(
        name=_as_package(training.package_uri), precision=config.model.precision, batch_size=config.model.batch_size
    )
    job = config.model_copy(update={"model": model, "training": None})
    options = SubmitOptions(job, environ, command, request, until)
    return score_evaluate_report(options, cluster, _Messages(on_message), log, folds=folds).outcome


def _as_package(uri: str) -> str:
    """Return a name that can only be the place of a package, not the name of a bundled one."""
    return uri if "/" in uri else f"./{uri}"


class _Messages:
    """Passes on the events of the run that a training tells of."""

    def __init__(self, on_message: Callable[[str], None]) -> None:
        self._on_message = on_message

    def listed(self, n_objects: int) -> None:
        """See `RunProgress.listed`."""

    def started(self, start: RunStart) -> None:
        """See `RunProgress.started`."""
        left = start.n_images - start.done_images
        self._on_message(f"run {start.run_id} scores {counted(left, 'held-out image')}")

    def in_flight(self, n_images: int) -> None:
        """See `RunProgress.in_flight`."""

    def workers(self, n_workers: int) -> None:
        """See `RunProgress.workers`."""

    def shard_done(self, summary: ShardSummary) -> None:
        """See `RunProgress.shard_done`."""

    def message(self, text: str) -> None:
        """See `RunProgress.message`."""
        self._on_message(text)
