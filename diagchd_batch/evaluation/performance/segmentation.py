"""Rows of `estimates` about segmentation: overlap and surface distances of predicted and reference masks.

A clip is one image. Its value is the mean of its frames' values, so that a clip with masks of 120 frames counts as much
as a still. Figures over pooled pixels pool those of all frames. Intervals take subjects as independent.

They are computed from the pixel counts and distances in the score tables, as defined in `statistics.segmentation`. Only
one quantity of all images is in memory at a time.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from diagchd_batch.evaluation.database import CohortDatabase
from diagchd_batch.evaluation.tables.definitions import DEFINITIONS
from diagchd_batch.evaluation.tables.rows import Row, RowBuilder
from diagchd_batch.results.columns import CLASSES, SURFACE_CLASSES
from diagchd_batch.statistics.estimate import Estimate, NullReason
from diagchd_batch.statistics.resampling import TotalsStatistic, subject_interval
from diagchd_batch.statistics.segmentation import Distribution, distribution

WHOLE_HEART = "whole_heart"
MEANS_OVER = {"all_classes": CLASSES, "foreground": ("septum", "heart")}
"""Classes that means are taken over, with and without background.

An image's mean leaves out classes that neither mask has.
"""

_USABLE = "status = 'ok' AND reference_status = 'ok'"
_CALIBRATED = f"{_USABLE} AND spacing_status = 'ok'"
_NO_DISTANCE_IN_MM = "mask_empty_or_outside_region"
_ORIGINAL = {
    "one_hot_mean_iou_per_image": "iou_all_classes",
    "soft_dice_per_image": "finite_soft_dice",
    "segmentation_loss_per_image": "finite_seg_loss",
}
_DISTRIBUTION = {
    "sd": "sd",
    "minimum": "minimum",
    "q1": "quartile_1",
    "median": "median",
    "q3": "quartile_3",
    "maximum": "maximum",
}
"""Endpoint suffix → attribute of `Distribution`."""


@dataclass(frozen=True)
class _Cohort:
    """What all figures need.

    Attributes:
        subject: int64 [planned studies], each study's subject.
        n_usable: Number of images with a usable reference mask of any frame.
        n_calibrated: Number of them with such a frame whose pixels have a known size.
        excluded: Numbers of the other images by reason.
    """

    subject: np.ndarray
    n_usable: int
    n_calibrated: int
    excluded: dict[str, int]


def segmentation_rows(rows: RowBuilder, database: CohortDatabase, model: str) -> Iterator[Row]:
    """Estimate all segmentation figures of a run, and create the view `overlap` in the database.

    Args:
        rows: Columns that all rows share.
        database: A database with the tables `frames` and `planned`.
        model: The model's name in tables.

    Yields:
        Rows of `estimates`. There are none, and no view, if no frame has a usable reference mask.
    """
    n = "count(DISTINCT image_id)" if database.has_clips else "count(*)"
    n_usable = database.scalar(f"SELECT {n} FROM frames WHERE {_USABLE}")
    if not n_usable:
        return
    _create_overlap_view(database)
    if database.has_clips:
        database.execute(
            "CREATE TABLE masked_images AS SELECT image_id, row_number() OVER (ORDER BY image_id) - 1 AS image "
            "FROM (SELECT DISTINCT image_id FROM overlap)"
        )
        rows = replace(rows, definitions={**_clip_definitions(), **rows.definitions})
    subject = database.arrays("SELECT subject FROM planned ORDER BY study")["subject"]
    n_calibrated = database.scalar(f"SELECT {n} FROM frames WHERE {_CALIBRATED}")
    cohort = _Cohort(subject, n_usable, n_calibrated, _excluded_images(database))
    here = rows.with_columns(analysis_set="segmentation", subject_kind="model", subject=model, cluster="subject")
    for endpoint, class_, column in (*_measures(), *(_measures_in_mm() if n_calibrated else ())):
        images = _Images.load(database, column, subject)
        yield from _measure_rows(here.with_columns(class_=class_), endpoint, images, cohort)
    yield from _pooled_rows(here, database, cohort)
    original = here.with_columns(analysis_set="original", class_="all_classes")
    for endpoint, column in _ORIGINAL.items():
        yield _image_mean_row(original, endpoint, _Images.load(database, column, subject), cohort, "undefined")


def _clip_definitions() -> dict[str, str]:
    """Return the definitions of the figures over images for a cohort with clips."""
    over_images = re.compile(r"(dice|iou|hd95|assd|one_hot|soft_dice|segmentation_loss)_(?!pooled)")
    note = "; a clip's value is the mean of its frames' values"
    return {name: text + note for name, text in DEFINITIONS.items() if over_images.match(name)}


def _measures() -> Iterator[tuple[str, str, str]]:
    """Yield endpoint, class, and column of the view `overlap`."""
    for class_ in (*CLASSES, WHOLE_HEART, *MEANS_OVER):
        yield "dice", class_, f"dice_{class_}"
        yield "iou", class_, f"iou_{class_}"
    for class_ in SURFACE_CLASSES:
        yield "hd95_source_px", class_, f"hd95_{class_}"
        yield "hd95_source_px_penalised", class_, f"hd95_penalised_{class_}"
        yield "assd_source_px", class_, f"assd_{class_}"


def _measures_in_mm() -> Iterator[tuple[str, str, str]]:
    """Yield the same for distances in millimetres, which only calibrated frames have."""
    for class_ in SURFACE_CLASSES:
        for metric in ("hd95_mm", "assd_mm"):
            yield metric, class_, f"finite_{metric}_{class_}"


def _create_overlap_view(database: CohortDatabase) -> None:
    """Create the view `overlap`: one row for each frame with a usable reference mask.

    A quantity that is undefined is null.
    """
    columns = [f"{_finite(name)} AS finite_{name}" for name in ("soft_dice", "seg_loss")]
    for class_ in (*CLASSES, WHOLE_HEART):
        predicted, reference, both = _pixels(class_)
        columns += [
            f"CASE WHEN {predicted} + {reference} > 0 THEN 2.0 * {both} / ({predicted} + {reference}) END "
            f"AS dice_{class_}",
            f"CASE WHEN {predicted} + {reference} > 0 THEN 1.0 * {both} / ({predicted} + {reference} - {both}) END "
            f"AS iou_{class_}",
        ]
    for name, classes in MEANS_OVER.items():
        for metric in ("dice", "iou"):
            values = ", ".join(f"{metric}_{class_}" for class_ in classes)
            columns.append(f"list_avg([{values}]) AS {metric}_{name}")
    for class_ in SURFACE_CLASSES:
        predicted, reference, _ = _pixels(class_)
        columns += [
            f"{_finite(f'hd95_source_px_{class_}')} AS hd95_{class_}",
            f"CASE WHEN ({predicted} = 0) <> ({reference} = 0) THEN "
            "sqrt(CAST(source_height AS DOUBLE) ** 2 + CAST(source_width AS DOUBLE) ** 2) "
            f"ELSE {_finite(f'hd95_source_px_{class_}')} END AS hd95_penalised_{class_}",
            f"{_finite(f'assd_source_px_{class_}')} AS assd_{class_}",
            *[f"{_finite(f'{metric}_{class_}')} AS finite_{metric}_{class_}" for metric in ("hd95_mm", "assd_mm")],
        ]
    database.execute(f"CREATE VIEW overlap AS SELECT *, {', '.join(columns)} FROM frames WHERE {_USABLE}")


def _finite(column: str) -> str:
    """Return SQL of the column's value, null where it is no finite number."""
    return f"CASE WHEN isfinite({column}) THEN CAST({column} AS DOUBLE) END"


def _pixels(class_: str) -> tuple[str, str, str]:
    """Return SQL of the predicted, the reference, and the shared pixels of a class."""
    if class_ == WHOLE_HEART:
        return "(septum_px + heart_px)", "(reference_px_septum + reference_px_heart)", "intersection_px_whole_heart"
    return f"{class_}_px", f"reference_px_{class_}", f"intersection_px_{class_}"


def _excluded_images(database: CohortDatabase) -> dict[str, int]:
    """Count the images without a usable reference mask by reason. A clip counts under its first reason by alphabet."""
    of_frames = (
        "(SELECT image_id, CASE WHEN status <> 'ok' THEN 'failed' ELSE coalesce(reference_status, 'without_mask') END "
        f"AS reason FROM frames WHERE NOT coalesce({_USABLE}, false))"
    )
    if database.has_clips:
        usable = f"SELECT image_id FROM frames WHERE {_USABLE}"
        of_frames = (
            f"(SELECT min(reason) AS reason FROM {of_frames} WHERE image_id NOT IN ({usable}) GROUP BY image_id)"
        )
    reasons = database.rows(f"SELECT reason, count(*) AS n FROM {of_frames} GROUP BY reason ORDER BY reason")
    return {row["reason"]: row["n"] for row in reasons}


@dataclass(frozen=True)
class _Images:
    """One quantity of all images that have it.

    Attributes:
        distribution: Its distribution over images.
        of_images: float64 [subjects, 2], sum over the subject's images, and their number.
        of_studies: float64 [subjects, 2], sum of the means of the subject's studies, and their number.
    """

    distribution: Distribution
    of_images: np.ndarray
    of_studies: np.ndarray

    @staticmethod
    def load(database: CohortDatabase, column: str, subject: np.ndarray) -> "_Images":
        if database.has_clips:
            study, value = _means_of_images(database, column)
        else:
            values = database.arrays(f"SELECT study, {column} AS value FROM overlap WHERE {column} IS NOT NULL")
            study, value = values["study"], values["value"].astype(np.float64)
        by_study = np.stack(
            [np.bincount(study, weights=weights, minlength=len(subject)) for weights in (_summable(value), None)],
            axis=1,
        )
        some = by_study[:, 1] > 0
        means = np.stack([by_study[some, 0] / by_study[some, 1], np.ones(int(some.sum()))], axis=1)
        value.sort()  # DuckDB returns rows in any order, and sums of floats depend on it
        return _Images(
            distribution(value), _subject_totals(by_study[some], subject[some]), _subject_totals(means, subject[some])
        )


def _means_of_images(database: CohortDatabase, column: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the study of each image with a value, int64 [images], and the mean of its frames' values, float64."""
    frames = database.arrays(
        f"SELECT study, image, {column} AS value FROM overlap JOIN masked_images USING (image_id) "
        f"WHERE {column} IS NOT NULL"
    )
    image, value = frames["image"].astype(np.int64), frames["value"].astype(np.float64)
    n = np.bincount(image)
    sums = np.bincount(image, weights=_summable(value))
    study = np.zeros(len(n), dtype=np.int64)
    study[image] = frames["study"]
    return study[n > 0], sums[n > 0] / n[n > 0]


def _summable(values: np.ndarray) -> np.ndarray:
    """Round values to 36 bits below the largest. Sums of up to 65,000 of them are then exact in any order."""
    if not len(values):
        return values
    step = 2.0 ** (np.ceil(np.log2(max(float(values.max()), 1e-300))) - 36)
    return np.rint(values / step) * step


def _subject_totals(columns: np.ndarray, subject: np.ndarray) -> np.ndarray:
    """Sum columns within subjects. Subjects without a row are left out."""
    if not len(columns):
        return columns
    n = np.bincount(subject)
    return np.stack([np.bincount(subject, weights=column)[n > 0] for column in columns.T], axis=1)


def _with_exclusions(rows: RowBuilder, cohort: _Cohort, n_units: int, why_not: str) -> RowBuilder:
    reasons = dict(cohort.excluded)
    n_possible = cohort.n_usable
    if why_not == _NO_DISTANCE_IN_MM and cohort.n_calibrated < n_possible:
        reasons["not_calibrated"] = n_possible - cohort.n_calibrated
        n_possible = cohort.n_calibrated
    if n_possible > n_units:
        reasons[why_not] = n_possible - n_units
    return rows.with_columns(
        unit="image",
        n_units=n_units,
        n_excluded=sum(reasons.values()),
        excluded_reasons="; ".join(f"{name}={count}" for name, count in reasons.items()) or None,
    )


def _measure_rows(rows: RowBuilder, endpoint: str, images: _Images, cohort: _Cohort) -> Iterator[Row]:
    """Estimate the mean over images with its interval, their distribution, and the mean of the studies' means."""
    why_not = "both_empty" if endpoint in ("dice", "iou") else "both_empty_or_one_empty"
    if endpoint.endswith("_mm"):
        why_not = _NO_DISTANCE_IN_MM
    yield _image_mean_row(rows, f"{endpoint}_mean", images, cohort, why_not)
    n_studies = int(images.of_studies[:, 1].sum())
    n_excluded = len(cohort.subject) - n_studies
    of_studies = rows.with_columns(
        unit="study",
        n_units=n_studies,
        n_subjects=len(images.of_studies),
        n_excluded=n_excluded,
        excluded_reasons=f"without_value={n_excluded}" if n_excluded else None,
    )
    yield of_studies.estimate(f"{endpoint}_mean", _interval(rows, images.of_studies, _quotient, endpoint))
    if endpoint.endswith("penalised"):
        return
    of_images = _with_exclusions(rows, cohort, images.distribution.n, why_not)
    of_images = of_images.with_columns(n_subjects=len(images.of_images))
    for name, attribute in _DISTRIBUTION.items():
        value = getattr(images.distribution, attribute)
        reason = str(NullReason.NO_UNITS) if value is None else "description"
        yield of_images.estimate(f"{endpoint}_{name}", Estimate(value, None, None, None, 0), null_reason=reason)


def _image_mean_row(rows: RowBuilder, endpoint: str, images: _Images, cohort: _Cohort, why_not: str) -> Row:
    """Estimate the mean over images, with an interval that takes subjects as independent."""
    here = _with_exclusions(rows, cohort, images.distribution.n, why_not).with_columns(n_subjects=len(images.of_images))
    return here.estimate(endpoint, _interval(rows, images.of_images, _quotient, endpoint))


def _pooled_rows(rows: RowBuilder, database: CohortDatabase, cohort: _Cohort) -> Iterator[Row]:
    """Pool the pixels of all images: Dice and IoU by class, and their means over classes."""
    shared, pixels = {}, {}
    n_subjects = 0
    images = "overlap"
    if database.has_clips:
        counts = [name for class_ in CLASSES for name in _pixels(class_)] + [f"intersection_px_{WHOLE_HEART}"]
        sums = ", ".join(f"sum({name}) AS {name}" for name in counts)
        images = f"(SELECT subject, {sums} FROM overlap GROUP BY subject, image_id)"
    for class_ in (*CLASSES, WHOLE_HEART):
        predicted, reference, both = _pixels(class_)
        totals = database.arrays(
            f"SELECT CAST(sum({both}) AS DOUBLE) AS shared, CAST(sum({predicted} + {reference}) AS DOUBLE) AS pixels, "
            f"count(*) FILTER ({predicted} + {reference} = 0) AS both_empty, "
            f"count(*) FILTER (({predicted} = 0) <> ({reference} = 0)) AS one_empty FROM {images} "
            "GROUP BY subject ORDER BY subject"
        )
        n_subjects = len(totals["shared"])
        shared[class_], pixels[class_] = totals["shared"], totals["pixels"]
        here = _with_exclusions(rows.with_columns(class_=class_, n_subjects=n_subjects), cohort, cohort.n_usable, "")
        columns = np.stack([shared[class_], pixels[class_]], axis=1)
        yield here.estimate("dice_pooled", _interval(rows, columns, _pooled_mean(2.0, 0.0), "dice"))
        yield here.estimate("iou_pooled", _interval(rows, columns, _pooled_mean(1.0, 1.0), "iou"))
        yield here.count("n_both_empty", float(totals["both_empty"].sum()))
        yield here.count("n_one_empty", float(totals["one_empty"].sum()))
    for name, classes in MEANS_OVER.items():
        here = _with_exclusions(rows.with_columns(class_=name, n_subjects=n_subjects), cohort, cohort.n_usable, "")
        columns = np.stack([sums[class_] for class_ in classes for sums in (shared, pixels)], axis=1)
        yield here.estimate("dice_pooled", _interval(rows, columns, _pooled_mean(2.0, 0.0), "dice"))
        yield here.estimate("iou_pooled", _interval(rows, columns, _pooled_mean(1.0, 1.0), "iou"))


def _pooled_mean(factor: float, less: float) -> TotalsStatistic:
    """Return the mean over classes of factor · shared / (pixels − less · shared) as a function of totals.

    The totals have the columns shared, pixels, shared, pixels, … Classes without a pixel are left out. The mean is NaN
    where no class has one.
    """

    def mean(sums: np.ndarray) -> np.ndarray:
        shared, pixels = sums[..., ::2], sums[..., 1::2]
        denominator = pixels - less * shared
        present = denominator > 0
        of_classes = np.divide(factor * shared, denominator, out=np.zeros(shared.shape), where=present)
        n = present.sum(axis=-1)
        return np.divide(of_classes.sum(axis=-1), n, out=np.full(n.shape, np.nan), where=n > 0)

    return mean


def _interval(rows: RowBuilder, totals: np.ndarray, statistic: TotalsStatistic, endpoint: str) -> Estimate:
    bounds = (0.0, 1.0 if endpoint.startswith(("dice", "iou")) else math.inf)  # the others are distances
    return subject_interval(totals, statistic, n=len(totals), bounds=bounds, **rows.settings.bootstrap)


def _quotient(sums: np.ndarray) -> np.ndarray:
    denominator = sums[..., 1]
    return np.divide(sums[..., 0], denominator, out=np.full(denominator.shape, np.nan), where=denominator > 0)
