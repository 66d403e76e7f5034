"""Plots of several values on one scale: forest plots with intervals, and box plots of distributions."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from diagchd_batch.report.figures.svg import drawing, element

_WIDTH, _LEFT, _RIGHT, _LINE, _HEADING = 400.0, 8.0, 388.0, 36.0, 24.0
_MOST_TICKS = 8


@dataclass(frozen=True)
class Line:
    """A line of the plot: a point with its interval, or a box.

    Attributes:
        label: Text above the line.
        value: The point, or the median of a box.
        low: The lower limit of the interval, or the minimum of a box.
        high: The upper limit of the interval, or the maximum of a box.
        inner: The quartiles of a box, or None for a point.
        heading: Text above the first line of a group.
        numbers: The value and its limits as text, at the end of the line.
    """

    label: str
    value: float
    low: float | None
    high: float | None
    inner: tuple[float, float] | None = None
    heading: str | None = None
    numbers: str = ""


def interval_plot(
    title: str, description: str, lines: Sequence[Line], marked: float | None = None, *, whole_scale: bool = True
) -> str:
    """Return the plot as SVG.

    Args:
        title: The title of the drawing.
        description: Its alternative text.
        lines: The lines, from the top.
        marked: Where to draw a vertical line, for example at the value of all units.
        whole_scale: The axis runs from 0 to 1. Otherwise it covers the values that occur.
    """
    ticks = [0, 0.25, 0.5, 0.75, 1] if whole_scale else _ticks(lines)
    low, high = ticks[0], ticks[-1]

    def x(value: float) -> float:
        return _LEFT + (value - low) / (high - low) * (_RIGHT - _LEFT)

    bottom = _LINE * len(lines) + _HEADING * sum(line.heading is not None for line in lines) + 6
    parts = []
    for tick in ticks:
        anchor = "start" if tick == low else "end" if tick == high else "middle"
        parts += [
            element("line", x1=x(tick), x2=x(tick), y1=0, y2=bottom, class_="grid"),
            element("text", f"{tick:.4g}", x=x(tick), y=bottom + 16, text_anchor=anchor),
        ]
    if marked is not None:
        parts.append(element("line", x1=x(marked), x2=x(marked), y1=0, y2=bottom, class_="reference"))
    y = 0.0
    for line in lines:
        if line.heading is not None:
            parts.append(element("text", line.heading, x=_LEFT, y=y + 18, class_="strong halo"))
            y += _HEADING
        parts.append(element("text", line.label, x=_LEFT, y=y + 15, class_="halo"))
        if line.numbers:
            parts.append(element("text", line.numbers, x=_RIGHT, y=y + 15, text_anchor="end", class_="halo"))
        middle = y + 25
        if line.low is not None and line.high is not None:
            parts.append(element("line", x1=x(line.low), x2=x(line.high), y1=middle, y2=middle, class_="error model"))
        if line.inner:
            start, end = map(x, line.inner)
            width = max(end - start, 1)
            parts.append(element("rect", x=start, y=middle - 6, width=width, height=12, class_="quartiles"))
            parts.append(
                element("line", x1=x(line.value), x2=x(line.value), y1=middle - 6, y2=middle + 6, class_="median")
            )
        else:
            parts.append(element("circle", cx=x(line.value), cy=middle, r=4, class_="point model"))
        y += _LINE
    return drawing(_WIDTH, bottom + 22, title, description, parts)


def _ticks(lines: Sequence[Line]) -> list[float]:
    """Return four to nine round numbers whose range holds all values."""
    ends = [end for line in lines for end in (line.low, line.high, line.value) if end is not None]
    width = max(max(ends) - min(ends), 1e-3)
    decade = 10.0 ** math.floor(math.log10(width))
    step = next(decade * part for part in (0.2, 0.5, 1.0, 2.0) if width / (decade * part) <= _MOST_TICKS - 2)
    first, last = math.floor(min(ends) / step + 1e-9), math.ceil(max(ends) / step - 1e-9)
    return [place * step for place in range(first, max(last, first + 1) + 1)]
