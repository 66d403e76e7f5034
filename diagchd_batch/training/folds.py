"""Divides a cohort into folds by subject, so that no figure is measured on a subject that was trained on."""

from dataclasses import dataclass

import numpy as np

from diagchd_batch.config.training_block import TEST, TRAINING, VALIDATION, FoldsConfig
from diagchd_batch.errors import InputError
from diagchd_batch.training.cohort import UNLABELLED, TrainingCohort
from diagchd_batch.wording import counted

_DIVISION = {TRAINING, VALIDATION, TEST}


@dataclass(frozen=True)
class Fold:
    """One division of a cohort. No subject has rows in two of the three parts.

    Attributes:
        number: The fold's number, from 0.
        name: The number as text, or the value of the column that the fold holds out, which is identified data.
        training_rows: int64, rows of the cohort that are trained on, in ascending order.
        validation_rows: int64, rows that choose the best epoch.
        held_out_rows: int64, rows that the fold's model predicts and that it is never chosen by. There are none if a
            column says training, validation or test.
    """

    number: int
    name: str
    training_rows: np.ndarray
    validation_rows: np.ndarray
    held_out_rows: np.ndarray


def assign_folds(cohort: TrainingCohort, config: FoldsConfig, seed: int) -> tuple[Fold, ...]:
    """Return the folds of a cohort. The same cohort, configuration and seed give the same folds.

    Subjects are stratified by label: a subject with any study of congenital heart disease counts as such.

    Args:
        cohort: The frames to divide.
        config: The block `training.folds`.
        seed: Seed of the random division, at least 0.

    Raises:
        InputError: There are too few subjects, a study lacks the column's value, or a subject has two values.
    """
    subjects, subject_of_row = np.unique(cohort.subject_ids, return_inverse=True)
    strata = np.full(len(subjects), UNLABELLED, np.int8)
    np.maximum.at(strata, subject_of_row, cohort.labels_i8)
    if config.rule == "subject":
        part_of_subject, names = _dealt(strata, config.number, seed)
    else:
        assert config.column is not None
        part_of_subject, names = _by_column(cohort, config.column, subject_of_row, len(subjects))
        if config.rule == "column" and set(names) <= _DIVISION:
            return (_given_division(cohort, config, part_of_subject, names, subject_of_row, strata, seed),)
        if reserved := _DIVISION & set(names):
            raise InputError(
                f"training.folds.column: {config.column} has the value {min(reserved)} beside names of folds; use "
                "training, validation and test alone, or names of folds alone"
            )
        if len(names) < 2:
            raise InputError(
                f"training.folds.column: {config.column} has one value, so nothing could be trained on when it is held "
                "out; name another column"
            )
    folds = []
    for number, name in enumerate(names):
        in_training = part_of_subject != number
        validates = _drawn(strata, in_training, config.validation_fraction, seed + 1 + number)
        folds.append(_fold(number, name, subject_of_row, in_training & ~validates, validates, ~in_training))
    return tuple(folds)


def refuse_leaks(cohort: TrainingCohort, picture_digests: np.ndarray) -> None:
    """Check that no picture stands under two subjects, and none has two labels.

    Folds keep a subject together. A picture under two subjects is one subject under two names, which could be trained
    on under one and measured under the other.

    Args:
        cohort: The frames.
        picture_digests: ``[n]``, a digest of each frame's decoded pixels.

    Raises:
        InputError: Two frames have the same pixels and different subjects or labels. The message has both tokens.
    """
    order = np.lexsort((cohort.image_ids, picture_digests))
    same = picture_digests[order[1:]] == picture_digests[order[:-1]]
    labels = cohort.labels_i8
    for what, differs, remedy in (
        ("belong to different subjects", _differs(cohort.subject_ids, order), "give both the same subject_id"),
        (
            "have different labels",
            _differs(labels, order) & (labels[order[1:]] != UNLABELLED) & (labels[order[:-1]] != UNLABELLED),
            "correct the label",
        ),
    ):
        found = np.flatnonzero(same & differs)
        if len(found):
            one, other = (cohort.image_ids[order[found[0] + shift]] for shift in (0, 1))
            raise InputError(
                f"images {one} and {other} are the same picture and {what} ({counted(len(found), 'such pair')}); "
                f"{remedy}, or exclude one of them"
            )


def _differs(values: np.ndarray, order: np.ndarray) -> np.ndarray:
    return np.asarray(values[order[1:]] != values[order[:-1]])


def _dealt(strata: np.ndarray, n_folds: int, seed: int) -> tuple[np.ndarray, list[str]]:
    """Deal the subjects of each stratum out to the folds in random order, and return each subject's fold."""
    if len(strata) < n_folds:
        raise InputError(
            f"training.folds.number is {n_folds}, and the input has {counted(len(strata), 'subject')}; lower it"
        )
    order = _shuffled_by_stratum(strata, seed)
    part = np.empty(len(strata), np.int64)
    part[order] = np.arange(len(order)) % n_folds  # dealt on across strata, so that the folds are equally large
    return part, [str(number) for number in range(n_folds)]


def _shuffled_by_stratum(strata: np.ndarray, seed: int) -> np.ndarray:
    shuffled = np.random.default_rng(seed).permutation(len(strata))
    return shuffled[np.argsort(strata[shuffled], kind="stable")]


def _drawn(strata: np.ndarray, eligible: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """Return which of the eligible subjects validate: a fraction of each stratum, and at least one of two or more."""
    drawn = np.zeros(len(strata), bool)
    order = _shuffled_by_stratum(strata, seed)
    for stratum in np.unique(strata[eligible]):
        members = order[(strata[order] == stratum) & eligible[order]]
        if len(members) > 1:
            drawn[members[: max(1, round(fraction * len(members)))]] = True
    if not drawn.any():
        raise InputError(
            f"a fold has {counted(int(eligible.sum()), 'subject')} to train on, too few to choose the best epoch by; "
            "add studies, or use fewer folds"
        )
    return drawn


def _by_column(
    cohort: TrainingCohort, column: str, subject_of_row: np.ndarray, n_subjects: int
) -> tuple[np.ndarray, list[str]]:
    """Return the number of each subject's value, and the values in ascending order."""
    values = cohort.columns[column]
    if (absent := values == "").any():
        raise InputError(
            f"training.folds.column: {counted(len(set(cohort.study_ids[absent])), 'study')} of the input, first "
            f"{cohort.study_ids[absent][0]}, have no value in column {column}; add it, or exclude them"
        )
    names, number_of_row = np.unique(values, return_inverse=True)
    part = np.full(n_subjects, -1, np.int64)
    part[subject_of_row] = number_of_row
    if (split := part[subject_of_row] != number_of_row).any():
        row = int(np.flatnonzero(split)[0])
        same = (subject_of_row == subject_of_row[row]) & (number_of_row != number_of_row[row])
        raise InputError(
            f"training.folds.column: subject {cohort.subject_ids[row]} has study {cohort.study_ids[row]} and study "
            f"{cohort.study_ids[np.flatnonzero(same)[0]]} on two sides of column {column}; give both one value"
        )
    return part, names.tolist()


def _given_division(
    cohort: TrainingCohort,
    config: FoldsConfig,
    part_of_subject: np.ndarray,
    names: list[str],
    subject_of_row: np.ndarray,
    strata: np.ndarray,
    seed: int,
) -> Fold:
    """Return the one fold of a column that says training, validation or test."""
    is_part = {name: part_of_subject == number for number, name in enumerate(names)}
    nobody = np.zeros(len(strata), bool)
    in_training = is_part.get(TRAINING, nobody)
    if not in_training.any():
        raise InputError(f"training.folds.column: no study has the value {TRAINING} in {config.column}; correct it")
    validates = is_part.get(VALIDATION, nobody)
    if not validates.any():
        validates = _drawn(strata, in_training, config.validation_fraction, seed + 1)
        in_training = in_training & ~validates
    return _fold(0, "0", subject_of_row, in_training, validates, nobody)


def _fold(
    number: int, name: str, subject_of_row: np.ndarray, training: np.ndarray, validation: np.ndarray, held: np.ndarray
) -> Fold:
    rows = (np.flatnonzero(part[subject_of_row]) for part in (training, validation, held))
    return Fold(number, name, *rows)
