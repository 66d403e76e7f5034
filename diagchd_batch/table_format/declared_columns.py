"""What a column of a table is: its name, its type and its meaning, declared once.

Arrow schemas, the documentation and the view `columns` of `query` follow from the declarations. A schema carries each
column's meaning as metadata of its field, so that every file says what its columns mean.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

import pyarrow as pa

DESCRIPTION = b"description"
UNIT = b"unit"
RANGE = b"range"
NULL_WHEN = b"null_when"
SINCE = b"since_schema_version"


@dataclass(frozen=True)
class DeclaredColumn:
    """One column of a table.

    Args:
        name: The column's name.
        type: The Arrow type.
        description: What a value means, in one line.
        nullable: Whether the Arrow schema permits nulls.
        unit: The unit of a number, or nothing if it has none.
        minimum: The least value, or None.
        maximum: The greatest value, or None.
        values: All values that a column of words can have, or nothing if any text can occur.
        null_when: In which rows there is no value; empty if every row has one.
        since: The schema version that brought the column.
    """

    name: str
    type: pa.DataType
    description: str
    nullable: bool = field(default=True, kw_only=True)
    unit: str = field(default="", kw_only=True)
    minimum: float | None = field(default=None, kw_only=True)
    maximum: float | None = field(default=None, kw_only=True)
    values: tuple[str, ...] = field(default=(), kw_only=True)
    null_when: str = field(default="", kw_only=True)
    since: int = field(default=1, kw_only=True)

    @property
    def rows_without_value(self) -> str:
        """In which rows the column is null; empty if in none."""
        return self.null_when

    @property
    def range(self) -> str:
        """Which values can occur, or nothing if the type says it all."""
        if self.values:
            return ", ".join(self.values)
        if self.minimum is None or self.maximum is None:
            return "" if self.minimum is None else f"{self.minimum:g} or more"
        return f"{self.minimum:g} to {self.maximum:g}"

    @property
    def field(self) -> pa.Field:
        """The Arrow field. Its metadata have the description and, where there is one, unit, range and so on."""
        texts = {
            DESCRIPTION: self.description,
            UNIT: self.unit,
            RANGE: self.range,
            NULL_WHEN: self.rows_without_value,
            SINCE: "" if self.since == 1 else str(self.since),
        }
        metadata = {key: text.encode() for key, text in texts.items() if text}
        return pa.field(self.name, self.type, nullable=self.nullable, metadata=metadata)


def arrow_schema(columns: Iterable[DeclaredColumn]) -> pa.Schema:
    """Return the Arrow schema of a table with these columns."""
    return pa.schema([column.field for column in columns])
