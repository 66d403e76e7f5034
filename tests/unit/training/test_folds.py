"""Folds by subject: parts that share no subject, balanced by label, and leaks that are refused."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diagchd_batch.config.training_block import FoldsConfig
from diagchd_batch.errors import InputError
from diagchd_batch.training.cohort import TrainingCohort
from diagchd_batch.training.folds import Fold, assign_folds, refuse_leaks


def made_cohort(
    subjects: list[int], labels: list[int] | None = None, column: list[str] | None = None
) -> TrainingCohort:
    """Return a cohort with one study and one frame a row."""
    n = len(subjects)
    return TrainingCohort(
        image_ids=np.array([f"i-{row:04}" for row in range(n)]),
        frames=np.zeros(n, np.int32),
        study_ids=np.array([f"s-{row:04}" for row in range(n)]),
        subject_ids=np.array([f"p-{subject:04}" for subject in subjects]),
        labels_i8=np.array([0] * n if labels is None else labels, np.int8),
        has_mask=np.ones(n, bool),
        columns={} if column is None else {"site": np.array(column)},
    )


def parts(fold: Fold) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return fold.training_rows, fold.validation_rows, fold.held_out_rows


COHORTS = st.integers(8, 60).flatmap(
    lambda n: st.tuples(
        st.lists(st.integers(0, n), min_size=n, max_size=n), st.lists(st.integers(-1, 1), min_size=n, max_size=n)
    )
)


@settings(deadline=None, max_examples=150)
@given(COHORTS, st.integers(2, 5), st.integers(0, 2**40), st.floats(0.05, 0.5))
def test_each_row_is_held_out_once_and_no_subject_is_in_two_parts(
    made: tuple[list[int], list[int]], n_folds: int, seed: int, fraction: float
) -> None:
    cohort = made_cohort(*made)
    config = FoldsConfig(number=n_folds, validation_fraction=fraction)
    try:
        folds = assign_folds(cohort, config, seed)
    except InputError as error:
        assert len(set(cohort.subject_ids)) < 4 * n_folds, error
        return
    assert len(folds) == n_folds
    assert sorted(np.concatenate([fold.held_out_rows for fold in folds])) == list(range(len(cohort)))
    for fold in folds:
        assert sorted(np.concatenate(parts(fold))) == list(range(len(cohort)))
        subjects = [set(cohort.subject_ids[rows]) for rows in parts(fold)]
        assert sum(map(len, subjects)) == len(set().union(*subjects))
        assert all(subjects)
    again = assign_folds(cohort, config, seed)
    for fold, repeated in zip(folds, again, strict=True):
        for rows, same in zip(parts(fold), parts(repeated), strict=True):
            assert np.array_equal(rows, same)


@pytest.mark.parametrize("seed", range(5))
def test_folds_are_stratified_by_label(seed: int) -> None:
    labels = [1] * 30 + [0] * 90 + [-1] * 15
    cohort = made_cohort(list(range(135)), labels)
    for fold in assign_folds(cohort, FoldsConfig(number=3, validation_fraction=0.2), seed):
        held_out, validation = (cohort.labels_i8[rows] for rows in (fold.held_out_rows, fold.validation_rows))
        assert [(held_out == label).sum() for label in (1, 0, -1)] == [10, 30, 5]
        assert [(validation == label).sum() for label in (1, 0, -1)] == [4, 12, 2]


def test_another_seed_gives_other_folds() -> None:
    cohort = made_cohort(list(range(60)))
    one, other = (assign_folds(cohort, FoldsConfig(number=2), seed) for seed in (1, 2))
    assert not np.array_equal(one[0].held_out_rows, other[0].held_out_rows)


def test_each_site_is_held_out_once() -> None:
    sites = ["b"] * 10 + ["a"] * 20 + ["c"] * 5
    folds = assign_folds(made_cohort(list(range(35)), column=sites), FoldsConfig(rule="leave_out", column="site"), 1)
    assert [fold.name for fold in folds] == ["a", "b", "c"]
    for fold in folds:
        assert {sites[row] for row in fold.held_out_rows} == {fold.name}
        assert fold.name not in {sites[row] for row in np.concatenate(parts(fold)[:2])}


def test_a_column_that_says_training_validation_and_test_gives_one_fold_without_held_out_rows() -> None:
    column = ["training"] * 6 + ["validation"] * 3 + ["test"] * 2
    config = FoldsConfig(rule="column", column="site")
    (fold,) = assign_folds(made_cohort(list(range(11)), column=column), config, 1)
    assert [list(rows) for rows in parts(fold)] == [[0, 1, 2, 3, 4, 5], [6, 7, 8], []]
    (drawn,) = assign_folds(made_cohort(list(range(11)), column=["training"] * 11), config, 1)
    assert len(drawn.validation_rows) == 2
    assert len(drawn.training_rows) == 9


@pytest.mark.parametrize(
    ("subjects", "column", "rule", "message"),
    [
        ([0, 1, 2, 0], ["a", "a", "b", "b"], "leave_out", "subject p-0000 has study s-0000 and study s-0003 on two"),
        ([0, 1, 1], ["training", "training", "validation"], "column", "study s-0001 and study s-0002 on two sides"),
        ([0, 1, 2], ["a", "", "b"], "leave_out", "1 study of the input, first s-0001, have no value in column site"),
        ([0, 1, 2], ["a", "a", "a"], "leave_out", "has one value"),
        ([0, 1, 2], ["a", "b", "validation"], "column", "the value validation beside names of folds"),
        ([0, 1], ["validation", "validation"], "column", "no study has the value training"),
        ([0, 1, 2], ["a", "b", "b"], "leave_out", "too few to choose the best epoch by"),
    ],
)
def test_columns_that_make_no_folds_are_refused(
    subjects: list[int], column: list[str], rule: str, message: str
) -> None:
    config = FoldsConfig.model_validate({"rule": rule, "column": "site"})
    with pytest.raises(InputError, match=message):
        assign_folds(made_cohort(subjects, column=column), config, 1)


def test_fewer_subjects_than_folds_are_refused() -> None:
    with pytest.raises(InputError, match="number is 5, and the input has 3 subjects; lower it"):
        assign_folds(made_cohort([0, 1, 2, 2]), FoldsConfig(), 1)


DIFFERENT = np.array([b"1", b"2", b"3", b"4"])


def test_a_picture_under_two_subjects_is_refused_with_both_tokens() -> None:
    cohort = made_cohort([0, 1, 1, 2], [1, 0, 0, -1])
    refuse_leaks(cohort, DIFFERENT)
    refuse_leaks(cohort, np.array([b"1", b"2", b"2", b"4"]))
    with pytest.raises(InputError, match=r"images i-0001 and i-0003 are the same picture and belong to different subj"):
        refuse_leaks(cohort, np.array([b"1", b"2", b"3", b"2"]))


def test_a_picture_with_two_labels_is_refused_with_both_tokens() -> None:
    cohort = dataclasses.replace(made_cohort([0, 1, 1, 2]), labels_i8=np.array([1, 0, 1, -1], np.int8))
    with pytest.raises(InputError, match=r"images i-0001 and i-0002 are the same picture and have different labels"):
        refuse_leaks(cohort, np.array([b"1", b"2", b"2", b"4"]))


@settings(deadline=None, max_examples=50)
@given(st.permutations(range(12)), st.integers(0, 11), st.integers(0, 11))
def test_a_leak_is_found_wherever_its_two_pictures_lie(order: list[int], one: int, other: int) -> None:
    digests = np.array([f"{number:02}".encode() for number in order])
    digests[other] = digests[one]
    cohort = made_cohort(list(range(12)))
    if one == other:
        refuse_leaks(cohort, digests)
    else:
        with pytest.raises(InputError, match=f"images i-{min(one, other):04} and i-{max(one, other):04} are the same"):
            refuse_leaks(cohort, digests)
