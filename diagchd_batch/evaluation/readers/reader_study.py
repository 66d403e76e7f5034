"""The readers' reads as raters over the studies that anyone read, and their majority."""

from dataclasses import dataclass, fields, replace

import numpy as np

from diagchd_batch.evaluation.units import (
    EXCLUDED,
    INDETERMINATE,
    NOT_READ,
    REASONS,
    REFERENCE_FROM_READERS,
    UNDECIDED,
    Rater,
    Units,
)
from diagchd_batch.statistics.multireader.reader_groups import majority_call

UNAIDED = "unaided"


@dataclass(frozen=True)
class Reads:
    """Matched reads, one entry a read; `study` is the study's number, names are those shown in tables.

    status: read, not_read, indeterminate; call and score float64, NaN where absent; session and arm "" where the
    readers' table has none.
    """

    study: np.ndarray
    reader: np.ndarray
    session: np.ndarray
    arm: np.ndarray
    status: np.ndarray
    call: np.ndarray
    score: np.ndarray

    def __len__(self) -> int:
        return len(self.study)

    def where(self, rows: np.ndarray) -> "Reads":
        return Reads(*(getattr(self, name)[rows] for name in _READ_COLUMNS))

    def arms(self) -> list[str]:
        """All arms, the main one first: unaided, else the first by name."""
        return sorted(set(self.arm.tolist()), key=lambda arm: (arm.casefold() != UNAIDED, arm))

    def first_sessions(self, arm: str) -> "Reads":
        """Each reader's reads of the first session in this arm."""
        reads = self.where(self.arm == arm)
        keep = np.zeros(len(reads), dtype=bool)
        for reader in set(reads.reader.tolist()):
            own = reads.reader == reader
            first = min(set(reads.session[own].tolist()), key=session_order)
            keep |= own & (reads.session == first)
        return reads.where(keep)


_READ_COLUMNS = tuple(column.name for column in fields(Reads))


def session_order(session: str) -> tuple[bool, int, str]:
    """Sorts session 2 before session 10."""
    digits = "".join(character for character in session if character.isdigit())
    return (not digits, int(digits or 0), session)


@dataclass(frozen=True)
class ReaderStudy:
    """The studies that anyone read, and the readers over them. `study` holds the studies' numbers."""

    study: np.ndarray
    units: Units
    readers: tuple[Rater, ...]

    @property
    def calls(self) -> np.ndarray:
        """studies × readers, NaN where there is no call."""
        return np.stack([reader.call for reader in self.readers], axis=1)

    @property
    def scores(self) -> np.ndarray:
        return np.stack([reader.scores for reader in self.readers], axis=1)

    @property
    def have_scores(self) -> bool:
        return all(reader.score is not None and not np.isnan(reader.score).all() for reader in self.readers)


def reader_study(
    reads: Reads,
    cohort: Units,
    excluded: np.ndarray,
    reference_from_readers: np.ndarray,
    study: np.ndarray | None = None,
) -> ReaderStudy:
    """Arranges one read a reader and study.

    cohort: all planned studies; excluded: bool, those that the manifest excludes; reference_from_readers: bool, those
    whose reference label is the readers' majority. study: the studies to arrange; default: those that anyone read.
    """
    if study is None:
        study = np.unique(reads.study)
    elsewhere = {REASONS[EXCLUDED]: int(excluded.sum() - excluded[study].sum())}
    elsewhere[REASONS[NOT_READ]] = len(cohort) - len(study) - elsewhere[REASONS[EXCLUDED]]
    units = replace(cohort.take(study), elsewhere=elsewhere)
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
    reason[(reason == 0) & np.isnan(call)] = INDETERMINATE  # read, but neither 0 nor 1
    reason[reference_from_readers] = REFERENCE_FROM_READERS
    reason[excluded] = EXCLUDED
    call[reason != 0] = np.nan
    score[(reason == EXCLUDED) | (reason == REFERENCE_FROM_READERS) | (reason == NOT_READ)] = np.nan
    return Rater("reader", name, call, reason, None if np.isnan(score).all() else score)


def majority(readers: tuple[Rater, ...]) -> Rater:
    """The readers' majority (`majority_call`); a study on which every reader has one and the same reason has it too."""
    return _majority(np.stack([reader.call for reader in readers], axis=1), readers, "majority")


def majority_of_others(readers: tuple[Rater, ...], reader: Rater) -> Rater:
    """The majority without `reader`: what a reader may be held against without being part of it."""
    others = tuple(other for other in readers if other is not reader)
    return _majority(np.stack([other.call for other in others], axis=1), others, "majority of the other readers")


def _majority(calls: np.ndarray, readers: tuple[Rater, ...], name: str) -> Rater:
    call = majority_call(calls)
    reason = np.where(np.isnan(call), UNDECIDED, 0)
    reasons = np.stack([reader.reason for reader in readers], axis=1)
    for whole in (NOT_READ, REFERENCE_FROM_READERS, EXCLUDED):
        reason = np.where((reasons == whole).all(axis=1), whole, reason)
    return Rater("majority", name, call, reason.astype(np.int8))
