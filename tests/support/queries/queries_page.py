"""The statements of docs/queries.md, for tests that run them."""

import re
from pathlib import Path

PAGE = Path(__file__).parents[3] / "docs" / "queries.md"


def statements() -> dict[str, str]:
    """Return the statements for `query`, by name."""
    return _blocks("query", "sql")


def file_statements() -> dict[str, str]:
    """Return the statements for an engine that reads the Parquet files itself, by name."""
    return _blocks("files", "sql")


def pandas_blocks() -> dict[str, str]:
    """Return the Python code that uses pandas, by name."""
    return _blocks("pandas", "python")


def filled_in(statement: str, **values: str) -> str:
    """Return a statement with words such as RUN_A replaced."""
    for word, value in values.items():
        statement = re.sub(rf"\b{word}\b", value.replace("\\", r"\\"), statement)
    return statement


def _blocks(kind: str, language: str) -> dict[str, str]:
    pattern = rf"<!-- {kind}: (\w+) -->\n```{language}\n(.*?)```"
    return dict(re.findall(pattern, PAGE.read_text(encoding="utf-8"), re.DOTALL))
