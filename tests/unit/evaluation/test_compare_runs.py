"""Two runs over the same studies, with every expected number counted by hand."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from diagchd_batch import output_layout
from diagchd_batch.config.job_file import EvaluationConfig
from diagchd_batch.evaluation.comparison.compare import ComparisonSummary, compare_runs
from diagchd_batch.results.columns.comparison_tables import TABLES
from diagchd_batch.results.mask_codec import encode_mask
from tests.support.evaluated_runs import FAILED, MadeOutput, MadeStudy

FIRST, SECOND = "aaaaaaaa-4e5f6071-1", "bbbbbbbb-4e5f6071-1"

# Study: label, score of the first and of the second run (None is failed, "" is not in this run).
COHORT = {
    "a": (1, 0.4, 0.6),  # the call changes from wrong to right
    "b": (1, 0.9, 0.8),
    "c": (0, 0.3, 0.7),  # the call changes from right to wrong
    "d": (0, 0.2, 0.1),
    "e": (1, 0.55, 0.45),  # the call changes from right to wrong
    "f": (0, None, 0.2),
    "g": (1, 0.8, None),
    "h": (0, 0.3, ""),
    "i": (1, "", 0.9),
    "j": (None, 0.45, 0.55),  # the call changes, and there is no reference label
}


def square(size: int, septum: int = 0, shape: tuple[int, int] = (24, 32)) -> np.ndarray:
    mask = np.zeros(shape, np.uint8)
    mask[:size, :size] = 2
    mask[:septum, :septum] = 1
    return mask


def run_of(place: int, mask: np.ndarray | None) -> list[MadeStudy]:
    studies = []
    for name, (label, *scores) in COHORT.items():
        score = scores[place]
        if score == "":
            continue
        frame = {"chd_probability": score} | ({"mask_png": encode_mask(mask)} if mask is not None else {})
        studies.append(MadeStudy(name, [[FAILED if score is None else frame]], label))
    return studies


class ComparedRuns(MadeOutput):
    """An output with the summary of its comparison."""

    summary: ComparisonSummary


def write(root: Path, masks: Sequence[np.ndarray | None] = (None, None)) -> ComparedRuns:
    made = ComparedRuns(root)
    for place, run_id in enumerate((FIRST, SECOND)):
        made.write_run(run_of(place, masks[place]), run_id)
    return made


def compare(made: MadeOutput, **config: Any) -> ComparisonSummary:
    settings = EvaluationConfig(**{"resamples": 200, **config})
    return compare_runs(made.output, made.private, FIRST, SECOND, settings, made.tokens)


def table(made: MadeOutput, name: str) -> list[dict[str, Any]]:
    path = Path(made.output.uri) / output_layout.comparison_file(SECOND, FIRST, name)
    return pq.read_table(path, partitioning=None).to_pylist()


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> ComparedRuns:
    made = write(tmp_path_factory.mktemp("compared"))
    made.summary = compare(made)
    return made


def pick(rows: Iterable[dict[str, Any]], **wanted: Any) -> dict[str, Any]:
    found = [row for row in rows if all(row[name] == value for name, value in wanted.items())]
    assert len(found) == 1, f"{len(found)} rows with {wanted}"
    return found[0]


def test_flips_are_named_by_token(compared: ComparedRuns) -> None:
    flips = {row["study_id"]: row for row in table(compared, "comparison_flips")}
    assert set(flips) == {compared.tokens.study(name) for name in "acej"}
    a, c, j = (flips[compared.tokens.study(name)] for name in "acj")
    assert (a["first_call"], a["second_call"], a["second_is_right"]) == ("negative", "positive", True)
    assert c["second_is_right"] is False
    assert j["second_is_right"] is None
    assert compared.summary.n_flips == 4
    assert compared.summary.n_studies == 6


def test_paired_tests_are_second_minus_first(compared: ComparedRuns) -> None:
    row = pick(table(compared, "comparison_tests"), endpoint="sensitivity", analysis_set="determinate")
    assert (row["value"], row["comparator_value"], row["difference"]) == (
        pytest.approx(2 / 3),
        pytest.approx(2 / 3),
        pytest.approx(0),
    )
    assert (row["subject"], row["comparator"], row["test"], row["p"]) == (SECOND, FIRST, "mcnemar_exact", 1.0)
    assert row["n_units"] == 5  # a to e; the second run has nine planned studies, and h is only in the first run
    assert row["n_units"] + row["n_excluded"] == 10
    assert "not_in_second_run=1" in row["excluded_reasons"]


def test_failed_studies_are_counted_both_ways(compared: ComparedRuns) -> None:
    rows = table(compared, "comparison_tests")
    wrong = pick(rows, endpoint="sensitivity", analysis_set="indeterminate_wrong")
    right = pick(rows, endpoint="sensitivity", analysis_set="indeterminate_right")
    assert wrong["value"] == pytest.approx(2 / 4)  # g failed in the second run
    assert right["value"] == pytest.approx(3 / 4)


def test_agreement_needs_no_reference(compared: ComparedRuns) -> None:
    row = pick(table(compared, "comparison_tests"), endpoint="percent_agreement")
    assert (row["numerator"], row["denominator"]) == (2, 6)


def test_drift_is_the_mean_difference_of_scores(compared: ComparedRuns) -> None:
    row = pick(table(compared, "comparison_drift"), covariate=None)
    differences = [0.2, -0.1, 0.4, -0.1, -0.1, 0.1]
    assert row["mean_difference"] == pytest.approx(np.mean(differences), abs=1e-7)
    assert row["sd_difference"] == pytest.approx(np.std(differences, ddof=1), abs=1e-7)
    assert row["largest_difference"] == pytest.approx(0.4, abs=1e-7)
    assert row["n_flips"] == 4


def test_drift_by_covariate(tmp_path: Path) -> None:
    made = write(tmp_path)
    sites = [{"study_id": name, "site": f"site-{place % 2}"} for place, name in enumerate(COHORT)]
    compare(made, covariates=made.table("covariates", sites), disclose=True)
    rows = {row["level"]: row for row in table(made, "comparison_drift") if row["covariate"] == "site"}
    assert rows["site-0"]["n_units"] == 3  # a, c, e
    assert rows["site-0"]["mean_difference"] == pytest.approx((0.2 + 0.4 - 0.1) / 3, abs=1e-7)


def test_flow(compared: ComparedRuns) -> None:
    flow = {row["name"]: row["n_studies"] for row in table(compared, "comparison_flow")}
    assert flow == {
        "planned in the second run": 9,
        "not scored by the first run": 1,
        "failed in the first run": 1,
        "failed in the second run": 1,
        "only in the first run": 1,
        "scored by both": 6,
        "left_out": None,
    }


def test_masks_are_compared_frame_by_frame(tmp_path: Path) -> None:
    made = write(tmp_path, (square(10, 4), square(8, 4)))
    compare(made)
    rows = table(made, "comparison_masks")
    pairs = 6  # studies scored by both, one frame each
    heart = pick(rows, endpoint="mask_dice_mean", **{"class": "heart"})
    assert heart["n_units"] == pairs
    assert heart["value"] == pytest.approx(2 * 48 / (84 + 48))  # 10² − 4² and 8² − 4² pixels, the smaller inside
    assert pick(rows, endpoint="mask_dice_mean", **{"class": "septum"})["value"] == 1
    whole = pick(rows, endpoint="mask_dice_pooled", **{"class": "whole_heart"})
    assert whole["value"] == pytest.approx(2 * 64 / (100 + 64))
    assert pick(rows, endpoint="pixel_agreement")["value"] == pytest.approx(1 - 36 / 768)
    cases = table(made, "comparison_mask_cases")
    assert [case["changed_px"] for case in cases] == [36] * pairs
    assert {case["study_id"] for case in cases} == {made.tokens.study(name) for name in "abcdej"}


def test_masks_on_another_grid_are_brought_to_the_finer_one(tmp_path: Path) -> None:
    made = write(tmp_path, (square(6, 2, (12, 16)), square(12, 4, (24, 32))))
    compare(made)
    rows = table(made, "comparison_masks")
    assert pick(rows, endpoint="pixel_agreement")["value"] == 1
    assert pick(rows, endpoint="mask_dice_minimum", **{"class": "septum"})["value"] == 1


def test_identical_runs_differ_in_nothing(tmp_path: Path) -> None:
    made = MadeOutput(tmp_path)
    for run_id in (FIRST, SECOND):
        made.write_run(run_of(0, square(9, 3)), run_id)
    summary = compare(made)
    assert summary.n_flips == 0
    assert table(made, "comparison_flips") == []
    tests = [row for row in table(made, "comparison_tests") if row["analysis_set"] == "determinate"]
    assert {row["null_reason"] for row in tests} == {"identical_calls"}
    assert all(row["difference"] == 0 for row in tests)


def test_the_same_runs_give_the_same_bytes(tmp_path: Path) -> None:
    made = write(tmp_path, (square(10, 4), square(8, 4)))
    paths = [Path(made.output.uri) / output_layout.comparison_file(SECOND, FIRST, name) for name in TABLES]
    compare(made)
    first = [path.read_bytes() for path in paths]
    compare(made)
    assert [path.read_bytes() for path in paths] == first


def region_columns(top: int, left: int, height: int, width: int) -> dict[str, int]:
    return {"region_top": top, "region_left": left, "region_height": height, "region_width": width}


def test_masks_of_different_regions_are_compared_on_the_frame(tmp_path: Path) -> None:
    """The first run scored frames of 300 x 400 pixels whole, the second one their upper left quarter."""
    made = ComparedRuns(tmp_path)
    heart, quarter = np.zeros((24, 32), np.uint8), np.zeros((24, 32), np.uint8)
    heart[:12, :8] = 2
    quarter[:, :16] = 2  # the same half of the quarter, twice as large on the grid
    frame = {"chd_probability": 0.4, "source_height": 300, "source_width": 400}
    whole = {**frame, "mask_png": encode_mask(heart)}
    cropped = {**frame, "mask_png": encode_mask(quarter), **region_columns(0, 0, 150, 200)}
    made.write_run([MadeStudy("a", [[whole]])], FIRST, fields={"precision": "float32"})
    made.write_run([MadeStudy("a", [[cropped]])], SECOND, fields={"precision": "float32", "region": "found"})
    compare(made)
    rows = table(made, "comparison_masks")
    assert pick(rows, endpoint="mask_dice_mean", **{"class": "heart"})["value"] == 1
    assert pick(rows, endpoint="pixel_agreement")["value"] == 1
    notes = [row["note"] for row in table(made, "comparison_flow") if row["name"] == "difference"]
    assert notes == ["input.region: whole in the first run, found in the second"]
