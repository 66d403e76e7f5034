"""The flow of studies, as STARD draws it: the way to the analysis down, what leaves it to the right."""

from diagchd_batch.report.figures.svg import drawing, element

_WIDTH, _BOX, _SIDE, _HEIGHT = 640.0, 270.0, 270.0, 48.0


def flow_diagram(first: tuple[str, str], leaving: list[tuple[str, str]], last: tuple[str, str]) -> str:
    """Each a (name, counts) pair; `leaving` in the order in which studies leave."""
    parts = _box(0, 0, _BOX, *first, "box")
    y = _HEIGHT
    middle = _BOX / 2
    for name, counts in leaving:
        place = y + 14
        parts += [
            element(
                "line", x1=middle, x2=_WIDTH - _SIDE, y1=place + _HEIGHT / 2, y2=place + _HEIGHT / 2, class_="arrow"
            ),
            *_box(_WIDTH - _SIDE, place, _SIDE, name, counts, "box out"),
        ]
        y += 62
    end = y + 28
    parts.insert(0, element("line", x1=middle, x2=middle, y1=_HEIGHT, y2=end, class_="arrow"))
    parts += [
        element(
            "polygon", points=f"{middle - 5:g},{end - 8:g} {middle + 5:g},{end - 8:g} {middle:g},{end:g}", class_="head"
        ),
        *_box(0, end, _BOX, *last, "box strong"),
    ]
    description = "; ".join(f"{name}: {counts}" for name, counts in (first, *leaving, last))
    return drawing(_WIDTH, end + _HEIGHT + 2, "Flow of studies", description, parts)


def _box(x: float, y: float, width: float, name: str, counts: str, style: str) -> list[str]:
    return [
        element("rect", x=x + 1, y=y + 1, width=width - 2, height=_HEIGHT - 2, rx=5, class_=style),
        element("text", name, x=x + 12, y=y + 20, class_="strong"),
        element("text", counts, x=x + 12, y=y + 38),
    ]
