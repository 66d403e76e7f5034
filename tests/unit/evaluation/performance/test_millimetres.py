"""Distances, areas and lengths in millimetres: over calibrated images alone, with the others counted."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from diagchd_batch import output_layout
from diagchd_batch.config.job_file import EvaluationConfig
from diagchd_batch.evaluation.cohort.evaluate import evaluate_run
from diagchd_batch.report.document import render
from diagchd_batch.report.report_data import read_report_data
from diagchd_batch.results.columns import SURFACE_CLASSES
from tests.support.evaluated_runs import FAILED, RUN_ID, MadeOutput, MadeStudy
from tests.support.reference_frames import overlap


def calibrated(mm: float, *, septum: bool = True) -> dict[str, Any]:
    """Return a scored frame with measurements; without a septum it has neither its length nor its distances."""
    frame: dict[str, Any] = overlap(0.5) | {
        "spacing_status": "ok",
        "heart_area_mm2": 10 * mm,
        "septum_area_mm2": mm if septum else 0.0,
        "whole_heart_area_mm2": 11 * mm if septum else 10 * mm,
        "septum_length_mm": 2 * mm if septum else None,
    }
    for name in SURFACE_CLASSES:
        value = None if name == "septum" and not septum else mm
        frame |= {f"hd95_mm_{name}": value, f"assd_mm_{name}": value}
    return frame


def evaluated(root: Path, studies: list[MadeStudy]) -> tuple[list[dict[str, Any]], str]:
    """Return the rows of `estimates` by the model, and the HTML of the report."""
    made = MadeOutput(root)
    made.write_run(studies)
    evaluate_run(made.output, made.private, RUN_ID, EvaluationConfig(resamples=100), made.tokens)
    path = Path(made.output.uri) / output_layout.metrics_file(RUN_ID, "estimates")
    rows = pq.read_table(path, partitioning=None).to_pylist()
    return rows, render(read_report_data(made.output, RUN_ID))


def pick(rows: list[dict[str, Any]], **wanted: Any) -> dict[str, Any]:
    (found,) = [row for row in rows if all(row[name] == value for name, value in wanted.items())]
    return found


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[dict[str, Any]], str]:
    studies = [MadeStudy(f"s{n}", [[calibrated(float(n))]]) for n in (1, 2, 3)]
    studies += [MadeStudy("s4", [[calibrated(4.0, septum=False)]])]
    studies += [MadeStudy(f"x{n}", [[overlap(0.5) | {"spacing_status": "no_regions"}]]) for n in range(2)]
    studies += [MadeStudy("old", [[overlap(0.5)]]), MadeStudy("bad", [[FAILED]])]
    return evaluated(tmp_path_factory.mktemp("mixed"), studies)


def test_distances_in_mm_are_those_of_calibrated_images(mixed: tuple[list[dict[str, Any]], str]) -> None:
    rows, _ = mixed
    wanted = {"analysis_set": "segmentation", "unit": "image"}
    heart = pick(rows, endpoint="hd95_mm_mean", **wanted, **{"class": "heart"})
    assert (heart["value"], heart["n_units"], heart["n_excluded"]) == (2.5, 4, 4)
    assert heart["excluded_reasons"] == "failed=1; not_calibrated=3"
    septum = pick(rows, endpoint="assd_mm_mean", **wanted, **{"class": "septum"})
    assert (septum["value"], septum["n_units"]) == (2.0, 3)
    assert septum["excluded_reasons"] == "failed=1; not_calibrated=3; mask_empty_or_outside_region=1"
    in_pixels = pick(rows, endpoint="hd95_source_px_mean", **wanted, **{"class": "heart"})
    assert (in_pixels["value"], in_pixels["n_units"]) == (3.0, 7)


def test_measurements_have_quartiles_and_the_number_of_calibrated_images(
    mixed: tuple[list[dict[str, Any]], str],
) -> None:
    rows, _ = mixed
    found = [row for row in rows if row["analysis_set"] == "measurements"]
    quartiles = {row["endpoint"]: row["value"] for row in found if row["class"] == "heart"}
    assert quartiles == {"area_mm2_q1": 17.5, "area_mm2_median": 25.0, "area_mm2_q3": 32.5}
    length = pick(found, endpoint="length_mm_median")
    assert (length["class"], length["value"], length["n_units"], length["n_subjects"]) == ("septum", 4.0, 3, 3)
    assert length["excluded_reasons"] == "not_calibrated=4; class_not_predicted=1"
    assert all(row["definition"] for row in found)


def test_the_report_has_them_apart_from_the_pixels(mixed: tuple[list[dict[str, Any]], str]) -> None:
    _, html = mixed
    assert "HD95, mm" in html and "calibrated images" in html and "Measurements" in html


def test_a_clip_counts_as_one_image(tmp_path: Path) -> None:
    clip = [calibrated(mm) for mm in (1.0, 2.0, 6.0)]
    rows, _ = evaluated(tmp_path, [MadeStudy("clip", [clip]), MadeStudy("still", [[calibrated(5.0)]])])
    median = pick(rows, endpoint="area_mm2_median", **{"class": "septum"})
    assert (median["value"], median["n_units"]) == (4.0, 2)


def test_without_a_calibrated_image_there_are_no_such_rows(tmp_path: Path) -> None:
    rows, html = evaluated(tmp_path, [MadeStudy(f"s{n}", [[overlap(0.5)]]) for n in range(3)])
    assert not [row for row in rows if "_mm" in row["endpoint"]]
    assert "HD95, mm" not in html and "Measurements" not in html
