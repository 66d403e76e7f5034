"""The learning curves of one fold: a figure over the epochs of all stages, with the chosen epochs marked."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from diagchd_batch.report.figures.svg import drawing, element, polyline

_WIDTH, _HEIGHT = 420.0, 270.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 64.0, _WIDTH - 12, 40.0, _HEIGHT - 62
_TICKS = 5
_Scale = Callable[[float], float]


@dataclass(frozen=True)
class LearningCurve:
    """One curve.

    Attributes:
        kind: ``training`` or ``validation``.
        values: One value an epoch; None where the stage does not give it.
    """

    kind: str
    values: Sequence[float | None]


@dataclass(frozen=True)
class StageSpan:
    """The epochs of one stage.

    Attributes:
        name: The stage's name.
        first: Number of its first epoch among those of all stages, from 0.
        chosen: Number of the epoch whose weights were taken, counted in the same way.
    """

    name: str
    first: int
    chosen: int


def learning_curves_plot(
    title: str,
    y_label: str,
    curves: Sequence[LearningCurve],
    stages: Sequence[StageSpan],
    limits: tuple[float, float],
    description: str,
) -> str:
    """Return the curves as SVG.

    Args:
        title: Title of the drawing, which names the fold and the figure.
        y_label: Name of the vertical axis.
        curves: The curves, of one length of at least 1.
        stages: The stages in their order.
        limits: Lowest and highest value of the vertical axis.
        description: The alternative text.
    """
    n_epochs = max(len(curve.values) for curve in curves)
    low, high = limits

    def x(epoch: float) -> float:
        return _LEFT + (epoch + 0.5) / n_epochs * (_RIGHT - _LEFT)

    def y(value: float) -> float:
        return _BOTTOM - (value - low) / (high - low or 1.0) * (_BOTTOM - _TOP)

    parts = []
    for tick in _ticks(low, high):
        parts.append(element("line", x1=_LEFT, x2=_RIGHT, y1=y(tick), y2=y(tick), class_="grid"))
        parts.append(element("text", f"{tick:g}", x=_LEFT - 6, y=y(tick) + 4, text_anchor="end"))
    for epoch in range(0, n_epochs, max(1, -(-n_epochs // 10))):
        parts.append(element("text", str(epoch + 1), x=x(epoch), y=_BOTTOM + 16, text_anchor="middle"))
    for number, stage in enumerate(stages):
        left = x(stage.first - 0.5)
        parts.append(element("line", x1=left, x2=left, y1=_TOP, y2=_BOTTOM, class_="reference"))
        parts.append(element("text", stage.name, x=left + 2, y=_TOP - 6 - 14 * (number % 2), class_="small"))
    for curve in curves:
        for points in _pieces(curve.values, [stage.first for stage in stages], x, y):
            parts.append(polyline(points, f"curve {curve.kind}"))
            if len(points) == 1:
                parts.append(
                    element("circle", cx=points[0][0], cy=points[0][1], r=2.5, class_=f"point {_MARK[curve.kind]}")
                )
    parts += _chosen_marks(curves, stages, x, y)
    parts += [
        element("text", "epoch", x=(_LEFT + _RIGHT) / 2, y=_BOTTOM + 34, text_anchor="middle"),
        element("text", y_label, transform=f"translate(13 {(_TOP + _BOTTOM) / 2:g}) rotate(-90)", text_anchor="middle"),
        *_legend(curves),
    ]
    return drawing(_WIDTH, _HEIGHT, title, description, parts)


_MARK = {"training": "model", "validation": "reader"}
"""Kind of a curve -> the class of its marks."""


def _chosen_marks(curves: Sequence[LearningCurve], stages: Sequence[StageSpan], x: _Scale, y: _Scale) -> list[str]:
    """Mark the chosen epochs on the curve of the validation part, or on the other one if there is none."""
    curve = sorted(curves, key=lambda curve: curve.kind == "training")[0]
    marks = []
    for stage in stages:
        value = curve.values[stage.chosen]
        if value is not None:
            title = element("title", f"{stage.name}: epoch {stage.chosen - stage.first + 1} of the stage was chosen")
            place = f'cx="{x(stage.chosen):.2f}" cy="{y(value):.2f}"'
            marks.append(f'<circle {place} r="5.5" class="point {_MARK[curve.kind]}">{title}</circle>')
    return marks


def _legend(curves: Sequence[LearningCurve]) -> list[str]:
    parts, left, base = [], _LEFT, _HEIGHT - 8
    for curve in curves:
        parts.append(polyline([(left, base - 4), (left + 26, base - 4)], f"curve {curve.kind}"))
        parts.append(element("text", curve.kind, x=left + 32, y=base))
        left += 110
    kind = _MARK[sorted(curves, key=lambda curve: curve.kind == "training")[0].kind]
    parts.append(element("circle", cx=left + 8, cy=base - 4, r=5.5, class_=f"point {kind}"))
    return [*parts, element("text", "chosen epoch", x=left + 20, y=base)]


def _pieces(
    values: Sequence[float | None], firsts: Sequence[int], x: _Scale, y: _Scale
) -> list[list[tuple[float, float]]]:
    """Return the parts of a curve between epochs without a value, and between stages, whose figures differ."""
    pieces: list[list[tuple[float, float]]] = [[]]
    for epoch, value in enumerate(values):
        if value is None or epoch in firsts:
            pieces.append([])
        if value is not None:
            pieces[-1].append((x(epoch), y(value)))
    return [piece for piece in pieces if piece]


def _ticks(low: float, high: float) -> list[float]:
    """Return about five round numbers from `low` to `high`."""
    span = high - low or 1.0
    size = 10.0 ** math.floor(math.log10(span / _TICKS))
    step = next(size * factor for factor in (1, 2, 2.5, 5, 10) if span / (size * factor) <= _TICKS)
    first = math.ceil(low / step - 1e-9)
    return [round(step * number, 10) for number in range(first, math.floor(high / step + 1e-9) + 1)]
