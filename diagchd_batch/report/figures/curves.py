"""The ROC curve with the raters' calls as marks, and the calibration diagram."""

from dataclasses import dataclass

from diagchd_batch.report.figures.svg import Axes, drawing, element
from diagchd_batch.report.report_data import Row

_SIZE = 420.0
_LEGEND = {"model": "model's calls", "reader": "readers", "readers_mean": "mean of readers", "majority": "majority"}


@dataclass(frozen=True)
class Point:
    """A rater's calls in the ROC diagram.

    Attributes:
        kind: Which kind of rater: model, reader, readers_mean or majority.
        label: Text beside the mark.
        sensitivity: The row of `estimates` with the sensitivity.
        specificity: The row of `estimates` with the specificity.
    """

    kind: str
    label: str
    sensitivity: Row
    specificity: Row


def roc_plot(curve: list[tuple[float, float]], points: list[Point], description: str) -> str:
    """Return the ROC diagram as SVG.

    Args:
        curve: (1 − specificity, sensitivity) of each threshold, from (0, 0) to (1, 1).
        points: The raters' calls as marks.
        description: The alternative text.
    """
    axes = Axes(_SIZE, _SIZE, "1 − specificity", "sensitivity")
    axes.diagonal()
    axes.curve(curve)
    for point in sorted(points, key=lambda point: point.kind == "model"):
        axes.parts += _mark(axes, point)
    shown = [kind for kind in _LEGEND if any(point.kind == kind for point in points)]
    for place, kind in enumerate(shown):
        y = axes.bottom - 14 - 20 * (len(shown) - 1 - place)
        axes.parts += [
            _symbol(kind, axes.right - 130, y - 4, ""),
            element("text", _LEGEND[kind], x=axes.right - 118, y=y),
        ]
    return drawing(axes.width, axes.height, "ROC curve", description, axes.parts)


def _mark(axes: Axes, point: Point) -> list[str]:
    sensitivity, specificity = point.sensitivity, point.specificity
    x, y = axes.x(1 - specificity["value"]), axes.y(sensitivity["value"])
    parts = []
    if point.kind == "model" and sensitivity["ci_low"] is not None:
        low, high = axes.y(sensitivity["ci_low"]), axes.y(sensitivity["ci_high"])
        parts.append(element("line", x1=x, x2=x, y1=low, y2=high, class_="error model"))
    if point.kind == "model" and specificity["ci_low"] is not None:
        low, high = axes.x(1 - specificity["ci_high"]), axes.x(1 - specificity["ci_low"])
        parts.append(element("line", x1=low, x2=high, y1=y, y2=y, class_="error model"))
    parts.append(_symbol(point.kind, x, y, point.label or _LEGEND[point.kind]))
    if point.label:
        parts.append(element("text", point.label, x=x + 7, y=y + 13, class_="small halo"))
    return parts


def _symbol(kind: str, x: float, y: float, title: str) -> str:
    """Return a mark. Kinds differ in shape as well as in colour, because a print may be grey."""
    inside = element("title", title) if title else ""
    if kind == "readers_mean":
        corners = f"{x:.2f},{y - 7:.2f} {x + 7:.2f},{y:.2f} {x:.2f},{y + 7:.2f} {x - 7:.2f},{y:.2f}"
        return f'<polygon points="{corners}" class="point group">{inside}</polygon>'
    if kind == "majority":
        return f'<rect x="{x - 5:.2f}" y="{y - 5:.2f}" width="10" height="10" class="point group">{inside}</rect>'
    radius = 6 if kind == "model" else 4
    return f'<circle cx="{x:.2f}" cy="{y:.2f}" r="{radius}" class="point {kind}">{inside}</circle>'


def calibration_plot(bins: list[Row], description: str) -> str:
    """Return the calibration diagram as SVG.

    Args:
        bins: The rows of table `calibration` that are not empty.
        description: The alternative text.
    """
    axes = Axes(_SIZE, _SIZE, "mean score in the bin", "share with disease")
    axes.diagonal()
    for row in bins:
        x = axes.x(row["mean_score"])
        if row["ci_low"] is not None:
            low, high = axes.y(row["ci_low"]), axes.y(row["ci_high"])
            axes.parts.append(element("line", x1=x, x2=x, y1=low, y2=high, class_="error model"))
        axes.parts.append(element("circle", cx=x, cy=axes.y(row["observed"]), r=4, class_="point model"))
        y = max(axes.y(row["observed"]) - 6, axes.top + 14)
        axes.parts.append(element("text", str(row["n"]), x=min(x + 6, axes.right - 14), y=y, class_="small halo"))
    return drawing(axes.width, axes.height, "Calibration", f"{description} Numbers: studies in the bin.", axes.parts)
