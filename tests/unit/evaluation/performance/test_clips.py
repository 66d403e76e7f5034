"""Clips: the frames of a file make one image's score, and they are never independent of each other."""

import csv
import itertools
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from diagchd_batch import output_layout
from diagchd_batch.config.job_file import EvaluationConfig
from diagchd_batch.evaluation.cohort.evaluate import EvaluationSummary, evaluate_run
from diagchd_batch.evaluation.comparison.compare import compare_runs
from diagchd_batch.evaluation.database import CohortDatabase
from diagchd_batch.evaluation.study_score import ScoreDefinition
from diagchd_batch.results.columns.comparison_tables import TABLES as COMPARISON_TABLES
from diagchd_batch.results.columns.evaluation_tables import SCORE_DEFINITION, TABLES
from diagchd_batch.results.mask_codec import encode_mask
from tests.support.command_line import diagchd_batch
from tests.support.evaluated_runs import FAILED, RUN_ID, MadeOutput, MadeStudy
from tests.unit.evaluation.test_against_references import random_frame

SECOND = "0a1b2c3d-4e5f6071-2"
LOOP = [0.9] * 120
FRAMES = [0.1, 0.8, 0.2, 0.3]

DEFINITION_COLUMNS = {column.name for column in SCORE_DEFINITION}
OF_FRAMES = {
    "n_frames",
    "n_frames_ok",
    "n_frames_failed",
    "n_frames_flagged",
    "n_frames_evaluable",
    "definition",
    "frame",
}
"""Columns that count or number frames, and definitions, which say how clips count."""


def score_of(made: MadeOutput, study: str) -> float:
    (score,) = [row["score"] for row in made.metrics("study_results") if row["study_id"] == made.tokens.study(study)]
    assert isinstance(score, float)
    return score


def test_a_loop_does_not_outvote_stills(made: MadeOutput, evaluate: Callable[..., EvaluationSummary]) -> None:
    """The loop says CHD, three stills do not: (0.9 + 0.1 + 0.2 + 0.3) / 4 = 0.375. By frames it would be 0.88."""
    made.write_run([MadeStudy("a", [LOOP, [0.1], [0.2], [0.3]], 0), MadeStudy("b", [[0.7]], 1)])
    evaluate(made)
    assert score_of(made, "a") == pytest.approx(0.375, abs=1e-7)
    calls = {row["endpoint"]: row["value"] for row in made.metrics("estimates") if row["headline"]}
    assert (calls["tp"], calls["fp"], calls["fn"], calls["tn"]) == (1, 0, 0, 1)


@pytest.mark.parametrize(
    "rule, expected",
    [
        ({"image_score": "mean"}, 0.35),
        ({"image_score": "max"}, 0.8),
        ({"image_score": "median"}, 0.25),
        ({"image_score": "top_k"}, (0.8 + 0.3 + 0.2) / 3),
        ({"image_score": "top_k", "top_k": 1}, 0.8),
        ({"image_score": "top_k", "top_k": 9}, 0.35),  # all four frames
    ],
)
def test_the_image_score_is_what_the_job_says(
    made: MadeOutput, evaluate: Callable[..., EvaluationSummary], rule: dict[str, Any], expected: float
) -> None:
    made.write_run([MadeStudy("a", [FRAMES], 1), MadeStudy("b", [FRAMES, [0.05]], 0), MadeStudy("c", [[0.4]], 0)])
    for study_score, of_both in (("mean", (expected + 0.05) / 2), ("max", expected)):
        evaluate(made, study_score=study_score, **rule)
        assert score_of(made, "a") == pytest.approx(expected, abs=1e-7)
        assert score_of(made, "b") == pytest.approx(of_both, abs=1e-7)
        assert score_of(made, "c") == pytest.approx(float(np.float32(0.4)), abs=1e-12)


def test_failed_frames_do_not_enter_and_a_failed_file_is_no_image(
    made: MadeOutput, evaluate: Callable[..., EvaluationSummary]
) -> None:
    made.write_run([MadeStudy("a", [[0.2, 0.4], [FAILED], [0.9]], 1), MadeStudy("b", [[0.1]], 0)])
    evaluate(made)
    assert score_of(made, "a") == pytest.approx((0.3 + 0.9) / 2, abs=1e-7)
    (tp,) = [row for row in made.metrics("estimates") if (row["unit"], row["endpoint"]) == ("image", "tp")]
    assert (tp["n_units"], tp["n_excluded"], tp["excluded_reasons"]) == (3, 1, "failed=1")


def test_every_row_states_the_definition(made: MadeOutput, evaluate: Callable[..., EvaluationSummary]) -> None:
    made.write_run([MadeStudy("a", [FRAMES], 1), MadeStudy("b", [[0.9]], 0)])
    for rule, top_k in (("median", None), ("top_k", 5)):
        evaluate(made, study_score="max", image_score=rule, top_k=5)
        for name, schema in TABLES.items():
            if "image_score" in schema.names:
                stated = {tuple(row[c] for c in ("study_score", "image_score", "top_k")) for row in made.metrics(name)}
                assert stated <= {("max", rule, top_k)}, name
                assert stated or name == "comparisons", name


@pytest.fixture(scope="module")
def cohort() -> list[MadeStudy]:
    """Studies of stills with reference masks, two of each subject. Some images fail or have no mask."""
    rng = np.random.default_rng(29)
    studies = []
    for number in range(24):
        label = number % 2
        images: list[list[Any]] = [[random_frame(rng, label)[0]] for _ in range(rng.integers(1, 4))]
        if number % 5 == 0:
            images.append([FAILED])
        if number % 7 == 0:
            images.append([float(np.float32(rng.random()))])
        for image in images:
            if isinstance(image[0], dict):
                mask = rng.choice(3, (24, 32), p=[0.6, 0.1, 0.3]).astype(np.uint8)
                image[0]["mask_png"] = encode_mask(mask)
                image[0] |= {f"hd95_source_px_{name}": 3.0 * rng.random() for name in ("septum", "heart")}
        studies.append(MadeStudy(f"{number}", images, label, subject_id=f"{number // 2}"))
    return studies


def as_clips(studies: list[MadeStudy], n: int) -> list[MadeStudy]:
    """Return the studies with n equal frames in place of each still."""
    return [
        replace(study, images=[[image[0]] * (1 if isinstance(image[0], str) else n) for image in study.images])
        for study in studies
    ]


def altered(studies: list[MadeStudy]) -> list[MadeStudy]:
    """Return the studies as another model might have scored them."""
    rng = np.random.default_rng(3)
    return [
        replace(
            study,
            images=[
                [
                    {
                        **frame,
                        "chd_probability": float(np.float32(frame["chd_probability"] * 0.9)),
                        "mask_png": encode_mask(rng.choice(3, (24, 32)).astype(np.uint8)),
                    }
                    if isinstance(frame, Mapping)
                    else frame
                    for frame in image
                ]
                for image in study.images
            ],
        )
        for study in studies
    ]


def all_tables(root: Path, first: list[MadeStudy], second: list[MadeStudy]) -> dict[str, list[dict[str, Any]]]:
    """Evaluate a run, compare it with a second one, and return the rows of all tables."""
    made = MadeOutput(root)
    made.write_run(first)
    made.write_run(second, SECOND)
    config = EvaluationConfig(resamples=100)
    evaluate_run(made.output, made.private, RUN_ID, config, made.tokens)
    compare_runs(made.output, made.private, RUN_ID, SECOND, config, made.tokens)
    tables = {name: made.metrics(name) for name in TABLES}
    for name in COMPARISON_TABLES:
        path = Path(made.output.uri) / output_layout.comparison_file(SECOND, RUN_ID, name)
        tables[name] = pq.read_table(path, partitioning=None).to_pylist()
    return tables


def assert_same(
    tables: dict[str, list[dict[str, Any]]], others: dict[str, list[dict[str, Any]]], left_out: set[str]
) -> None:
    for name, rows in tables.items():
        assert len(rows) == len(others[name]) and (rows or name in ("reads", "comparisons")), name
        for row, other in zip(rows, others[name], strict=True):
            for column in row.keys() - left_out:
                place = f"{name}.{column} of {row.get('endpoint')} {row.get('class')} by {row.get('unit')}"
                if isinstance(row[column], float):
                    assert other[column] == pytest.approx(row[column], rel=1e-7, abs=1e-9), place
                else:
                    assert other[column] == row[column], place


@pytest.mark.slow
def test_equal_frames_add_nothing_to_any_figure_or_interval(tmp_path: Path, cohort: list[MadeStudy]) -> None:
    """Every table of stills equals that of clips with nine equal frames: values, intervals, tests, counts, lists."""
    stills = all_tables(tmp_path / "stills", cohort, altered(cohort))
    second = as_clips(altered(cohort), 9)
    clips = all_tables(tmp_path / "clips", as_clips(cohort, 9), second)
    assert {row["analysis_set"] for row in clips["estimates"]} >= {"determinate", "segmentation", "original"}
    assert_same(stills, clips, OF_FRAMES)


@pytest.mark.slow
def test_stills_beside_clips_give_the_figures_of_stills(
    tmp_path: Path, cohort: list[MadeStudy], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is computed for a cohort with clips gives the same as the shorter way for a cohort of stills."""
    expected = all_tables(tmp_path / "stills", cohort, altered(cohort))
    load = CohortDatabase.load

    def load_as_if_with_clips(self: CohortDatabase, *arguments: Any) -> None:
        load(self, *arguments)
        self.has_clips = True

    monkeypatch.setattr(CohortDatabase, "load", load_as_if_with_clips)
    assert_same(expected, all_tables(tmp_path / "as clips", cohort, altered(cohort)), {"definition"})


def test_the_rule_for_images_changes_nothing_about_stills(
    made: MadeOutput, evaluate: Callable[..., EvaluationSummary]
) -> None:
    rng = np.random.default_rng(7)
    images = rng.random((12, 3)).astype(np.float32).tolist()
    made.write_run([MadeStudy(f"{n}", [[score] for score in scores], n % 2) for n, scores in enumerate(images)])
    tables = []
    for rule in ("mean", "median", "top_k"):
        evaluate(made, image_score=rule)
        tables.append({name: made.metrics(name) for name in TABLES})
    for one, other in itertools.pairwise(tables):
        for name, rows in one.items():
            kept = [
                [{column: row[column] for column in row.keys() - DEFINITION_COLUMNS} for row in table]
                for table in (rows, other[name])
            ]
            assert kept[0] == kept[1], name


def test_a_clip_is_listed_once_among_the_worst_cases(
    made: MadeOutput, evaluate: Callable[..., EvaluationSummary]
) -> None:
    rng = np.random.default_rng(1)
    frames = [random_frame(rng, 0)[0] for _ in range(30)]
    made.write_run([MadeStudy("a", [frames], 0), MadeStudy("b", [[random_frame(rng, 1)[0]]], 1)])
    evaluate(made)
    listed = [row for row in made.metrics("worst_cases") if row["kind"] == "low_dice"]
    assert len(listed) == 2
    assert len({row["image_id"] for row in listed}) == 2

    def dice(frame: dict[str, Any]) -> float:
        of_classes = [
            2 * frame[f"intersection_px_{name}"] / (frame[f"{name}_px"] + frame[f"reference_px_{name}"])
            for name in ("septum", "heart")
            if frame[f"{name}_px"] + frame[f"reference_px_{name}"]
        ]
        return sum(of_classes) / len(of_classes)

    (of_clip,) = [row for row in listed if row["study_id"] == made.tokens.study("a")]
    assert of_clip["value"] == pytest.approx(min(map(dice, frames)))
    assert of_clip["frame"] == min(range(30), key=lambda place: dice(frames[place]))


def test_a_definition_is_read_from_records_of_earlier_versions() -> None:
    assert ScoreDefinition.of({}) == ScoreDefinition("mean", "mean", 3)
    assert ScoreDefinition.of({"study_score": "max", "seed": 1}) == ScoreDefinition("max", "mean", 3)
    of_job = EvaluationConfig(image_score="top_k", top_k=7, study_score="median")
    assert ScoreDefinition.of(of_job.model_dump()) == ScoreDefinition("median", "top_k", 7)


def test_many_frames_of_few_subjects_are_not_many(tmp_path: Path) -> None:
    """Five subjects with loops of 40 frames are five: a shareable export gives no count and no mean of them."""
    rng = np.random.default_rng(2)
    made = MadeOutput(tmp_path)
    made.write_run([MadeStudy(f"{n}", [[random_frame(rng, n % 2)[0] for _ in range(40)]], n % 2) for n in range(5)])
    evaluate_run(made.output, made.private, RUN_ID, EvaluationConfig(resamples=100), made.tokens)
    done = diagchd_batch("export", "shareable", made.output.uri, str(tmp_path / "shared"), "--run-id", RUN_ID)
    assert done.exit_code == 0, done.messages
    with (tmp_path / "shared" / "estimates.csv").open(encoding="utf-8", newline="") as file:
        assert [row for row in csv.DictReader(file) if row["value"] or row["n_units"]] == []


def test_masks_of_a_loop_count_as_much_as_those_of_a_still(tmp_path: Path) -> None:
    """The loop's four masks are equal in both runs (Dice 1), the still's are not (Dice 1/2): the mean is 3/4."""
    one, other = np.zeros((2, 24, 32), np.uint8)
    one[:2, :8], other[:2, 4:12] = 2, 2  # 16 pixels each, 8 of them shared
    loop = [{"chd_probability": 0.2, "mask_png": encode_mask(one)}] * 4
    made = MadeOutput(tmp_path)
    for run_id, still in ((RUN_ID, one), (SECOND, other)):
        frame = {"chd_probability": 0.2, "mask_png": encode_mask(still)}
        made.write_run([MadeStudy("a", [loop, [frame]], 0)], run_id)
    compare_runs(made.output, made.private, RUN_ID, SECOND, EvaluationConfig(resamples=100), made.tokens)
    path = Path(made.output.uri) / output_layout.comparison_file(SECOND, RUN_ID, "comparison_masks")
    rows = [row for row in pq.read_table(path, partitioning=None).to_pylist() if row["class"] == "heart"]
    figures = {row["endpoint"]: (row["unit"], row["n_units"], row["value"]) for row in rows}
    assert figures["mask_dice_mean"] == ("image", 2, pytest.approx(0.75))
    assert figures["mask_dice_of_study_means"] == ("study", 1, pytest.approx(0.75))
    assert figures["mask_dice_minimum"] == ("image", 2, pytest.approx(0.5))
    assert figures["mask_dice_pooled"] == ("image", 2, pytest.approx(2 * (4 * 16 + 8) / (2 * 5 * 16)))
    assert all("clip" in row["definition"] for row in rows if row["endpoint"] != "mask_dice_pooled")
