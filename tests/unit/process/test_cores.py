"""Cores are counted by affinity and by the container's quota, everywhere in the package."""

import os
import re
from pathlib import Path

import pytest

import diagchd_batch
from diagchd_batch.process import cores


@pytest.mark.parametrize(
    ("quota", "allowed", "expected"),
    [
        ("max 100000", 4, 4),
        ("200000 100000", 4, 2),
        ("800000 100000", 4, 4),
        ("150000 100000", 4, 1),
        ("50000 100000", 4, 1),
        (None, 3, 3),
        ("nonsense", 3, 3),
    ],
)
def test_the_smaller_of_affinity_and_quota_counts(
    quota: str | None, allowed: int, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "cpu.max"
    if quota is not None:
        file.write_text(f"{quota}\n")
    monkeypatch.setattr(cores, "_CPU_QUOTA", file)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(allowed)))
    assert cores.available_cores() == expected


def test_no_other_module_counts_the_cores_of_the_machine() -> None:
    package = Path(diagchd_batch.__file__).parent
    counting = re.compile(r"cpu_count|sched_getaffinity")
    found = {str(p.relative_to(package)) for p in package.rglob("*.py") if counting.search(p.read_text())}
    assert found == {"process/cores.py"}
