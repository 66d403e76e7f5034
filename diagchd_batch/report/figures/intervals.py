"""Values from 0 to 1, one a line: forest plots with intervals, and box plots of distributions."""

from collections.abc import Sequence
from dataclasses import dataclass

from diagchd_batch.report.figures.svg import drawing, element

_WIDTH, _LEFT, _RIGHT, _LINE = 640.0, 250.0, 620.0, 26.0


@dataclass(frozen=True)
class Line:
    """`inner` None: a point with its interval; else the quartiles of a box, `low` and `high` its ends."""

    label: str
    value: float
    low: float | None
    high: float | None
    inner: tuple[float, float] | None = None


def interval_plot(title: str, description: str, lines: Sequence[Line], marked: float | None = None) -> str:
    """`marked`: a vertical line, such as the value of all units together."""
    bottom = _LINE * len(lines) + 8
    parts = []
    for tick in (0, 0.25, 0.5, 0.75, 1):
        parts += [
            element("line", x1=_x(tick), x2=_x(tick), y1=0, y2=bottom, class_="grid"),
            element("text", f"{tick:g}", x=_x(tick), y=bottom + 16, text_anchor="middle"),
        ]
    if marked is not None:
        parts.append(element("line", x1=_x(marked), x2=_x(marked), y1=0, y2=bottom, class_="reference"))
    for place, line in enumerate(lines):
        y = _LINE * place + 18
        parts.append(element("text", line.label, x=0, y=y + 4))
        if line.low is not None and line.high is not None:
            parts.append(element("line", x1=_x(line.low), x2=_x(line.high), y1=y, y2=y, class_="error model"))
        if line.inner:
            low, high = map(_x, line.inner)
            parts.append(element("rect", x=low, y=y - 7, width=max(high - low, 1), height=14, class_="quartiles"))
            parts.append(element("line", x1=_x(line.value), x2=_x(line.value), y1=y - 7, y2=y + 7, class_="median"))
        else:
            parts.append(element("circle", cx=_x(line.value), cy=y, r=4, class_="point model"))
    return drawing(_WIDTH, bottom + 22, title, description, parts)


def _x(value: float) -> float:
    return _LEFT + value * (_RIGHT - _LEFT)
