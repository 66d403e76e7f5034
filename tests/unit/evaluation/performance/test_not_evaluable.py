"""Studies that a view check calls not evaluable are indeterminate, or excluded; both stand in the flow."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from diagchd_batch.config.job_file import EvaluationConfig
from diagchd_batch.evaluation.cohort.evaluate import evaluate_run
from tests.support.evaluated_runs import RUN_ID, MadeOutput, MadeStudy


def frame(probability: float, *, evaluable: bool | None) -> dict[str, Any]:
    score = None if evaluable is None else 0.9 if evaluable else 0.1
    return {"chd_probability": probability, "evaluable": evaluable, "view_score": score}


STUDIES = [
    MadeStudy("true positive", [[frame(0.9, evaluable=True)]], 1),
    MadeStudy("true negative", [[frame(0.1, evaluable=True)]], 0),
    MadeStudy("one of two images", [[frame(0.2, evaluable=False)], [frame(0.3, evaluable=True)]], 0),
    MadeStudy("wrong view, diseased", [[frame(0.99, evaluable=False)]], 1),
    MadeStudy("wrong view, healthy", [[frame(0.99, evaluable=False)]], 0),
    MadeStudy("another diseased one", [[frame(0.8, evaluable=True)]], 1),
]

Evaluated = Callable[..., MadeOutput]


@pytest.fixture
def evaluated(tmp_path: Path) -> Evaluated:
    def evaluate(studies: list[MadeStudy] = STUDIES, **settings: Any) -> MadeOutput:
        made = MadeOutput(tmp_path)
        made.write_run(studies)
        config = EvaluationConfig(resamples=100, **settings)
        evaluate_run(made.output, made.private, RUN_ID, config, made.tokens)
        return made

    return evaluate


def flow(made: MadeOutput) -> dict[tuple[str, str | None, str | None], int]:
    rows = [row for row in made.metrics("flow") if row["note"] is None]
    return {(row["name"], row["reason"], row["subject_kind"]): row["n_studies"] for row in rows}


def estimate(made: MadeOutput, endpoint: str, analysis_set: str, unit: str = "study") -> dict[str, Any]:
    (row,) = [
        row
        for row in made.metrics("estimates")
        if (row["endpoint"], row["analysis_set"], row["unit"]) == (endpoint, analysis_set, unit)
        and row["covariate"] is None
    ]
    return row


def test_they_are_indeterminate_and_counted_once_as_wrong_and_once_as_right(evaluated: Evaluated) -> None:
    made = evaluated()
    assert estimate(made, "sensitivity", "determinate")["denominator"] == 2
    assert estimate(made, "sensitivity", "indeterminate_wrong")["numerator"] == 2
    assert estimate(made, "sensitivity", "indeterminate_right")["numerator"] == 3
    assert estimate(made, "specificity", "indeterminate_wrong")["denominator"] == 3
    assert estimate(made, "specificity", "determinate")["excluded_reasons"] == "not_evaluable=2"
    assert estimate(made, "indeterminate", "determinate")["value"] == 2
    assert estimate(made, "roc_auc", "determinate")["n_units"] == 4
    counted = flow(made)
    assert counted["not_evaluable", None, None] == 2
    assert counted["not_evaluable", None, "model"] == 2
    assert counted["analysed", None, None] == 4
    assert counted["planned", None, None] == 6


def test_the_job_file_can_exclude_them(evaluated: Evaluated) -> None:
    made = evaluated(exclude="not_evaluable")
    counted = flow(made)
    assert counted["excluded", "not_evaluable", None] == 2
    assert counted["excluded", None, None] == 2
    assert not any(name == "not_evaluable" for name, _, _ in counted)
    assert estimate(made, "indeterminate", "determinate")["value"] == 0
    assert estimate(made, "sensitivity", "determinate")["denominator"] == 2


def test_a_study_with_one_evaluable_image_is_analysed_and_keeps_its_score(evaluated: Evaluated) -> None:
    made = evaluated()
    rows = {row["study_id"]: row for row in made.metrics("study_results")}
    mixed, wrong = (rows[made.tokens.study(name)] for name in ("one of two images", "wrong view, diseased"))
    assert (mixed["status"], mixed["call"], mixed["n_frames_evaluable"]) == ("analysed", "negative", 1)
    assert mixed["score"] == pytest.approx(0.25)
    assert (wrong["status"], wrong["call"], wrong["n_frames_evaluable"]) == ("not_evaluable", None, 0)
    assert wrong["score"] == pytest.approx(0.99)


def test_images_that_are_not_evaluable_are_left_out_of_figures_by_image(evaluated: Evaluated) -> None:
    row = estimate(evaluated(), "sensitivity", "determinate", unit="image")
    assert row["excluded_reasons"] == "not_evaluable=3"


def test_without_a_view_check_every_study_is_evaluable(evaluated: Evaluated) -> None:
    studies = [MadeStudy(f"{n}", [[frame(0.2 + 0.6 * (n % 2), evaluable=None)]], n % 2) for n in range(6)]
    made = evaluated(studies)
    assert flow(made)["analysed", None, None] == 6
    assert not any(name == "not_evaluable" for name, _, _ in flow(made))
