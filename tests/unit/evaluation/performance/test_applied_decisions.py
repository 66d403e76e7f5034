"""The evaluation applies the operating points and the calibration of the model's package."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diagchd_batch.config.job_file import EvaluationConfig, OperatingPoint
from diagchd_batch.evaluation.applied_decisions import APPROXIMATE
from diagchd_batch.evaluation.cohort.evaluate import EvaluationSummary, evaluate_run
from diagchd_batch.model.packages.decision_files import PackageDecisions
from diagchd_batch.report import write_report
from tests.support.evaluated_runs import RUN_ID, MadeOutput, MadeStudy

POINTS = [
    {"name": "Youden", "rule": "largest sensitivity + specificity", "threshold": 0.7, "sensitivity": None}
    | {"specificity": None},
    {"name": "sensitivity 0.95", "rule": "sensitivity >= 0.95", "threshold": 0.3, "sensitivity": 0.95}
    | {"specificity": 0.6},
]
CALIBRATIONS: dict[str, dict[str, Any]] = {
    "temperature": {"slope": 0.25},
    "platt": {"slope": 0.3, "intercept": -0.2},
    "isotonic": {"scores": [0.1, 0.5, 0.9], "values": [0.3, 0.3, 0.7]},
    "none": {},
}


def made_decisions(method: str = "temperature", study_score: str = "mean") -> PackageDecisions:
    points = {"chosen_on": "out-of-fold predictions", "study_score": study_score, "note": "…", "points": POINTS}
    calibration = {"method": method, "study_score": study_score, "note": "…", "measured": [], **CALIBRATIONS[method]}
    return PackageDecisions.model_validate(
        {
            "operating_points": points,
            "operating_points_sha256": "a" * 64,
            "calibration": calibration,
            "calibration_sha256": "b" * 64,
        }
    )


def _studies(n: int = 60) -> list[MadeStudy]:
    """Scores of an overconfident model: near 0 and 1, and often wrong."""
    generator = np.random.default_rng(1)
    studies = []
    for number in range(n):
        label = number % 2
        score = float(1 / (1 + np.exp(-4 * (label - 0.5 + generator.normal(0, 1)))))
        studies.append(MadeStudy(f"study {number}", [[score]], label))
    return studies


def _evaluated(place: Path, decisions: PackageDecisions | None, **config: Any) -> tuple[MadeOutput, EvaluationSummary]:
    made = MadeOutput(place)
    made.write_run(_studies(), decisions=decisions)
    settings = EvaluationConfig(**{"resamples": 100, **config})
    return made, evaluate_run(made.output, made.private, RUN_ID, settings, made.tokens)


def _whole(made: MadeOutput) -> dict[tuple[str, str | None], dict[str, Any]]:
    rows = [row for row in made.metrics("estimates") if row["unit"] == "study" and row["covariate"] in (None, "bins")]
    return {(row["endpoint"], row["operating_point"]): row for row in rows if row["analysis_set"] == "determinate"}


@pytest.mark.parametrize("method", ["temperature", "platt", "isotonic"])
def test_points_and_calibration_of_the_package_stand_beside_the_figures_that_a_run_has_without_them(
    tmp_path: Path, method: str
) -> None:
    plain, _ = _evaluated(tmp_path / "plain", None)
    made, summary = _evaluated(tmp_path / "with", made_decisions(method))
    before, after = _whole(plain), _whole(made)
    # Nothing that a run shows without a package's decisions changes: neither a call nor the ranking.
    assert {key: row for key, row in after.items() if key in before} == before
    added = {point for _, point in after} - {point for _, point in before}
    assert added == {"package: largest sensitivity + specificity", "package: sensitivity >= 0.95"}
    assert after["sensitivity", "package: sensitivity >= 0.95"]["threshold"] == 0.3
    assert after["sensitivity", "package: sensitivity >= 0.95"]["value"] > after["sensitivity", "default"]["value"]
    assert not after["sensitivity", "package: sensitivity >= 0.95"]["optimistic"]
    assert after["brier_calibrated", None]["value"] < after["brier", None]["value"]
    assert after["brier_calibrated", None]["ci_low"] is not None
    error = "expected_calibration_error"
    assert after[f"{error}_calibrated", None]["value"] < after[error, None]["value"]
    if method == "temperature":
        slopes = [after[name, None]["value"] for name in ("calibration_slope", "calibration_slope_calibrated")]
        assert slopes[1] == pytest.approx(slopes[0] / 0.25, rel=1e-3)
    calibration = made.metrics("calibration")
    for calibrated in (False, True):
        assert sum(row["n"] for row in calibration if row["calibrated"] is calibrated) == 60
    assert sum(APPROXIMATE in note for note in summary.notes) == 2
    page = made.output.read(write_report(made.output, RUN_ID)).decode()
    assert "package: sensitivity &gt;= 0.95 (≥ 0.3)" in page
    assert "With the package's calibration" in page.replace("&#39;", "'") and f"({method})" in page


def test_decisions_on_another_study_score_or_that_the_job_declines_are_left_out(tmp_path: Path) -> None:
    other, summary = _evaluated(tmp_path / "other", made_decisions(study_score="max"))
    declined, quiet = _evaluated(tmp_path / "declined", made_decisions(), package_decisions=False)
    for made in (other, declined):
        assert not any("package" in (point or "") or "calibrated" in name for name, point in _whole(made))
        assert not any(row["calibrated"] for row in made.metrics("calibration"))
    left_out = [note for note in summary.notes if "left out: study_score was max" in note]
    assert len(left_out) == 2
    assert not any("package" in note for note in quiet.notes)


def test_a_calibration_that_changes_nothing_has_no_rows_and_a_name_that_is_taken_gets_a_number(tmp_path: Path) -> None:
    taken = OperatingPoint(name="package: sensitivity >= 0.95", threshold=0.9, chosen_on="another study")
    made, summary = _evaluated(tmp_path, made_decisions("none"), operating_points=[taken])
    points = {point for _, point in _whole(made)} - {None}
    assert points == {taken.name, f"{taken.name} (2)", "package: largest sensitivity + specificity"}
    assert not any(name.endswith("_calibrated") for name, _ in _whole(made))
    assert any("no method did better" in note for note in summary.notes)
