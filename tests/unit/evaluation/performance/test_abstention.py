"""Abstention curves: errors among the studies that are kept when the most uncertain ones are left out."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diagchd_batch.config.job_file import EvaluationConfig, OperatingPoint
from diagchd_batch.evaluation.cohort.evaluate import evaluate_run
from diagchd_batch.exports.shareable import SHARED_TABLES, export_shareable
from diagchd_batch.report import write_report
from diagchd_batch.results.output import open_output
from diagchd_batch.results.run_record import read_run_record
from diagchd_batch.storage import open_store
from tests.support.evaluated_runs import FAILED, RUN_ID, MadeOutput, MadeStudy


def _studies(n: int = 80, *, ensemble: bool) -> list[MadeStudy]:
    """Calls are wrong where the members disagree; the view score says nothing of that."""
    generator = np.random.default_rng(5)
    studies = []
    for number in range(n):
        label, wrong = number % 2, number % 8 in (0, 5)
        score = 0.5 + (0.1 + 0.35 * generator.random()) * (1 if label != wrong else -1)
        frame: dict[str, Any] = {"chd_probability": score}
        if ensemble:
            sd = 0.2 * generator.random() + (0.15 if wrong else 0)
            frame |= {"chd_probability_sd": sd, "mask_disagreement": generator.random()}
            frame |= {"view_score": generator.random(), "evaluable": True}
        studies.append(MadeStudy(f"study {number}", [[frame]], label))
    return [*studies, MadeStudy("failed", [[FAILED]], 1), MadeStudy("without label", [[0.3]])]


def _evaluated(place: Path, studies: list[MadeStudy], **config: Any) -> MadeOutput:
    made = MadeOutput(place)
    made.write_run(studies)
    settings = EvaluationConfig(**{"resamples": 100, **config})
    evaluate_run(made.output, made.private, RUN_ID, settings, made.tokens)
    return made


def _errors(made: MadeOutput) -> dict[str, list[tuple[int, float]]]:
    curves: dict[str, list[tuple[int, float]]] = {}
    for row in made.metrics("abstention"):
        curves.setdefault(row["uncertainty"], []).append((row["n_kept"], row["error_rate"]))
    return curves


def test_a_measure_that_knows_of_the_errors_lies_between_the_random_order_and_the_oracle(tmp_path: Path) -> None:
    made = _evaluated(tmp_path, _studies(ensemble=True))
    curves = _errors(made)
    assert set(curves) == {"score_margin", "chd_probability_sd", "mask_disagreement", "view_score", "random", "oracle"}
    for points in curves.values():
        assert points[-1][0] == 80 and points[-1][1] == pytest.approx(0.25)
    assert dict(curves["random"]) == pytest.approx(dict.fromkeys(range(1, 81), 0.25))
    assert dict(curves["oracle"])[60] == 0 and dict(curves["oracle"])[80] == pytest.approx(0.25)
    sd = dict(curves["chd_probability_sd"])
    assert sd[60] < 0.1 and all(dict(curves["oracle"])[n] <= error + 1e-9 for n, error in sd.items())
    rows = {row["level"]: row for row in made.metrics("estimates") if row["endpoint"] == "abstention_area"}
    areas = {name: row["value"] for name, row in rows.items()}
    assert areas["oracle"] < areas["chd_probability_sd"] < areas["random"] == pytest.approx(0.25)
    assert areas["chd_probability_sd"] < areas["view_score"]
    assert rows["chd_probability_sd"]["ci_low"] < areas["chd_probability_sd"] < rows["chd_probability_sd"]["ci_high"]
    assert {row["n_units"] for row in rows.values()} == {80}
    page = made.output.read(write_report(made.output, RUN_ID)).decode()
    assert "Errors among the studies that are kept" in page and "disagreement of the members" in page


def test_sensitivity_and_specificity_are_those_of_the_headline_at_all_studies(tmp_path: Path) -> None:
    point = OperatingPoint(name="strict", threshold=0.7, chosen_on="another cohort")
    made = _evaluated(tmp_path, _studies(ensemble=False), operating_points=[point])
    rows = made.metrics("abstention")
    assert {row["uncertainty"] for row in rows} == {"score_margin", "score_entropy", "random", "oracle"}
    assert {(row["operating_point"], row["threshold"]) for row in rows} == {("strict", 0.7)}
    whole = {row["endpoint"]: row["value"] for row in made.metrics("estimates") if row["headline"]}
    for row in rows:
        if row["n_kept"] == 80:
            assert row["sensitivity"] == pytest.approx(whole["sensitivity"])
            assert row["specificity"] == pytest.approx(whole["specificity"])
            assert row["error_rate"] == pytest.approx(1 - whole["accuracy"])


def test_frames_of_a_clip_make_the_uncertainty_of_one_image(tmp_path: Path) -> None:
    def frame(sd: float) -> dict[str, Any]:
        return {"chd_probability": 0.9, "chd_probability_sd": sd}

    sure = MadeStudy("a still and a clip", [[frame(0.3)], [frame(0.0)] * 9], 0)  # 0.15, and 0.03 over frames
    middle = MadeStudy("a still", [[frame(0.1)]], 1)
    made = _evaluated(tmp_path, [sure, middle])
    assert _errors(made)["chd_probability_sd"] == [(1, 0.0), (2, 0.5)]


def test_a_run_without_labels_has_no_curve_and_nothing_of_the_curves_is_shared(tmp_path: Path) -> None:
    unlabelled = _evaluated(tmp_path / "unlabelled", [MadeStudy("a", [[0.3]]), MadeStudy("b", [[0.8]])])
    assert unlabelled.metrics("abstention") == []
    made = _evaluated(tmp_path / "made", _studies(ensemble=True))
    record = read_run_record(made.output, RUN_ID)
    assert record is not None and "abstention" not in SHARED_TABLES
    export_shareable(open_output(made.output.uri), record, open_store(str(tmp_path / "shared")), 2)
    for path in (tmp_path / "shared").glob("*.csv"):
        with path.open(newline="") as file:
            assert not any("abstention" in cell or "oracle" in cell for row in csv.reader(file) for cell in row), path
