"""A reader study: the readers as raters over the studies that anyone read."""

from dataclasses import dataclass, replace

import numpy as np

from diagchd_batch.evaluation.readers.reads import Reads
from diagchd_batch.evaluation.units_and_raters import (
    EXCLUDED,
    INDETERMINATE,
    NOT_READ,
    REASONS,
    REFERENCE_FROM_READERS,
    Rater,
    Units,
)


@dataclass(frozen=True)
class ReaderStudy:
    """The readers over the studies that anyone read.

    Attributes:
        study: int64 [studies], the studies' numbers in the cohort, ascending.
        units: These studies.
        readers: The readers, sorted by name.
    """

    study: np.ndarray
    units: Units
    readers: tuple[Rater, ...]

    @property
    def scores(self) -> np.ndarray:
        """The readers' scores: float64 [studies, readers], NaN where missing."""
        return np.stack([reader.scores for reader in self.readers], axis=1)

    @property
    def have_scores(self) -> bool:
        """Whether every reader gave scores."""
        return all(reader.score is not None and not np.isnan(reader.score).all() for reader in self.readers)


def reader_study(
    reads: Reads,
    cohort: Units,
    excluded: np.ndarray,
    reference_from_readers: np.ndarray,
    study: np.ndarray | None = None,
) -> ReaderStudy:
    """Arrange reads by reader and study.

    Args:
        reads: At most one read for each reader and study.
        cohort: All planned studies.
        excluded: bool [planned studies], those that the manifest excludes.
        reference_from_readers: bool [planned studies], those whose reference label was made of the readers' calls.
        study: int64, the numbers of the studies to arrange, ascending; None takes those that anyone read.

    Returns:
        The readers over these studies.
    """
    if study is None:
        study = np.unique(reads.study)
    other_exclusions = {REASONS[EXCLUDED]: int(excluded.sum() - excluded[study].sum())}
    other_exclusions[REASONS[NOT_READ]] = len(cohort) - len(study) - other_exclusions[REASONS[EXCLUDED]]
    units = replace(cohort.take(study), other_exclusions=other_exclusions)
    names = sorted(set(reads.reader.tolist()))
    readers = tuple(
        _reader(name, reads.where(reads.reader == name), study, excluded[study], reference_from_readers[study])
        for name in names
    )
    return ReaderStudy(study, units, readers)


def _reader(
    name: str, reads: Reads, study: np.ndarray, excluded: np.ndarray, reference_from_readers: np.ndarray
) -> Rater:
    place = np.searchsorted(study, reads.study)
    call, score = np.full(len(study), np.nan), np.full(len(study), np.nan)
    reason = np.full(len(study), NOT_READ, dtype=np.int8)
    call[place], score[place] = reads.call, reads.score
    reason[place] = np.where(
        reads.status == "read", 0, np.where(reads.status == "indeterminate", INDETERMINATE, NOT_READ)
    )
    reason[(reason == 0) & np.isnan(call)] = INDETERMINATE  # the status is `read`, but there is no call
    reason[reference_from_readers] = REFERENCE_FROM_READERS
    reason[excluded] = EXCLUDED
    call[reason != 0] = np.nan
    score[(reason == EXCLUDED) | (reason == REFERENCE_FROM_READERS) | (reason == NOT_READ)] = np.nan
    return Rater("reader", name, call, reason, None if np.isnan(score).all() else score)
