"""The flow of studies as STARD draws it: from plan to analysis downwards, studies that leave to the right."""

from collections.abc import Sequence
from dataclasses import dataclass

from diagchd_batch.report.figures.svg import drawing, element

_WIDTH, _INDENT, _SPINE = 400.0, 70.0, 28.0
_LINE, _GAP = 18.0, 16.0


@dataclass(frozen=True)
class Step:
    """A box of the diagram: its name, its counts, and the reasons that make up the counts."""

    name: str
    counts: str
    reasons: Sequence[str] = ()


def flow_diagram(first: Step, leaving: Sequence[Step], last: Step) -> str:
    """Return the flow of studies as SVG.

    Args:
        first: The step at the top.
        leaving: The steps at which studies leave, in their order.
        last: The step at the bottom.
    """
    boxes, height = _box(0, 0, first, "box")
    y = height
    arrows = []
    for step in leaving:
        y += _GAP
        parts, height = _box(_INDENT, y, step, "box out")
        middle = y + height / 2
        arrows += [
            element("line", x1=_SPINE, x2=_INDENT - 7, y1=middle, y2=middle, class_="arrow"),
            _head(_INDENT, middle),
        ]
        boxes += parts
        y += height
    end = y + 2 * _GAP
    top = _box(0, 0, first, "box")[1]
    arrows.insert(0, element("line", x1=_SPINE, x2=_SPINE, y1=top, y2=end - 7, class_="arrow"))
    corners = f"{_SPINE - 5:g},{end - 8:g} {_SPINE + 5:g},{end - 8:g} {_SPINE:g},{end:g}"
    arrows.append(element("polygon", points=corners, class_="head"))
    parts, height = _box(0, end, last, "box strong")
    steps = (first, *leaving, last)
    description = "; ".join(", ".join((f"{step.name}: {step.counts}", *step.reasons)) for step in steps)
    return drawing(_WIDTH, end + height + 2, "Flow of studies", description, [*arrows, *boxes, *parts])


def _box(x: float, y: float, step: Step, style: str) -> tuple[list[str], float]:
    lines = (step.counts, *step.reasons)
    height = 34 + _LINE * len(lines)
    parts = [
        element("rect", x=x + 1, y=y + 1, width=_WIDTH - x - 2, height=height - 2, rx=5, class_=style),
        element("text", step.name, x=x + 12, y=y + 22, class_="strong"),
    ]
    for place, line in enumerate(lines, start=1):
        parts.append(element("text", line, x=x + 12, y=y + 22 + _LINE * place))
    return parts, height


def _head(x: float, y: float) -> str:
    return element("polygon", points=f"{x - 8:g},{y - 5:g} {x - 8:g},{y + 5:g} {x:g},{y:g}", class_="head")
