"""Every name on the pages of the Python API exists and has a docstring. `mkdocs build --strict` checks the rest."""

import pkgutil
import re

import pytest

from tests.support.scoring_runs import PROJECT

NAMES = [
    name
    for page in sorted((PROJECT / "docs" / "api").glob("*.md"))
    for name in re.findall(r"^::: ([\w.]+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
]


@pytest.mark.parametrize("name", NAMES)
def test_name_exists_and_is_documented(name: str) -> None:
    assert (pkgutil.resolve_name(name).__doc__ or "").strip()
