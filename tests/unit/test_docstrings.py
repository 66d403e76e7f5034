"""Docstrings of the package: public functions describe their arguments, their result and what they raise.

A rule of ruff (pyproject.toml) requires that public functions, classes, methods and modules have a docstring. This test
checks what ruff has no rule for: the sections of a docstring in Google style.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import diagchd_batch

PACKAGE = Path(diagchd_batch.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))

Function = ast.FunctionDef | ast.AsyncFunctionDef

DESCRIBED_ELSEWHERE = re.compile(r"\ASee `|rguments[^.]*(are|is)\s+those\s+of\s+`", re.DOTALL)
"""A docstring that names the function whose arguments, result and errors are the same."""

COMMAND = re.compile(r"^Example: diagchd-batch ", re.MULTILINE)
"""A command, whose docstring is its help text. Its options describe themselves."""

MAX_UNDESCRIBED_ARGUMENTS = 1


def _public_functions(body: list[ast.stmt]) -> Iterator[Function]:
    for node in body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from _public_functions(node.body)
        elif isinstance(node, Function) and not node.name.startswith("_"):
            yield node


def _arguments(function: Function) -> list[str]:
    given = function.args
    names = [argument.arg for argument in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
    return [name for name in names if name not in ("self", "cls")]


def _raised(node: ast.AST) -> set[str]:
    """Return the names of the exceptions that a function raises itself, without those of functions within it."""
    names = set()
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (*Function.__args__, ast.ClassDef, ast.Lambda)):
            continue
        if isinstance(child, ast.Raise) and child.exc is not None:
            names.add(ast.unparse(child.exc).partition("(")[0])
        names |= _raised(child)
    return names


def _problems(function: Function) -> list[str]:
    """Return what the docstring of a function lacks."""
    docstring = ast.get_docstring(function) or ""
    if DESCRIBED_ELSEWHERE.search(docstring) or COMMAND.search(docstring):
        return []
    sections = dict(re.findall(r"^(Args|Returns|Yields|Raises):\n((?:(?: .*)?\n?)*)", docstring, re.MULTILINE))
    summary = docstring.partition("\n")[0].lower()
    arguments = _arguments(function)
    problems = []
    if "Args" in sections or len(arguments) > MAX_UNDESCRIBED_ARGUMENTS:
        described = set(re.findall(r"^ +\*{0,2}(\w+):", sections.get("Args", ""), re.MULTILINE))
        problems += [f"Args does not describe {name}" for name in arguments if name not in described]
    returns = function.returns is not None and ast.unparse(function.returns) not in ("None", "NoReturn")
    says_it = bool({"Returns", "Yields"} & set(sections)) or "return" in summary or "yield" in summary
    if returns and len(arguments) > MAX_UNDESCRIBED_ARGUMENTS and not says_it:
        problems.append("neither the summary nor a section says what is returned")
    if _raised(function) - {"AssertionError", "NotImplementedError"} and "Raises" not in sections:
        problems.append("Raises is missing")
    return problems


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_public_functions_describe_arguments_results_and_errors(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    checked = [(function.name, function.lineno, _problems(function)) for function in _public_functions(tree.body)]
    assert [entry for entry in checked if entry[-1]] == []


def _function(text: str) -> Function:
    (node,) = ast.parse(text).body
    assert isinstance(node, Function)
    return node


ARGS = "\n\n    Args:\n        a: One.\n"
RAISE = "    raise ValueError(a)\n"


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ('def f(a: int) -> int:\n    """Return a."""\n', []),
        ('def f(a: int, b: int) -> int:\n    """See `g`."""\n', []),
        (f'def f(a: int, b: int) -> int:\n    """Return a.{ARGS}        b: Other.\n    """\n', []),
        (f'def f(a: int, b: int) -> int:\n    """Return a.{ARGS}    """\n', ["Args does not describe b"]),
        ('def f(a: int, b: int):\n    """Do it."""\n', ["Args does not describe a", "Args does not describe b"]),
        (
            f'def f(a: int, b: int) -> int:\n    """Add.{ARGS}        b: Other.\n    """\n',
            ["neither the summary nor a section says what is returned"],
        ),
        (f'def f(a: int) -> int:\n    """Return a."""\n{RAISE}', ["Raises is missing"]),
        (f'def f(a: int) -> int:\n    """Return a.\n\n    Raises:\n        ValueError: Always.\n    """\n{RAISE}', []),
    ],
)
def test_a_docstring_that_lacks_a_section_is_found(text: str, problems: list[str]) -> None:
    assert _problems(_function(text)) == problems
