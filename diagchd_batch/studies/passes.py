"""Splits work on a large table into passes, each over a part of the rows that fits in little memory.

DuckDB spills sorts, joins and aggregates of numbers to disk. It keeps lists and texts of aggregates in memory, and a
sort of wide rows needs much of it. A statement that is executed once for each part of its groups needs memory for one
part only.
"""

ROWS_PER_PASS = 400_000
_LEADING_VALUES = 256
"""The number of values of the first two hex digits of a token."""


def by_hash(column: str, n_rows: int) -> list[str]:
    """Return SQL conditions that each hold for a part of the values of a column, and together once for each row.

    Args:
        column: The column, or an expression that is never null.
        n_rows: The number of rows of the table.
    """
    n_passes = _n_passes(n_rows)
    return [f"hash({column}) % {n_passes} = {one}" for one in range(n_passes)] if n_passes > 1 else ["true"]


def by_token(column: str, prefix: str, n_rows: int) -> list[str]:
    """Return SQL conditions that split tokens into ranges, in ascending order. Together they hold once for each row.

    Tokens are evenly distributed. DuckDB finds the rows of a range without a search of the whole table if they were
    inserted in the order of such passes.

    Args:
        column: The column of the tokens.
        prefix: The letter that the tokens begin with.
        n_rows: The number of rows of the table.
    """
    n_passes = min(_n_passes(n_rows), _LEADING_VALUES)
    starts = [f"{prefix}-{_LEADING_VALUES * one // n_passes:02x}" for one in range(1, n_passes)]
    lower = ["true", *(f"{column} >= '{start}'" for start in starts)]
    upper = [*(f"{column} < '{start}'" for start in starts), "true"]
    return [f"({low} AND {high})" for low, high in zip(lower, upper, strict=True)]


def _n_passes(n_rows: int) -> int:
    return max(1, -(-n_rows // ROWS_PER_PASS))
