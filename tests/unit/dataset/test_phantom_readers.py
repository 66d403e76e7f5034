import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from dataset.phantom import Split, draw_cohort
from dataset.phantom.cohort.readers import (
    READERS,
    draw_readers,
    simulate_reads,
    true_auc,
    true_sensitivity,
    true_specificity,
    without_gain,
)
from dataset.phantom.cohort.tables import case_difficulty

ONCE = 40_000


@pytest.mark.parametrize("aided", [False, True])
def test_large_simulation_meets_the_closed_forms(aided: bool) -> None:
    rng = np.random.default_rng(5)
    (reads,) = simulate_reads(ONCE, 1, READERS, rng, aided=(aided,))
    diseased = reads.label == 1
    for k, reader in enumerate(READERS):
        for truth, calls in (
            (true_sensitivity(reader, aided), reads.call[diseased, k]),
            (1 - true_specificity(reader), reads.call[~diseased, k]),
        ):
            assert calls.mean() == pytest.approx(truth, abs=4 * np.sqrt(truth * (1 - truth) / len(calls)) + 1e-4)
        # 4 standard errors of an AUC at these numbers (Hanley and McNeil) are below 0.01.
        assert roc_auc_score(reads.label, reads.score[:, k]) == pytest.approx(true_auc(reader, aided), abs=0.01)


def test_several_units_a_subject_keep_the_truth_and_correlate() -> None:
    rng = np.random.default_rng(6)
    (reads,) = simulate_reads(20_000, 2, READERS, rng, subject_correlation=0.8)
    first, second = reads.case[0::2], reads.case[1::2]
    assert np.corrcoef(first, second)[0, 1] == pytest.approx(0.8, abs=0.02)
    assert (reads.label[0::2] == reads.label[1::2]).all() and (reads.subject[0::2] == reads.subject[1::2]).all()
    sensitivity = reads.call[reads.label == 1].mean(0)
    assert sensitivity == pytest.approx([true_sensitivity(reader) for reader in READERS], abs=0.02)


def test_sessions_agree_more_than_readers_do() -> None:
    first, second = simulate_reads(20_000, 1, READERS, np.random.default_rng(7), sessions=2)
    normal = first.label == 0
    within = [np.corrcoef(first.rating[normal, k], second.rating[normal, k])[0, 1] for k in range(5)]
    between = np.corrcoef(first.rating[normal, :5].T)
    assert min(within) > between[np.triu_indices(5, 1)].max()  # type: ignore[index]
    assert first.call.mean(0) == pytest.approx(second.call.mean(0), abs=0.01)


def test_missing_reads_are_the_hard_ones() -> None:
    (reads,) = simulate_reads(20_000, 1, READERS[:1], np.random.default_rng(8), missing_rate=0.3)
    missing = np.isnan(reads.call[:, 0])
    distance = np.abs(reads.rating[:, 0] - READERS[0].threshold)
    assert 0.02 < missing.mean() < 0.3
    assert distance[missing].mean() < 0.8 * distance[~missing].mean()
    assert np.isnan(reads.score[missing]).all() and not np.isnan(reads.score[~missing]).any()


def test_help_without_gain_changes_no_truth() -> None:
    readers = [without_gain(reader) for reader in READERS]
    assert [true_auc(reader, True) for reader in readers] == [true_auc(reader) for reader in READERS]
    population = draw_readers(2_000, np.random.default_rng(9))
    assert np.mean([reader.skill for reader in population]) == pytest.approx(2.0, abs=0.03)


def test_difficulty_of_simulated_studies_is_standard_normal_within_each_label() -> None:
    studies = list({study.heart: study for study in draw_cohort(4, Split.OTHER, 3000)}.values())
    for label in (0, 1):
        case = [case_difficulty(study) for study in studies if study.disease.label == label]
        assert stats.kstest(case, "norm").pvalue > 1e-3
