"""The folds of a training as a covariate of its out-of-fold predictions, so that every fold has figures of its own."""

from collections.abc import Sequence

import numpy as np

from diagchd_batch.evaluation.subgroups.covariate_levels import Covariate
from diagchd_batch.evaluation.tables.display_names import MISSING, DisplayNames
from diagchd_batch.results.run_record import read_private_run_record
from diagchd_batch.storage import Store

TRAINING_FOLD = "training_fold"
"""The name of the covariate, and of the family of its tests."""


def fold_names(private: Store, run_id: str) -> list[str]:
    """Return the folds' own names, which are identified data; empty if the private record does not have them.

    Args:
        private: The private tree.
        run_id: The run.
    """
    record = read_private_run_record(private, run_id)
    return record.fold_names if record else []


def training_fold(
    folds: np.ndarray, covariates: Sequence[Covariate], own_names: Sequence[str], names: DisplayNames
) -> Covariate:
    """Return the folds as a covariate.

    If each fold holds out one level of another covariate, such as a site, its name is that level's name in tables.

    Args:
        folds: int64 [studies], the fold of each study, -1 without one.
        covariates: The other covariates over the same studies.
        own_names: The folds' own names by number; numbers stand for those that are missing.
        names: Gives the names to show.
    """
    present = np.unique(folds[folds >= 0]).tolist()
    levels = next((found for one in covariates if (found := _levels_left_out(folds, present, one))), None)
    if levels is None:
        own = [own_names[fold] if fold < len(own_names) else str(fold) for fold in present]
        shown = names.numbered(f"{TRAINING_FOLD} level", own)
        levels = [shown[name] for name in own]
    code = np.searchsorted(present, folds).astype(np.int64)
    return Covariate(TRAINING_FOLD, (*levels, MISSING), np.where(folds >= 0, code, len(levels)))


def _levels_left_out(folds: np.ndarray, present: Sequence[int], covariate: Covariate) -> list[str] | None:
    """Return the level of a covariate that each fold holds out; None if a fold has several, or two have the same."""
    codes = [np.unique(covariate.code[folds == fold]) for fold in present]
    if len(present) < 2 or any(len(of_fold) != 1 for of_fold in codes):
        return None
    levels = [covariate.levels[int(of_fold[0])] for of_fold in codes]
    return levels if len(set(levels)) == len(levels) and MISSING not in levels else None
