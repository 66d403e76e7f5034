"""Agreement of every rater with every other."""

from diagchd_batch.report.figures.svg import drawing, element

_CELL, _LABEL = 46.0, 150.0


def agreement_matrix(names: list[str], values: dict[tuple[str, str], float], description: str) -> str:
    """`values` by pair, in either order; a pair without one stays empty. Raters are numbered along the top."""
    parts = []
    for row, name in enumerate(names):
        y = 26 + _CELL * row
        parts.append(element("text", f"{row + 1}  {name}", x=0, y=y + _CELL / 2 + 4))
        x = _LABEL + _CELL * row
        parts.append(element("text", str(row + 1), x=x + _CELL / 2, y=16, text_anchor="middle"))
        for column, other in enumerate(names):
            value = values.get((name, other), values.get((other, name)))
            x = _LABEL + _CELL * column
            opacity = 0.0 if value is None else 0.6 * max(value, 0.0)
            parts.append(
                element("rect", x=x, y=y, width=_CELL - 2, height=_CELL - 2, class_="cell", fill_opacity=opacity)
            )
            if value is not None:
                place = {"x": x + _CELL / 2 - 1, "y": y + _CELL / 2 + 3, "text_anchor": "middle"}
                parts.append(element("text", f"{value:.2f}", **place))
    size = _CELL * len(names)
    return drawing(_LABEL + size, 26 + size, "Agreement matrix", description, parts)
