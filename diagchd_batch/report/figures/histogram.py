"""The histogram of study scores."""

from collections.abc import Sequence

from diagchd_batch.report.figures.svg import CHARACTER_WIDTH, drawing, element

_WIDTH, _HEIGHT = 640.0, 266.0
_RIGHT, _TOP, _BOTTOM = 622.0, 24.0, 214.0
_TEXT_ON_PHONES = 20.0
"""Size of the text on a phone in px of the drawing. The places of numbers and titles leave room for it."""


def histogram(title: str, counts: Sequence[int], description: str, threshold: float | None) -> str:
    """Return a histogram over [0, 1] as SVG.

    Args:
        title: The title of the drawing.
        counts: The number of studies in each bin; the bins are of equal width.
        description: The alternative text.
        threshold: Where a vertical line marks the scores that are called CHD, or None.
    """
    highest = _round_up(max([*counts, 1]))
    left = 32 + len(f"{highest:,}") * CHARACTER_WIDTH * _TEXT_ON_PHONES
    parts = []
    for share in (0, 0.25, 0.5, 0.75, 1):
        x = left + share * (_RIGHT - left)
        parts.append(element("text", f"{share:g}", x=x, y=_BOTTOM + 18, text_anchor="middle"))
    for tick in sorted({0, highest // 2, highest}):
        y = _BOTTOM - tick / highest * (_BOTTOM - _TOP)
        parts += [
            element("line", x1=left, x2=_RIGHT, y1=y, y2=y, class_="grid"),
            element("text", f"{tick:,}", x=left - 6, y=y + 4, text_anchor="end"),
        ]
    width = (_RIGHT - left) / len(counts)
    for place, n in enumerate(counts):
        height = n / highest * (_BOTTOM - _TOP)
        if n:
            x, y = left + place * width, _BOTTOM - max(height, 1)
            parts.append(element("rect", x=x + 0.5, y=y, width=width - 1, height=max(height, 1), class_="bar"))
    if threshold is not None:
        x = left + threshold * (_RIGHT - left)
        anchor, away = ("start", 6) if threshold <= 0.5 else ("end", -6)
        parts += [
            element("line", x1=x, x2=x, y1=_TOP - 16, y2=_BOTTOM, class_="reference"),
            element("text", f"called CHD from {threshold:g} on", x=x + away, y=_TOP - 8, text_anchor=anchor),
        ]
    middle = (_TOP + _BOTTOM) / 2
    parts += [
        element("text", "score of the study", x=(left + _RIGHT) / 2, y=_HEIGHT - 8, text_anchor="middle"),
        element("text", "studies", transform=f"translate(16 {middle:g}) rotate(-90)", text_anchor="middle"),
    ]
    return drawing(_WIDTH, _HEIGHT, title, description, parts, fits_phones=True)


def _round_up(highest: int) -> int:
    """Return the next round number: 1, 2, 4, 6, 8 or 10 times a power of ten, and at least 2."""
    decade = 10 ** (len(str(highest)) - 1)
    return max(2, next(step * decade for step in (1, 2, 4, 6, 8, 10) if step * decade >= highest))
