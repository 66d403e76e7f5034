"""The confusion matrix: calls against the reference standard."""

from collections.abc import Mapping

from diagchd_batch.report.figures.svg import drawing, element

_LEFT, _TOP, _WIDTH, _HEIGHT = 78.0, 44.0, 136.0, 74.0
_LABELS = (("positive", "diseased"), ("negative", "healthy"))
_CALLS = ("positive", "negative")


def confusion_matrix(counts: Mapping[tuple[str, str], int], description: str) -> str:
    """Return the confusion matrix as SVG.

    Args:
        counts: (Reference label, call) → number of studies. A pair that is absent counts 0.
        description: The alternative text.
    """
    parts = [element("text", "called", x=_LEFT + _WIDTH, y=14, text_anchor="middle", class_="strong")]
    for column, call in enumerate(_CALLS):
        parts.append(element("text", call, x=_LEFT + _WIDTH * (column + 0.5), y=34, text_anchor="middle"))
    for line, (label, name) in enumerate(_LABELS):
        y = _TOP + _HEIGHT * line
        total = sum(counts.get((label, call), 0) for call in _CALLS)
        parts += [
            element("text", name, x=0, y=y + _HEIGHT / 2, class_="strong"),
            element("text", f"n {total:,}", x=0, y=y + _HEIGHT / 2 + 18),
        ]
        for column, call in enumerate(_CALLS):
            n = counts.get((label, call), 0)
            share = n / total if total else 0.0
            x = _LEFT + _WIDTH * column
            style = "cell" if label == call else "cell wrong"
            middle = x + _WIDTH / 2
            parts += [
                element(
                    "rect",
                    x=x,
                    y=y,
                    width=_WIDTH - 3,
                    height=_HEIGHT - 3,
                    rx=4,
                    class_=style,
                    fill_opacity=0.08 + 0.45 * share,
                ),
                element("text", f"{n:,}", x=middle, y=y + 34, text_anchor="middle", class_="large"),
                element("text", f"{100 * share:.0f} %" if total else "", x=middle, y=y + 56, text_anchor="middle"),
            ]
    return drawing(_LEFT + 2 * _WIDTH, _TOP + 2 * _HEIGHT, "Confusion matrix", description, parts)
