"""What a report is made of: sections of tables and figures. The template knows nothing else."""

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Table:
    """`caption` says the definition and n; cells are text, as they are shown."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Figure:
    """`svg` is inline SVG with its own <title> and <desc>; `caption` says the definition and n."""

    caption: str
    svg: str


@dataclass(frozen=True)
class Section:
    """`left_out` says why a part is not there, where it is not."""

    key: str
    title: str
    introduction: str = ""
    figures: Sequence[Figure] = ()
    tables: Sequence[Table] = ()
    left_out: Sequence[str] = field(default_factory=tuple)
