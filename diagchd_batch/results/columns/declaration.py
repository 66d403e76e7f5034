"""What the declaration of a column says, and the Arrow schema and Parquet settings that follow from it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import pyarrow as pa

from diagchd_batch.table_format.declared_columns import DeclaredColumn, arrow_schema

__all__ = ["Column", "Presence", "StoredMasks", "arrow_schema", "parquet_options"]


_ROWS_PER_PAGE = 20_000
"""The largest number of rows in one page of a Parquet file."""


class Presence(StrEnum):
    """The rows in which a column has a value. `verify` holds every row to it."""

    ALWAYS = "every row"
    SCORED = "scored rows"
    OPENED = "scored rows, and failed rows whose file could be opened"
    FAILED = "failed rows"
    WITH_REFERENCE = "scored rows with a planned reference mask"
    USABLE_REFERENCE = "scored rows with a usable reference mask"
    WHERE_KNOWN = "rows where it is known"


_NULL_WHEN = {
    Presence.ALWAYS: "",
    Presence.SCORED: "failed rows",
    Presence.OPENED: "failed rows whose file could not be opened",
    Presence.FAILED: "scored rows",
    Presence.WITH_REFERENCE: "failed rows, and rows without a planned reference mask",
    Presence.USABLE_REFERENCE: "failed rows, and rows without a usable reference mask",
    Presence.WHERE_KNOWN: "rows where it is not known",
}


@dataclass(frozen=True)
class StoredMasks:
    """The masks of one row as they were read back: uint8 class numbers [height, width] on the model's grid.

    `reference` is None where the row has no usable reference mask.
    """

    predicted: np.ndarray
    reference: np.ndarray | None


@dataclass(frozen=True)
class Column(DeclaredColumn):
    """One column of a table that `verify` checks. `DeclaredColumn` has the arguments that every table's columns have.

    A column that is younger than schema version 1 must be nullable, because older tables are read as if it were there
    and null.

    Args:
        presence: The rows in which the column has a value.
        repeats: Whether few distinct values are expected, so that Parquet stores them in a dictionary. Lists always
            are.
        compressed: Whether Parquet compresses the column and keeps minimum and maximum. PNG files gain nothing.
        looked_up: Whether people look for rows by single values of it, so that Parquet keeps a Bloom filter.
        recount: Computes the value again from the stored masks, for columns where that is possible.
        version_1_type: The Arrow type that files of schema version 1 state, or None where it is `type`.
    """

    presence: Presence = Presence.SCORED
    repeats: bool = False
    compressed: bool = True
    looked_up: bool = False
    recount: Callable[[StoredMasks], int | None] | None = None
    version_1_type: pa.DataType | None = None

    @property
    def rows_without_value(self) -> str:
        """In which rows the column is null; empty if in none."""
        return self.null_when or _NULL_WHEN[self.presence]

    @property
    def parquet_path(self) -> str:
        """The name that Parquet gives to the column's values."""
        return f"{self.name}.list.element" if pa.types.is_list(self.type) else self.name

    @property
    def in_dictionary(self) -> bool:
        """Whether Parquet stores the values in a dictionary."""
        return self.repeats or pa.types.is_list(self.type)

    def range_problem(self, value: Any) -> str | None:
        """Return why a value is out of range, or None. Not-a-number is out of every range."""
        if self.minimum is not None and not value >= self.minimum:
            return f"{self.name} is {value}, less than {self.minimum:g}"
        if self.maximum is not None and not value <= self.maximum:
            return f"{self.name} is {value}, more than {self.maximum:g}"
        if self.values and value not in self.values:
            return f"{self.name} is {value}, which is none of {', '.join(self.values)}"
        return None


def parquet_options(columns: Sequence[Column], rows_per_group: int) -> dict[str, Any]:
    """Return the settings of `pyarrow.parquet.ParquetWriter` for a table with these columns.

    Page checksums let a reader notice damaged bytes. Bloom filters and the page index let engines that know them skip
    row groups and pages without the value that is looked for. Row groups of a single page need no page index, and it
    would lengthen the footer.

    Args:
        columns: The table's columns.
        rows_per_group: The rows of a row group, for which the Bloom filters are sized.
    """
    bloom_filter = {"ndv": rows_per_group, "fpp": 0.05}
    return {
        "compression": {column.parquet_path: "zstd" if column.compressed else "none" for column in columns},
        "use_dictionary": [column.parquet_path for column in columns if column.in_dictionary],
        "write_statistics": [column.parquet_path for column in columns if column.compressed],
        "bloom_filter_options": {column.parquet_path: bloom_filter for column in columns if column.looked_up},
        "write_page_index": rows_per_group > _ROWS_PER_PAGE,
        "write_page_checksum": True,
    }
