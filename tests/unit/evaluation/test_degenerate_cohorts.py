"""Cohorts with almost no data give no warning and no NaN, and a reason for everything that is absent."""

import math
import warnings
from collections.abc import Callable
from typing import Any

import pytest

from diagchd_batch.evaluation.cohort.evaluate import EvaluationSummary
from diagchd_batch.evaluation.tables.writing import UNDEFINED
from diagchd_batch.results.columns.evaluation_tables import TABLES
from tests.support.evaluated_runs import FAILED, MadeOutput, MadeStudy


def mask(predicted: tuple[int, int], reference: tuple[int, int]) -> dict[str, Any]:
    """Return a frame with given numbers of septum and heart pixels in both masks, which overlap as far as possible."""
    (septum, heart), (own_septum, own_heart) = predicted, reference
    shared = min(septum, own_septum), min(heart, own_heart)
    grid = 768
    return {
        "chd_probability": 0.5,
        "background_px": grid - septum - heart,
        "septum_px": septum,
        "heart_px": heart,
        "reference_status": "ok",
        "seg_loss": 0.7,
        "soft_dice": 0.8,
        "reference_px_background": grid - own_septum - own_heart,
        "reference_px_septum": own_septum,
        "reference_px_heart": own_heart,
        "intersection_px_background": grid - max(septum + heart, own_septum + own_heart),
        "intersection_px_septum": shared[0],
        "intersection_px_heart": shared[1],
        "intersection_px_whole_heart": sum(shared),
        "hd95_source_px_septum": math.nan,  # as a writer that has no nulls may leave it
    }


COHORTS = {
    "one study": [MadeStudy("a", [[0.9]], 1)],
    "two studies of one class": [MadeStudy("a", [[0.9]], 1), MadeStudy("b", [[0.8]], 1)],
    "no labels": [MadeStudy("a", [[0.9]]), MadeStudy("b", [[0.1]])],
    "all failed": [MadeStudy("a", [[FAILED]], 1), MadeStudy("b", [[FAILED], [FAILED]], 0)],
    "all excluded": [MadeStudy("a", [], 1, exclude_reason="duplicate")],
    "nothing scored": [MadeStudy("a", [], 1), MadeStudy("b", [], 0)],
    "one subject": [MadeStudy(name, [[0.2 * i]], i % 2, subject_id="p") for i, name in enumerate("abcd")],
    "constant scores": [MadeStudy(name, [[0.5]], i % 2) for i, name in enumerate("abcdef")],
    "perfect": [MadeStudy(f"{i}", [[0.1 + 0.8 * (i % 2)]], i % 2) for i in range(12)],
    "never positive": [MadeStudy(f"{i}", [[0.1]], i % 2) for i in range(12)],
    "empty masks": [
        MadeStudy("a", [[mask((0, 0), (0, 0))]], 1),
        MadeStudy("b", [[mask((0, 30), (10, 0))]], 0),
        MadeStudy("c", [[mask((5, 0), (0, 0))]], 0),
    ],
    "one mask": [MadeStudy("a", [[mask((5, 30), (10, 20))]], 1), MadeStudy("b", [[0.1]], 0)],
}

READERS: dict[str, dict[str, list[Any]]] = {
    "no readers": {},
    "one reader": {"anna": [1, 0, 1]},
    "two alike": {"anna": [1, 0], "berta": [1, 0]},
    "constant": {"anna": [0] * 12, "berta": [0] * 12, "carla": [0] * 12},
    "all missing": {"anna": [""] * 12, "berta": [None] * 12},
    "three": {"anna": [1, 0, 1, 0], "berta": [0, 1, 1, ""], "carla": [1, 1, 0, None]},
}


PAIRS = [
    *[(cohort, readers) for cohort in COHORTS for readers in ("no readers", "three")],
    *[(cohort, readers) for cohort in ("perfect", "one study") for readers in READERS],
]


@pytest.mark.parametrize(("cohort", "readers"), list(dict.fromkeys(PAIRS)))
def test_degenerate(cohort: str, readers: str, made: MadeOutput, evaluate: Callable[..., EvaluationSummary]) -> None:
    studies = COHORTS[cohort]
    made.write_run(studies)
    reads = [
        {
            "study_id": study.study_id,
            "reader": reader,
            "status": {None: "indeterminate", "": "not_read"}.get(call, "read"),
            "call": "" if call in (None, "") else call,
        }
        for reader, calls in READERS[readers].items()
        for study, call in zip(studies, calls, strict=False)
    ]
    config = {"readers": made.table("readers", reads)} if reads else {}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        evaluate(made, **config)
    for table in TABLES:
        for row in made.metrics(table):
            for name, value in row.items():
                assert not isinstance(value, float) or math.isfinite(value), (table, name, row)
            assert row.get("null_reason") != UNDEFINED, row
            if table == "estimates":
                assert row["null_reason"] or row["ci_low"] is not None, row
            if table == "comparisons":
                assert row["null_reason"] or row["p"] is not None, row


def test_what_is_left_out_is_said(made: MadeOutput, evaluate: Callable[..., EvaluationSummary]) -> None:
    made.write_run([MadeStudy("a", [[0.9]]), MadeStudy("b", [[0.1]])])
    summary = evaluate(made)
    said = [row["note"] for row in made.metrics("flow") if row["name"] == "left_out"]
    assert list(summary.notes) == said
    for subject in ("reference", "readers", "covariates", "masks"):
        assert any(subject in note for note in said), subject


def test_a_tie_is_chd_at_a_threshold_and_normal_at_the_originals_arg_max(
    made: MadeOutput, evaluate: Callable[..., EvaluationSummary]
) -> None:
    made.write_run(COHORTS["constant scores"])
    evaluate(made)
    estimates = [row for row in made.metrics("estimates") if row["unit"] == "image"]
    recall = {row["class"]: row["value"] for row in estimates if row["endpoint"] == "class_recall"}
    assert recall == {"chd": 0.0, "normal": 1.0}  # the arg-max of numpy and Keras takes the first of two equal values
    assert {row["value"] for row in estimates if row["endpoint"] == "sensitivity"} == {1.0}
