"""A run that continues others is evaluated together with them."""

from collections.abc import Callable

import pytest

from diagchd_batch.errors import UsageError
from diagchd_batch.evaluation.cohort.evaluate import EvaluationSummary
from tests.support.evaluated_runs import FAILED, RUN_ID, MadeOutput, MadeStudy

CHILD = "0a1b2c3d-4e5f6071-2"


def test_a_lineage_takes_the_latest_ok_of_each_frame(
    made: MadeOutput, evaluate: Callable[..., EvaluationSummary]
) -> None:
    made.write_run([MadeStudy("a", [[0.9], [FAILED]], 1), MadeStudy("b", [[0.2]], 0)])
    retried = [MadeStudy("a", [["not_found"], [0.1, 0.3]], 1), MadeStudy("c", [[0.7]], 1)]
    made.write_run(retried, CHILD, parent=RUN_ID)
    summary = evaluate(made, CHILD)
    assert summary.lineage == (RUN_ID, CHILD)
    results = {row["study_id"]: row for row in made.metrics("study_results", CHILD)}
    a = results[made.tokens.study("a")]
    # 0.9 stays although the later run failed on its file. The file that had failed before now has two frames,
    # which make one image's score.
    assert a["score"] == pytest.approx((0.9 + (0.1 + 0.3) / 2) / 2, abs=1e-7)
    assert (a["n_images"], a["n_frames_ok"], a["n_frames_failed"]) == (2, 3, 0)
    assert len(results) == 3


def test_a_missing_parent_is_named(made: MadeOutput, evaluate: Callable[..., EvaluationSummary]) -> None:
    made.write_run([MadeStudy("a", [[0.9]], 1)], CHILD, parent=RUN_ID)
    with pytest.raises(UsageError, match=f"run {RUN_ID}, a parent of {CHILD}"):
        evaluate(made, CHILD)
