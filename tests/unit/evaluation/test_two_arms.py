"""The counts beside the difference of two arms are those of the studies that it is computed from."""

import numpy as np

from diagchd_batch.evaluation.readers.aided_and_unaided import two_arm_rows
from diagchd_batch.evaluation.readers.reader_study import ReaderStudy
from diagchd_batch.evaluation.study_score import ScoreDefinition
from diagchd_batch.evaluation.tables.rows import RowBuilder, Settings
from diagchd_batch.evaluation.units_and_raters import EXCLUDED, INDETERMINATE, Rater, Units

N = 40


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


def test_a_call_without_a_score_does_not_enter_the_comparison_of_scores() -> None:
    builder = RowBuilder(Settings(ScoreDefinition(), 100, 1))
    rows = {row["endpoint"]: row for row in two_arm_rows(builder, arm(1), arm(2), ("a", "b"))}
    assert rows["sensitivity"]["n_units"] == N - 2
    assert rows["sensitivity"]["excluded_reasons"] == "excluded=1; indeterminate=1"
    assert rows["roc_auc"]["n_units"] == N - 3
    assert rows["roc_auc"]["n_excluded"] == 3
    assert "not_read=" in rows["roc_auc"]["excluded_reasons"]
