"""The key figures that are shown at the end of a run."""

from pathlib import Path
from typing import Any

from diagchd_batch.config.job_file import EvaluationConfig, OperatingPoint
from diagchd_batch.evaluation.cohort.evaluate import evaluate_run
from diagchd_batch.report.key_figures import read_key_figures
from tests.support.evaluated_runs import RUN_ID, MadeOutput, MadeStudy
from tests.support.reference_frames import overlap


def _figures(made: MadeOutput, studies: list[MadeStudy], **config: Any) -> dict[str, str]:
    made.write_run(studies)
    evaluate_run(made.output, made.private, RUN_ID, EvaluationConfig(resamples=100, **config), made.tokens)
    return {figure.name: str(figure) for figure in read_key_figures(made.output, RUN_ID)}


def test_are_of_studies_at_the_headline_threshold_and_of_images_for_masks(tmp_path: Path) -> None:
    scores = [0.1, 0.2, 0.3, 0.4, 0.6, 0.7, 0.8, 0.9]
    studies = [
        MadeStudy(f"s{n}", [[overlap(0.5, p)], [overlap(0.5, p)] * 3], int(n in (3, 5, 6, 7)))
        for n, p in enumerate(scores)
    ]
    points = [OperatingPoint(name=name, threshold=t, chosen_on="card") for name, t in (("first", 0.5), ("all", 0.0))]
    figures = _figures(MadeOutput(tmp_path), studies, operating_points=points)
    assert list(figures) == ["AUC", "sensitivity", "specificity", "mean IoU"]
    assert figures["AUC"].startswith("0.938 (")  # 15 of the 16 pairs
    assert figures["AUC"].endswith("), 8 studies")
    assert figures["sensitivity"].startswith("0.750 (")
    assert figures["sensitivity"].endswith("), 3 of 4 diseased studies")  # The denominator is not all 8 studies.
    assert figures["specificity"].startswith("0.750 (")
    assert figures["specificity"].endswith("), 3 of 4 healthy studies")
    assert figures["mean IoU"] == "0.333, 16 images"  # A clip is one image. Each Dice is 1/2, so there is no interval.


def test_what_a_run_has_no_value_of_is_left_out(tmp_path: Path) -> None:
    assert _figures(MadeOutput(tmp_path / "a"), [MadeStudy("s", [[0.4]])]) == {}
    one_class = _figures(MadeOutput(tmp_path / "b"), [MadeStudy("s", [[0.4]], label=0)])
    assert list(one_class) == ["specificity"]
    assert one_class["specificity"].endswith("1 of 1 healthy study")


def test_a_run_that_was_not_evaluated_has_none(tmp_path: Path) -> None:
    made = MadeOutput(tmp_path)
    made.write_run([MadeStudy("s", [[0.4]])])
    assert read_key_figures(made.output, RUN_ID) == []
