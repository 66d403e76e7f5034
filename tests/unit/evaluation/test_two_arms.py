"""The difference of two arms: its counts, readers who did not read everything, and bounds for what was not read."""

from dataclasses import replace

import numpy as np
import pytest

from diagchd_batch.evaluation.readers.aided_and_unaided import two_arm_rows
from diagchd_batch.evaluation.readers.reader_study import ReaderStudy
from diagchd_batch.evaluation.readers.unread_studies import unread_comparison_rows, unread_estimate_rows
from diagchd_batch.evaluation.study_score import ScoreDefinition
from diagchd_batch.evaluation.tables.rows import Row, RowBuilder, Settings
from diagchd_batch.evaluation.units_and_raters import EXCLUDED, INDETERMINATE, NOT_READ, Rater, Units

N = 40
BUILDER = RowBuilder(Settings(ScoreDefinition(), 100, 1))


def arm(seed: int) -> ReaderStudy:
    """Return three readers. Reader 0 calls study 5 without a score and study 6 indeterminate. Study 7 is excluded."""
    generator = np.random.default_rng(seed)
    truth = np.arange(N) % 2.0
    readers = []
    for name in range(3):
        score = truth + generator.normal(size=N)
        reason = np.zeros(N, dtype=np.int8)
        reason[7] = EXCLUDED
        if name == 0:
            score[5], reason[6] = np.nan, INDETERMINATE
        call = np.where(reason == 0, np.nan_to_num(score) > 0.5, np.nan)
        score[reason != 0] = np.nan
        readers.append(Rater("reader", f"r-{name}", call, reason, score))
    return ReaderStudy(np.arange(N), Units("study", np.arange(N), truth), tuple(readers))


def without(study: ReaderStudy, unread: dict[int, list[int]]) -> ReaderStudy:
    """Return the study in which readers did not read these studies."""
    readers = list(study.readers)
    for place, studies in unread.items():
        call, reason = readers[place].call.copy(), readers[place].reason.copy()
        call[studies], reason[studies] = np.nan, NOT_READ
        readers[place] = replace(readers[place], call=call, reason=reason, score=None)
    return replace(study, readers=tuple(readers))


def by_endpoint(first: ReaderStudy, second: ReaderStudy, analysis_set: str) -> dict[str, Row]:
    found = two_arm_rows(BUILDER, first, second, ("a", "b"))
    return {row["endpoint"]: row for row in found if row["analysis_set"] == analysis_set}


def test_a_call_without_a_score_does_not_enter_the_comparison_of_scores() -> None:
    rows = by_endpoint(arm(1), arm(2), "determinate")
    assert rows["sensitivity"]["n_units"] == N - 2
    assert rows["sensitivity"]["excluded_reasons"] == "excluded=1; indeterminate=1"
    assert rows["roc_auc"]["n_units"] == N - 3
    assert rows["roc_auc"]["n_excluded"] == 3
    assert "not_read=" in rows["roc_auc"]["excluded_reasons"]


def test_studies_that_some_readers_skipped_are_compared_reader_by_reader() -> None:
    first, second = without(arm(1), {1: [8, 9, 10, 11]}), without(arm(2), {2: list(range(12, 30))})
    names = {(row["subject"], row["comparator"]) for row in two_arm_rows(BUILDER, first, second, ("old", "new"))}
    assert names == {("new", "old")}
    complete, own = (by_endpoint(first, second, name) for name in ("determinate", "read_in_both_arms"))
    for rate, label in (("sensitivity", 1), ("specificity", 0)):
        assert complete[rate]["n_units"] == N - 2 - 4 - 18
        assert f"only the {N - 24} of {N - 1} studies" in complete[rate]["caution"]
        assert "3 readers" in complete[rate]["caution"]
        assert own[rate]["n_units"] == N - 1
        assert own[rate]["ci_method"] == "obuchowski_rockette_unbalanced"
        assert "3 readers" in own[rate]["caution"]
        differences = []
        for a, b in zip(second.readers, first.readers, strict=True):
            both = (a.reason == 0) & (b.reason == 0) & (first.units.truth == label)
            differences.append(np.mean(a.call[both] == label) - np.mean(b.call[both] == label))
        assert own[rate]["difference"] == pytest.approx(np.mean(differences), abs=1e-12)


def test_two_whole_arms_are_compared_once() -> None:
    first, second = (replace(study, readers=study.readers[1:]) for study in (arm(1), arm(2)))
    assert {row["analysis_set"] for row in two_arm_rows(BUILDER, first, second, ("a", "b"))} == {"determinate"}


def test_unread_studies_are_counted_as_wrong_and_as_right() -> None:
    study = without(arm(1), {0: [8, 9, 11], 1: [13]})
    found = {
        (row["analysis_set"], row["subject"], row["endpoint"]): row for row in unread_estimate_rows(BUILDER, study)
    }
    own = [study.readers[0].call[(study.units.truth == 1) & (study.readers[0].reason == 0)]]
    hits, n = int(own[0].sum()), len(own[0])  # two of the three unread studies are diseased
    wrong, right = (found[f"not_read_{name}", "r-0", "sensitivity"] for name in ("wrong", "right"))
    assert (wrong["numerator"], wrong["denominator"]) == (hits, n + 2)
    assert (right["numerator"], right["denominator"]) == (hits + 2, n + 2)
    for rate in ("sensitivity", "specificity"):
        values = [
            np.mean([found[f"not_read_{name}", f"r-{place}", rate]["value"] for place in range(3)])
            for name in ("wrong", "right")
        ]
        means = [found[f"not_read_{name}", "readers_mean", rate] for name in ("wrong", "right")]
        assert [row["value"] for row in means] == pytest.approx(values)
        assert all("3 readers" in row["caution"] for row in means)
    model = replace(study.readers[2], kind="model", name="model")
    compared = {
        (row["analysis_set"], row["comparator"], row["endpoint"]): row["difference"]
        for row in unread_comparison_rows(BUILDER, study, model)
    }
    for reader in ("r-0", "readers_mean"):
        assert compared["not_read_wrong", reader, "sensitivity"] > compared["not_read_right", reader, "sensitivity"]


def test_without_unread_studies_there_are_no_bounds() -> None:
    assert list(unread_estimate_rows(BUILDER, arm(1))) == []
