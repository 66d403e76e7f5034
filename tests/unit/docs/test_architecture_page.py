"""docs/architecture.md names files that exist, and every package."""

import re

from tests.support.scoring_runs import PROJECT

TEXT = (PROJECT / "docs" / "architecture.md").read_text(encoding="utf-8")
PATHS = set(re.findall(r"`((?:diagchd_batch|docs|tests|tools)/[\w/.]*)`", TEXT))


def test_every_path_exists() -> None:
    assert len(PATHS) > 40
    assert not [path for path in sorted(PATHS) if not (PROJECT / path).exists()]


def test_every_package_has_its_paragraph() -> None:
    packages = {f"diagchd_batch/{path.parent.name}/" for path in (PROJECT / "diagchd_batch").glob("*/__init__.py")}
    assert packages <= PATHS
