"""The section on overlap and distance of predicted and reference masks."""

from typing import Any

from diagchd_batch.report.elements import Figure, Section, Table
from diagchd_batch.report.figures.intervals import Line, interval_plot
from diagchd_batch.report.formatting import count, words
from diagchd_batch.report.measure_tables import Key, Measure, measure_table
from diagchd_batch.report.report_data import ReportData

_CLASSES = ("background", "septum", "heart", "whole_heart", "foreground", "all_classes")
_NAMES = {
    "heart": "heart without septum",
    "whole_heart": "whole heart (septum and heart as one)",
    "foreground": "mean of septum and heart",
    "all_classes": "mean of background, septum and heart",
}
_MEANS: tuple[Measure, ...] = (
    ("dice_mean", "Dice"),
    ("iou_mean", "IoU"),
    ("hd95_source_px_mean", "HD95, px"),
    ("hd95_source_px_penalised_mean", "HD95 with penalty, px"),
    ("assd_source_px_mean", "ASSD, px"),
    ("dice_pooled", "pooled Dice"),
    ("iou_pooled", "pooled IoU"),
    ("n_both_empty", "both empty"),
    ("n_one_empty", "one empty"),
)
_IN_MM: tuple[Measure, ...] = (("hd95_mm_mean", "HD95, mm"), ("assd_mm_mean", "ASSD, mm"))
_MEASUREMENTS: tuple[Measure, ...] = (
    *((f"area_mm2_{part}", f"area, mm²: {words(part)}") for part in ("median", "q1", "q3")),
    *((f"length_mm_{part}", f"length, mm: {words(part)}") for part in ("median", "q1", "q3")),
)
_SPREAD = ("minimum", "q1", "median", "q3", "maximum", "sd")
_ORIGINAL: tuple[Measure, ...] = (
    ("one_hot_mean_iou_per_image", "mean IoU per image"),
    ("soft_dice_per_image", "soft Dice"),
    ("segmentation_loss_per_image", "loss"),
    ("class_precision", "precision"),
    ("class_recall", "recall"),
    ("class_f1", "F1"),
)


def segmentation(data: ReportData) -> Section:
    """Return the section on segmentation."""
    rows = data.estimates(analysis_set="segmentation", subject_kind="model")
    rows.sort(key=lambda row: _CLASSES.index(row["class"]) if row["class"] in _CLASSES else len(_CLASSES))
    original = data.estimates(analysis_set="original", subject_kind="model")
    whose: Key = ("class", lambda row: _class(row["class"]))
    of_original = measure_table(
        "Figures as the original computes them, over single images", original, [whose], _ORIGINAL, folded=True
    )
    if not rows:
        reason = "no usable reference masks were given"
        return Section("segmentation", "Segmentation", tables=[t for t in [of_original] if t.rows], left_out=[reason])
    images = [row for row in rows if row["unit"] == "image"]
    studies = [row for row in rows if row["unit"] == "study"]
    figures = [
        figure
        for metric, name in (("dice", "Dice"), ("iou", "IoU"), ("hd95_source_px", "HD95"))
        if (figure := _boxes(images, metric, name))
    ]
    spread = [
        measure_table(
            f"Distribution of {name} over images",
            images,
            [whose],
            [(f"{metric}_{part}", words(part)) for part in _SPREAD],
            folded=True,
        )
        for metric, name in (("dice", "Dice"), ("iou", "IoU"), ("hd95_source_px", "HD95 in source pixels"))
    ]
    return Section(
        "segmentation",
        "Segmentation",
        [
            "Septum and heart are compared at the model's grid. Distances are in pixels of the source image, because "
            "the grid is anisotropic. A mean over images and a pooled figure are not comparable. Means omit images on "
            "which neither mask has the class. Distances also omit images on which one mask lacks it; these are "
            "counted, and the column with penalty gives them the image's diagonal."
        ],
        figures=figures,
        tables=[
            measure_table("Mean over images, with 95 % intervals over subjects", images, [whose], _MEANS, n="images"),
            measure_table("Mean over studies", studies, [whose], _MEANS, n="studies", folded=True),
            *_tables_in_mm(images, whose),
            *spread,
            *([of_original] if of_original.rows else []),
        ],
    )


def _tables_in_mm(images: list[dict[str, Any]], whose: Key) -> list[Table]:
    """Return the mean distances in millimetres, which only images with a known size of pixels have."""
    caption = "Mean distances over images whose pixels have a known size, with 95 % intervals over subjects"
    table = measure_table(caption, images, [whose], _IN_MM, n="calibrated images", excluded=True)
    return [table] if table.rows else []


def measurements(data: ReportData) -> Section | None:
    """Return the section on areas and lengths in millimetres, or None if no image has a known size of pixels."""
    rows = data.estimates(analysis_set="measurements", subject_kind="model")
    if not rows:
        return None
    whose: Key = ("class", lambda row: _class(row["class"]))
    return Section(
        "measurements",
        "Measurements",
        [
            "Areas and lengths of the predicted masks, over images whose header gives a sound size of a pixel. They "
            "describe what the model drew on single frames, in whatever phase of the cardiac cycle, and are not "
            "compared with any reference. The length of the septum is the maximum Feret diameter of its largest piece."
        ],
        tables=[
            measure_table(
                "Median and quartiles over images", rows, [whose], _MEASUREMENTS, n="calibrated images", excluded=True
            )
        ],
    )


def _class(name: str | None) -> str:
    return _NAMES.get(str(name), words(name))


def _boxes(rows: list[dict[str, Any]], metric: str, name: str) -> Figure | None:
    by_class = {(row["class"], row["endpoint"]): row for row in rows}
    lines = []
    for of_class in dict.fromkeys(row["class"] for row in rows):
        found = [by_class.get((of_class, f"{metric}_{part}")) for part in ("minimum", "q1", "median", "q3", "maximum")]
        values = [row["value"] for row in found if row is not None and row["value"] is not None]
        if len(values) == 5:
            n = by_class[of_class, f"{metric}_median"]["n_units"]
            low, q1, median, q3, high = values
            lines.append(Line(f"{_class(of_class)} (n {count(n)})", median, low, high, (q1, q3)))
    if not lines:
        return None
    caption = f"{name} per image: minimum, quartiles (box), median and maximum. The axis covers the values that occur."
    if metric.startswith("hd95"):
        caption = f"{name} per image in source pixels: minimum, quartiles (box), median and maximum; less is better."
    title = f"{name} by class"
    return Figure(title, caption, interval_plot(title, caption, lines, whole_scale=False))
