"""Diagrams of the model's scores: ROC, precision-recall, decision curve, calibration, and the scores of two runs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from diagchd_batch.report.figures.svg import Axes, drawing, element, polyline
from diagchd_batch.report.report_data import Row
from diagchd_batch.report.score_summary import ScorePair

_SIZE = 420.0
_BARS = 70.0
"""Height of the histogram below the calibration diagram."""

_N_DASHES = 5
"""Number of dash patterns of curves in the style sheet. Curves differ in them, because a print may be grey."""

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


def roc_plot(
    curve: list[tuple[float, float]],
    points: list[Point],
    description: str,
    band: Sequence[tuple[float, float, float]] = (),
) -> str:
    """Return the ROC diagram as SVG.

    Args:
        curve: (1 − specificity, sensitivity) of each threshold, from (0, 0) to (1, 1).
        points: The raters' calls as marks.
        description: The alternative text.
        band: (1 − specificity, lower, upper limit of the sensitivity) of each threshold; empty for no band.
    """
    axes = Axes(_SIZE, _SIZE, "1 − specificity", "sensitivity")
    axes.band(band)
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


def precision_recall_plot(curve: list[tuple[float, float]], prevalence: float | None, description: str) -> str:
    """Return the precision-recall diagram as SVG.

    Args:
        curve: (Recall, precision) of each threshold.
        prevalence: The precision of calling every study positive, or None.
        description: The alternative text.
    """
    axes = Axes(_SIZE, _SIZE, "recall (sensitivity)", "precision (PPV)")
    if prevalence is not None:
        axes.parts.append(polyline([(axes.x(0), axes.y(prevalence)), (axes.x(1), axes.y(prevalence))], "reference"))
    axes.curve(curve)
    return drawing(axes.width, axes.height, "Precision and recall", description, axes.parts)


def decision_plot(
    title: str,
    curve: list[tuple[float, float]],
    call_all: list[tuple[float, float]],
    highest: float,
    description: str,
    band: Sequence[tuple[float, float, float]] = (),
) -> str:
    """Return the decision curve as SVG.

    Args:
        title: The title of the drawing.
        curve: (Threshold probability, net benefit) of the model.
        call_all: The same of calling every study positive.
        highest: The largest net benefit that is possible, which is the prevalence; the vertical axis ends there.
        description: The alternative text.
        band: (Threshold probability, lower, upper limit of the net benefit); empty for no band. What lies outside the
            axes is cut.
    """
    top = highest or 1.0
    axes = Axes(_SIZE, _SIZE, "threshold probability", "net benefit", y_highest=top)

    def shown(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
        return [(x, max(y, 0.0) / top) for x, y in points]

    axes.band([(x, min(max(low, 0.0), top) / top, min(max(high, 0.0), top) / top) for x, low, high in band])
    axes.parts.append(polyline([(axes.x(x), axes.y(y)) for x, y in shown(call_all)], "reference"))
    axes.curve(shown(curve))
    return drawing(axes.width, axes.height, title, description, axes.parts)


def predictive_value_plot(ppv: list[Row], npv: list[Row], description: str) -> str:
    """Return PPV and NPV over the prevalence, on a logarithmic axis, as SVG.

    Args:
        ppv: Rows of `curves` in ascending prevalence.
        npv: The same of the NPV.
        description: The alternative text.
    """
    low, high = (math.log10(ends) for ends in (ppv[0]["x"], ppv[-1]["x"]))

    def x(prevalence: float) -> float:
        return (math.log10(prevalence) - low) / (high - low)

    ticks = [(x(tick), f"{100 * tick:g}") for tick in (0.001, 0.01, 0.1, 0.5) if low <= math.log10(tick) <= high]
    axes = Axes(_SIZE, _SIZE, "prevalence in %", "predictive value", x_ticks=ticks)
    for rows in (ppv, npv):
        axes.band([(x(row["x"]), row["ci_low"], row["ci_high"]) for row in rows if row["ci_low"] is not None])
    axes.parts.append(polyline([(axes.x(x(row["x"])), axes.y(row["y"])) for row in npv], "reference"))
    axes.curve([(x(row["x"]), row["y"]) for row in ppv])
    return drawing(axes.width, axes.height, "Predictive values by prevalence", description, axes.parts)


def scores_plot(title: str, pairs: Sequence[ScorePair], threshold: float | None, description: str) -> str:
    """Return the scores of one run against those of another as SVG.

    Args:
        title: The title of the drawing.
        pairs: How the scores lie.
        threshold: Where lines mark the threshold of both runs, or None.
        description: The alternative text.
    """
    axes = Axes(_SIZE, _SIZE, "score in the earlier run", "score in this run")
    axes.diagonal()
    if threshold is not None:
        x, y = axes.x(threshold), axes.y(threshold)
        axes.parts += [
            element("line", x1=x, x2=x, y1=axes.top, y2=axes.bottom, class_="reference"),
            element("line", x1=axes.left, x2=axes.right, y1=y, y2=y, class_="reference"),
        ]
    for pair in pairs:
        radius = min(2.5 + math.log2(pair.n), 9.0)
        axes.parts.append(
            element("circle", cx=axes.x(pair.first), cy=axes.y(pair.second), r=radius, class_="point model dense")
        )
    return drawing(axes.width, axes.height, title, description, axes.parts)


def calibration_plot(title: str, bins: list[Row], description: str) -> str:
    """Return the calibration diagram as SVG.

    Args:
        title: The title of the drawing.
        bins: The rows of table `calibration` that are not empty.
        description: The alternative text.
    """
    axes = Axes(_SIZE, _SIZE + _BARS, "mean score in the bin", "share with disease", below=_BARS)
    axes.diagonal()
    most = max(row["n"] for row in bins)
    for row in bins:
        left, right = axes.x(row["score_low"]), axes.x(row["score_high"])
        height = max(row["n"] / most * (_BARS - 22), 1)
        base = axes.height - 2
        axes.parts.append(
            element("rect", x=left + 0.5, y=base - height, width=right - left - 1, height=height, class_="bar")
        )
    for row in bins:
        x = axes.x(row["mean_score"])
        if row["ci_low"] is not None:
            low, high = axes.y(row["ci_low"]), axes.y(row["ci_high"])
            axes.parts.append(element("line", x1=x, x2=x, y1=low, y2=high, class_="error model"))
        axes.parts.append(element("circle", cx=x, cy=axes.y(row["observed"]), r=4, class_="point model"))
        y = max(axes.y(row["observed"]) - 6, axes.top + 14)
        axes.parts.append(element("text", str(row["n"]), x=min(x + 6, axes.right - 14), y=y, class_="small halo"))
    return drawing(axes.width, axes.height, title, f"{description} Numbers and bars: studies in the bin.", axes.parts)


def abstention_plot(curves: dict[str, list[tuple[float, float]]], description: str) -> str:
    """Return the diagram of error against the share of kept studies as SVG.

    Args:
        curves: Name → (share kept, error) of each point. The names of the two references end with a star.
        description: The alternative text.
    """
    top = max([y for points in curves.values() for _, y in points] + [0.01])
    axes = Axes(_SIZE, _SIZE, "share of studies kept", "share of wrong calls", y_highest=top)
    references = iter(("reference", "reference dotted"))
    for place, (name, points) in enumerate(curves.items()):
        class_ = next(references) if name.endswith("*") else f"curve dash-{place % _N_DASHES}"
        y = axes.top + 16 + 18 * place
        line = [(axes.x(kept), axes.y(error / top)) for kept, error in points]
        axes.parts += [polyline(line, class_), polyline([(axes.left + 10, y - 4), (axes.left + 40, y - 4)], class_)]
        axes.parts.append(element("text", name.rstrip("*"), x=axes.left + 46, y=y, class_="small halo"))
    return drawing(axes.width, axes.height, "Abstention", description, axes.parts)
