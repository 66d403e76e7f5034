"""The folds of a training, for a run that scores each study with the model that was not trained on it."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from diagchd_batch.config.fingerprint import fingerprint
from diagchd_batch.results.run_record import CrossValidation
from diagchd_batch.studies.plan.selection import Select, held_out_by


@dataclass(frozen=True)
class HeldOutFolds:
    """Which fold of a training holds which study out.

    Attributes:
        rule: How the folds were made: a value of `training.folds.rule`.
        names: The name of each fold, in the order of their numbers. Values of a user's column are identified data.
        column: The user's column that the folds were made by, or None.
        fold_of_study: Token of a study → the number of the fold that holds it out, from 0. A study that no fold holds
            out is not scored.
        stop_request: Key in the private tree of the request that stops the training, and with it this run; None if no
            training waits for the run.
    """

    rule: str
    names: tuple[str, ...]
    column: str | None
    fold_of_study: Mapping[str, int]
    stop_request: str | None = None

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the studies' tokens and folds, for the run's fingerprint."""
        return fingerprint(dict(self.fold_of_study))

    @property
    def select(self) -> Select:
        """What reduces an inventory to the studies that are held out."""
        return held_out_by(self.fold_of_study)

    @property
    def record(self) -> CrossValidation:
        """What the run's public record says of the folds."""
        return CrossValidation(rule=self.rule, n_folds=len(self.names))
