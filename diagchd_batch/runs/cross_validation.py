"""The last step of `train`: the out-of-fold predictions, as a run of the output like any other.

Each study is scored by the model of the fold that held it out, through the code that scores every run. So `verify`,
`evaluate`, `report`, `query` and `compare` work on it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from diagchd_batch.cluster.resources import Cluster
from diagchd_batch.config.job_file import JobConfig, ModelConfig
from diagchd_batch.runs.submit import SubmitOptions, score_evaluate_report
from diagchd_batch.scoring.driver.held_out_folds import HeldOutFolds
from diagchd_batch.scoring.driver.run_identity.run_request import RunRequest
from diagchd_batch.scoring.driver.run_job import RunOutcome
from diagchd_batch.scoring.liveness.progress_events import RunStart, ShardSummary
from diagchd_batch.training.cohort import TrainingCohort
from diagchd_batch.training.folds import Fold
from diagchd_batch.wording import counted


@dataclass(frozen=True, slots=True)
class TrainedFolds:
    """The folds of a training whose package is written.

    Attributes:
        cohort: What was trained on.
        folds: The folds, in the order of the package's members.
    """

    cohort: TrainingCohort
    folds: Sequence[Fold]

    def held_out(self, rule: str, column: str | None) -> HeldOutFolds | None:
        """Return which fold holds which study out, or None if no fold holds any out.

        Args:
            rule: The value of `training.folds.rule`.
            column: The value of `training.folds.column`.
        """
        fold_of_study = {
            study: fold.number
            for fold in self.folds
            for study in np.unique(self.cohort.study_ids[fold.held_out_rows]).tolist()
        }
        if not fold_of_study:
            return None
        return HeldOutFolds(rule, tuple(fold.name for fold in self.folds), column, fold_of_study)


def score_held_out(
    config: JobConfig,
    trained: TrainedFolds,
    cluster: Cluster,
    *,
    environ: Mapping[str, str],
    command: Sequence[str],
    until: datetime | None,
    on_message: Callable[[str], None],
) -> RunOutcome | None:
    """Score the held-out studies of a training, evaluate them and write the report. The same call resumes the run.

    Args:
        config: The training job, whose package is written.
        trained: The folds.
        cluster: Where the actors run.
        environ: The environment variables, which may hold the identifier key.
        command: The words of the command line, for the private run record.
        until: When the last shard must have ended; None for no deadline.
        on_message: Receives what the user should know.

    Returns:
        How the run ended, or None if the training holds no study out.

    Raises:
        DiagchdBatchError: The run cannot go on. What is committed stays.
        RunInterrupted: SIGINT or SIGTERM arrived. What is committed stays.
    """
    training = config.training
    assert training is not None
    folds = trained.held_out(training.folds.rule, training.folds.column)
    if folds is None:
        return None
    model = ModelConfig(
        name=_as_package(training.package_uri), precision=config.model.precision, batch_size=config.model.batch_size
    )
    job = config.model_copy(update={"model": model, "training": None})
    options = SubmitOptions(job, environ, command, RunRequest(), until)
    return score_evaluate_report(options, cluster, _Messages(on_message), folds=folds).outcome


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
