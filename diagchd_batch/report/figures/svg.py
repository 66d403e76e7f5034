"""Builds the SVG elements that the figures need."""

import itertools
import math
import re
from collections.abc import Sequence
from html import escape


def element(name: str, text: str | None = None, **attributes: str | float) -> str:
    """Return an SVG element.

    Args:
        name: The tag.
        text: Its content, which is escaped; None for an element without content.
        **attributes: Its attributes. ``class_`` becomes class and ``text_anchor`` text-anchor. Numbers are rounded to
            0.01 px.
    """
    given = "".join(f' {key.rstrip("_").replace("_", "-")}="{_value(value)}"' for key, value in attributes.items())
    return f"<{name}{given}/>" if text is None else f"<{name}{given}>{escape(text)}</{name}>"


def drawing(
    width: float, height: float, title: str, description: str, parts: list[str], *, fits_phones: bool = False
) -> str:
    """Return a whole figure with its alternative text. It shrinks while its text stays legible, and it never grows.

    Args:
        width: Width in px.
        height: Height in px.
        title: The figure's name, from which the ids of its elements are made.
        description: The alternative text.
        parts: The elements.
        fits_phones: The figure leaves room for the larger text that it has on a phone, so it may shrink further.
    """
    smallest = _LEGIBLE_ON_PHONES if fits_phones else _LEGIBLE
    class_ = ' class="phone"' if fits_phones else ""
    key = "figure-" + re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
    return (
        f'<svg{class_} viewBox="0 0 {width:g} {height:g}" '
        f'style="max-width:{width:g}px;min-width:{smallest * width:.0f}px" '
        f'role="img" aria-labelledby="{key}-title {key}-description">'
        f'<title id="{key}-title">{escape(title)}</title><desc id="{key}-description">{escape(description)}</desc>'
        + "".join(parts)
        + "</svg>"
    )


_LEGIBLE = 0.8  # smallest scale of a figure; text of 13 px becomes 10.4 px
_LEGIBLE_ON_PHONES = 0.53  # text has 20 px there (`svg.phone` in the style sheet) and becomes 10.6 px

CHARACTER_WIDTH = 0.6
"""Width of a digit over the size of the text, in the widest of the usual sans-serif fonts."""


def polyline(points: list[tuple[float, float]], class_: str) -> str:
    """Return a line through points.

    Args:
        points: (x, y) in px.
        class_: The CSS class.
    """
    return element("polyline", points=" ".join(f"{x:.2f},{y:.2f}" for x, y in points), class_=class_)


_SHARES = tuple((tick, f"{tick:g}") for tick in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0))


class Axes:
    """A plot area whose axes both run from 0 to 1. `x` and `y` convert values to pixels.

    Args:
        width: Width of the drawing in px.
        height: Height of the drawing in px.
        x_label: Name of the horizontal axis.
        y_label: Name of the vertical axis.
        below: Height in px that is left free below the plot area and its labels.
        y_highest: The number that is written at the top of the vertical axis, if it is not 1.
        x_ticks: Place from 0 to 1 and text of each tick of the horizontal axis, if its ends are not 0 and 1.
    """

    def __init__(
        self,
        width: float,
        height: float,
        x_label: str,
        y_label: str,
        *,
        below: float = 0.0,
        y_highest: float = 1.0,
        x_ticks: Sequence[tuple[float, str]] = _SHARES,
    ) -> None:
        self.width, self.height = width, height
        ticks = _round_ticks(y_highest)
        longest = max(len(f"{tick:g}") for tick in ticks)
        self.left, self.right, self.top, self.bottom = (
            max(50.0, _left_of(longest)),
            width - 12,
            10.0,
            height - below - 46,
        )
        self.parts: list[str] = []
        for place, text in x_ticks:
            x = self.x(place)
            self.parts += [
                element("line", x1=x, x2=x, y1=self.top, y2=self.bottom, class_="grid"),
                element("text", text, x=x, y=self.bottom + 16, text_anchor="middle"),
            ]
        for tick in ticks:
            y = self.y(tick / y_highest)
            self.parts += [
                element("line", x1=self.left, x2=self.right, y1=y, y2=y, class_="grid"),
                element("text", f"{tick:g}", x=self.left - 6, y=y + 4, text_anchor="end"),
            ]
        middle = (self.top + self.bottom) / 2
        self.parts += [
            element("text", x_label, x=(self.left + self.right) / 2, y=height - below - 8, text_anchor="middle"),
            element("text", y_label, transform=f"translate(13 {middle:g}) rotate(-90)", text_anchor="middle"),
        ]

    def x(self, value: float) -> float:
        """Return the horizontal place in px of a value in [0, 1]."""
        return self.left + value * (self.right - self.left)

    def y(self, value: float) -> float:
        """Return the vertical place in px of a value in [0, 1]."""
        return self.bottom - value * (self.bottom - self.top)

    def diagonal(self) -> None:
        """Draw the diagonal from (0, 0) to (1, 1)."""
        self.parts.append(polyline([(self.x(0), self.y(0)), (self.x(1), self.y(1))], "reference"))

    def band(self, limits: Sequence[tuple[float, float, float]]) -> None:
        """Fill the area between lower and upper limits, given as (x, lower, upper) in ascending x."""
        if limits:
            upper = [(self.x(x), self.y(high)) for x, _, high in limits]
            lower = [(self.x(x), self.y(low)) for x, low, _ in reversed(limits)]
            corners = [(round(x, 1), round(y, 1)) for x, y in upper + lower]
            shown = " ".join(f"{x:g},{y:g}" for (x, y), _ in itertools.groupby(corners))
            self.parts.append(element("polygon", points=shown, class_="band"))

    def curve(self, points: list[tuple[float, float]]) -> None:
        """Draw a curve. Neighbouring points on one pixel are drawn once, so a million thresholds give a small file."""
        pixels = [(round(self.x(x), 1), round(self.y(y), 1)) for x, y in points]
        self.parts.append(polyline([point for point, _ in itertools.groupby(pixels)], "curve"))


def _left_of(n_characters: int) -> float:
    """Return the place in px of a vertical axis whose numbers leave room for the axis title beside them."""
    return 18 + n_characters * CHARACTER_WIDTH * 13 + 6


def _round_ticks(highest: float) -> list[float]:
    """Return five to eleven round numbers from 0 to at most `highest`, in steps of 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(highest / 4))
    step = next(power * factor for factor in (5, 2, 1) if highest >= 4 * power * factor * (1 - 1e-9))
    return [round(n * step, 12) for n in range(int(highest / step * (1 + 1e-9)) + 1)]


def _value(value: str | float) -> str:
    return escape(value) if isinstance(value, str) else f"{value:.2f}".rstrip("0").rstrip(".")
