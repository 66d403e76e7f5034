"""No SQL of the package depends on the order in which DuckDB returns or adds rows."""

import ast
import re
from pathlib import Path

import pytest

import diagchd_batch

PACKAGE = Path(diagchd_batch.__file__).parent
FILES = sorted(
    path
    for path in PACKAGE.rglob("*")
    if path.suffix == ".sql" or (path.suffix == ".py" and "SELECT" in path.read_text(encoding="utf-8"))
)
EXEMPT = {
    ("studies/plan/draft_files.py", "any_value"),  # all images of a study have its subject
    ("studies/inventory.py", "any_value"),  # rows of a study or file that disagree are refused before
    ("studies/inventory.py", "arg_min"),  # names any two rows that disagree, for a message; no row number is null
    ("studies/inventory.py", "arg_max"),
}

# arg_max and arg_min skip nulls, so a withdrawn value would survive; avg adds floats in any order.
ORDER_DEPENDENT = re.compile(
    r"\b(any_value|arbitrary|arg_max|arg_min|max_by|min_by|first|last|avg)\s*\(", re.IGNORECASE
)
UNORDERED = re.compile(r"\bDISTINCT ON\b(?!.*\bORDER BY\b)", re.IGNORECASE | re.DOTALL)


def statements(path: Path) -> list[str]:
    """Return the SQL of a file: the whole text of an .sql file, or all strings of a Python file except docstrings."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".sql":
        return [text]
    tree = ast.parse(text)
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings
    ]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_aggregate_depends_on_the_order_of_rows(path: Path) -> None:
    for sql in statements(path):
        found = {name.lower() for name in ORDER_DEPENDENT.findall(sql)}
        found -= {name for file, name in EXEMPT if file == str(path.relative_to(PACKAGE))}
        assert not found, f"{found}: order the rows, or use arg_max_null"
        assert not UNORDERED.search(sql), "DISTINCT ON takes any row without an ORDER BY"


@pytest.mark.parametrize(
    ("sql", "is_found"),
    [
        ("SELECT any_value(fetus) FROM studies", True),
        ("SELECT arg_max(label, generation) FROM studies", True),
        ("SELECT arg_max_null(label, generation) FROM studies", False),
        ("SELECT DISTINCT ON (study_id) fetus FROM studies", True),
        ("SELECT DISTINCT ON (study_id) fetus FROM studies ORDER BY study_id, generation", False),
        ("SELECT list_avg([a, b]) FROM overlap", False),
    ],
)
def test_the_rules_find_what_they_should(sql: str, is_found: bool) -> None:
    assert bool(ORDER_DEPENDENT.search(sql) or UNORDERED.search(sql)) == is_found
