"""A matrix of the agreement between every two raters."""

from collections.abc import Mapping

from diagchd_batch.report.figures.svg import drawing, element

_CELL, _LABEL, _TOP = 44.0, 56.0, 24.0


def agreement_matrix(names: Mapping[str, str], values: Mapping[tuple[str, str], float], description: str) -> str:
    """Return the matrix as SVG.

    Args:
        names: Rater → name in the figure, in the order of rows and columns.
        values: (Rater, rater) → agreement, at most 1. Each pair is given once, in either order.
        description: The alternative text.
    """
    parts = []
    for line, (name, shown) in enumerate(names.items()):
        y = _TOP + _CELL * line
        parts.append(element("text", shown, x=0, y=y + _CELL / 2 + 4))
        middle = _LABEL + _CELL * line + _CELL / 2 - 1
        parts.append(element("text", shown, x=middle, y=16, text_anchor="middle", class_="small"))
        for column, other in enumerate(names):
            value = values.get((name, other), values.get((other, name)))
            x = _LABEL + _CELL * column
            opacity = 0.0 if value is None else 0.6 * max(value, 0.0)
            parts.append(
                element("rect", x=x, y=y, width=_CELL - 2, height=_CELL - 2, class_="cell", fill_opacity=opacity)
            )
            if value is not None:
                text = f"{value:.2f}".replace("-", "\N{MINUS SIGN}")
                parts.append(element("text", text, x=x + _CELL / 2 - 1, y=y + _CELL / 2 + 3, text_anchor="middle"))
    size = _CELL * len(names)
    return drawing(_LABEL + size, _TOP + size, "Agreement matrix", description, parts)
