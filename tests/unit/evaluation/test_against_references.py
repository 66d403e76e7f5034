"""Tables of random cohorts, compared with scikit-learn, the definition in Keras, and our own pure functions."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from sklearn import metrics

from diagchd_batch.evaluation.performance.target_prevalence import REWEIGHTED
from diagchd_batch.statistics import segmentation
from diagchd_batch.statistics.segmentation import PixelCounts
from tests.support.evaluated_runs import MadeOutput, MadeStudy

GRID = 768
CLASSES = ("background", "septum", "heart")


def random_frame(rng: np.random.Generator, label: int) -> tuple[dict[str, Any], np.ndarray, np.ndarray]:
    """Return a frame made of two random label maps of 768 pixels, and the two label maps."""
    predicted, reference = rng.choice(3, GRID, p=[0.6, 0.1, 0.3]), rng.choice(3, GRID, p=[0.5, 0.1, 0.4])
    if rng.random() < 0.2:  # a class that neither mask has, or only one of them
        predicted[predicted == 1] = 0
        if rng.random() < 0.5:
            reference[reference == 1] = 0
    row = {
        "chd_probability": float(np.float32(np.clip(rng.normal(0.4 + 0.2 * label, 0.2), 0, 1))),
        "reference_status": "ok",
        "seg_loss": float(np.float32(rng.random())),
        "soft_dice": float(np.float32(rng.random())),
        "intersection_px_whole_heart": int(np.sum((predicted > 0) & (reference > 0))),
    }
    for value, name in enumerate(CLASSES):
        row[f"{name}_px"] = int(np.sum(predicted == value))
        row[f"reference_px_{name}"] = int(np.sum(reference == value))
        row[f"intersection_px_{name}"] = int(np.sum((predicted == value) & (reference == value)))
    return row, predicted, reference


class RandomCohort(MadeOutput):
    """An output with its frames (study, subject, label, row, both label maps) and its table of estimates."""

    frames: list[tuple[int, int, int, dict[str, Any], np.ndarray, np.ndarray]]
    rows: list[dict[str, Any]]


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> RandomCohort:
    from diagchd_batch.config.job_file import EvaluationConfig
    from diagchd_batch.evaluation.cohort.evaluate import evaluate_run
    from tests.support.evaluated_runs import RUN_ID

    rng = np.random.default_rng(11)
    made = RandomCohort(tmp_path_factory.mktemp("random"))
    studies, made.frames = [], []
    for number in range(60):
        label = int(rng.random() < 0.4)
        images = []
        for _ in range(rng.integers(1, 4)):
            row, predicted, reference = random_frame(rng, label)
            images.append([row])
            made.frames.append((number, number // 2, label, row, predicted, reference))
        studies.append(MadeStudy(f"{number}", images, label, subject_id=f"{number // 2}"))
    made.write_run(studies)
    evaluate_run(made.output, made.private, RUN_ID, EvaluationConfig(resamples=200), made.tokens)
    made.rows = made.metrics("estimates")
    return made


def value(rows: Iterable[dict[str, Any]], **wanted: Any) -> Any:
    found = [row for row in rows if all(row[name] == given for name, given in wanted.items())]
    assert len(found) == 1, f"{len(found)} rows with {wanted}"
    return found[0]["value"]


def images(cohort: RandomCohort) -> tuple[np.ndarray, np.ndarray]:
    labels = np.array([frame[2] for frame in cohort.frames])
    scores = np.array([frame[3]["chd_probability"] for frame in cohort.frames])
    return labels, scores


def test_image_level_scores_equal_sklearn(cohort: RandomCohort) -> None:
    labels, scores = images(cohort)
    main = {"unit": "image", "analysis_set": "determinate"}
    assert value(cohort.rows, endpoint="roc_auc", **main) == pytest.approx(metrics.roc_auc_score(labels, scores))
    expected = metrics.average_precision_score(labels, scores)
    assert value(cohort.rows, endpoint="average_precision", **main) == pytest.approx(expected)
    assert value(cohort.rows, endpoint="brier", **main) == pytest.approx(metrics.brier_score_loss(labels, scores))
    expected = metrics.matthews_corrcoef(labels, scores >= 0.5)
    assert value(cohort.rows, endpoint="mcc", **main) == pytest.approx(expected)


def test_the_originals_precision_recall_and_f1_equal_sklearn(cohort: RandomCohort) -> None:
    labels, scores = images(cohort)
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(labels, scores >= 0.5)
    for place, name in enumerate(("normal", "chd")):
        of_class = {"analysis_set": "original", "class": name}
        assert value(cohort.rows, endpoint="class_precision", **of_class) == pytest.approx(precision[place])
        assert value(cohort.rows, endpoint="class_recall", **of_class) == pytest.approx(recall[place])
        assert value(cohort.rows, endpoint="class_f1", **of_class) == pytest.approx(f1[place])


def test_image_level_rows_cluster_on_the_subject(cohort: RandomCohort) -> None:
    rows = [row for row in cohort.rows if row["unit"] == "image" and row["ci_method"]]
    assert rows
    assert {row["cluster"] for row in rows} == {"subject"}
    assert not {row["ci_method"] for row in rows} & {"wilson", "delong", "clopper_pearson", "log"}


def pixel_counts(cohort: RandomCohort, name: str) -> PixelCounts:
    def of(prefix: str, suffix: str = "") -> Any:
        if name == "whole_heart" and prefix != "intersection_px_":
            return [sum(frame[3][f"{prefix}{part}{suffix}"] for part in ("septum", "heart")) for frame in cohort.frames]
        return [frame[3][f"{prefix}{name}{suffix}"] for frame in cohort.frames]

    return PixelCounts(of("intersection_px_"), of("reference_px_"), of("", "_px"))


@pytest.mark.parametrize("name", [*CLASSES, "whole_heart"])
def test_overlap_equals_the_pure_functions(cohort: RandomCohort, name: str) -> None:
    counts = pixel_counts(cohort, name)
    studies, subjects = ([frame[place] for frame in cohort.frames] for place in (0, 1))
    for endpoint, of in (("dice", segmentation.dice), ("iou", segmentation.iou)):
        values = of(counts)
        shown = segmentation.distribution(values)
        rows = [row for row in cohort.rows if row["analysis_set"] == "segmentation" and row["class"] == name]
        image = {"unit": "image"}
        assert value(rows, endpoint=f"{endpoint}_mean", **image) == pytest.approx(shown.mean, abs=1e-10)
        assert value(rows, endpoint=f"{endpoint}_sd", **image) == pytest.approx(shown.sd, abs=1e-10)
        assert value(rows, endpoint=f"{endpoint}_q1", **image) == pytest.approx(shown.quartile_1)
        assert value(rows, endpoint=f"{endpoint}_minimum", **image) == shown.minimum
        expected = segmentation.mean_of_studies(values, studies, subjects, resamples=10).value  # type: ignore[arg-type]
        assert value(rows, endpoint=f"{endpoint}_mean", unit="study") == pytest.approx(expected, abs=1e-10)
    assert value(rows, endpoint="dice_pooled") == pytest.approx(segmentation.pooled_dice(counts, resamples=10).value)
    assert value(rows, endpoint="iou_pooled") == pytest.approx(segmentation.pooled_iou(counts, resamples=10).value)


def test_mean_iou_both_ways_equals_the_label_maps(cohort: RandomCohort) -> None:
    """Both the mean of the images' IoU, without classes that neither mask has, and the pooled IoU are right."""
    per_image, confusion = [], np.zeros((3, 3))
    for *_, predicted, reference in cohort.frames:
        of_image = metrics.confusion_matrix(reference, predicted, labels=range(3))
        union = of_image.sum(axis=0) + of_image.sum(axis=1) - np.diag(of_image)
        per_image.append(np.mean(np.diag(of_image)[union > 0] / union[union > 0]))
        confusion += of_image
    pooled = np.diag(confusion) / (confusion.sum(axis=0) + confusion.sum(axis=1) - np.diag(confusion))
    rows = cohort.rows
    original = value(rows, endpoint="one_hot_mean_iou_per_image")
    assert original == pytest.approx(np.mean(per_image), abs=1e-10)
    assert value(rows, endpoint="iou_pooled", **{"class": "all_classes"}) == pytest.approx(pooled.mean())
    assert value(rows, endpoint="iou_pooled", **{"class": "foreground"}) == pytest.approx(pooled[1:].mean())
    losses = [frame[3]["seg_loss"] for frame in cohort.frames]
    assert value(rows, endpoint="segmentation_loss_per_image") == pytest.approx(np.mean(losses), abs=1e-9)


def test_curve_encloses_the_area_that_the_table_states(cohort: RandomCohort) -> None:
    points = [row for row in cohort.metrics("curves") if row["curve"] == "roc"]
    area = np.trapezoid([row["y"] for row in points], [row["x"] for row in points])
    assert area == pytest.approx(value(cohort.rows, endpoint="roc_auc", unit="study", covariate=None))


def test_calibration_bins_hold_every_study(cohort: RandomCohort) -> None:
    rows = cohort.metrics("calibration")
    assert sum(row["n"] for row in rows) == 60
    assert sum(row["n_positive"] for row in rows) == value(cohort.rows, endpoint="tp", unit="study", covariate=None) + (
        value(cohort.rows, endpoint="fn", unit="study", covariate=None)
    )


def test_figures_at_another_prevalence_stand_beside_those_as_observed(cohort: RandomCohort) -> None:
    for name in REWEIGHTED:
        (row,) = [row for row in cohort.rows if row["endpoint"] == f"{name}_at_prevalence"]
        assert (row["covariate"], row["level"]) == ("prevalence", "0.01")
        assert row["value"] is not None and row["null_reason"] == "no_valid_interval"  # 36 healthy are too few for 1 %
    curves = [row for row in cohort.metrics("curves") if row["curve"].startswith("decision")]
    by_curve = {prevalence: [r for r in curves if r["prevalence"] == prevalence] for prevalence in (None, 0.01)}
    for prevalence, rows in by_curve.items():
        assert len(rows) == 99 and {row["curve"] for row in rows} == {"decision" + "_at_prevalence" * bool(prevalence)}
        assert all(row["ci_low"] <= row["y"] <= row["ci_high"] for row in rows)
    at_half = by_curve[0.01][49]
    sensitivity, specificity = (
        value(cohort.rows, endpoint=name, unit="study", covariate=None) for name in ("sensitivity", "specificity")
    )
    assert at_half["threshold"] == 0.5
    assert at_half["y"] == pytest.approx(0.01 * sensitivity - 0.99 * (1 - specificity))
    bins = [row for row in cohort.metrics("calibration") if row["n"]]
    reweighted = [row for row in cohort.metrics("curves") if row["curve"] == "calibration_at_prevalence"]
    assert [row["point"] for row in reweighted] == [row["bin"] for row in bins]
    assert all(row["y"] < b["observed"] or b["observed"] in (0, 1) for row, b in zip(reweighted, bins, strict=True))
