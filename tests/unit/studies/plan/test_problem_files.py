"""`plan --details` names missing, skipped and duplicate files in the private tree, and nowhere else."""

import csv
import json
import stat
from pathlib import Path

import pytest

from tests.support.command_line import Ended, diagchd_batch

FILES = {
    "Müller/a.png": b"one picture",
    "Müller/copy of a.png": b"one picture",
    "b.png": b"another one",  # as long, and different
    "c.png": b"x" * 70_000 + b"1",
    "d.png": b"x" * 70_000 + b"2",
    "not-named.png": b"never read",
    "notes.pdf": b"text",
    "a-mask.png": b"mask",
    ".hidden.pdf": b"text",
}
PRESENT = ["Müller/a.png", "Müller/copy of a.png", "b.png", "c.png", "d.png"]


def _plan(directory: Path, named: list[str], *options: str) -> Ended:
    for name, data in FILES.items():
        (directory / "archive" / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / "archive" / name).write_bytes(data)
    rows = [f"s{number},{name},{name[0]}-mask.png" for number, name in enumerate(named)]
    (directory / "studies.csv").write_text("\n".join(["study_id,uri,mask_uri", *rows]) + "\n", encoding="utf-8")
    job = {
        "version": 1,
        "input": {"uri": f"{directory}/archive", "layout": "manifest", "manifest": f"{directory}/studies.csv"},
        "model": {"name": "diagchd-compact", "weights": "seed:0"},
        "output": {"uri": f"{directory}/out"},
    }
    (directory / "job.yaml").write_text(json.dumps(job), encoding="utf-8")
    return diagchd_batch("plan", str(directory / "job.yaml"), "--no-measure", *options)


def _named(directory: Path) -> list[tuple[str, str, str]]:
    file = directory / "out" / "_private" / "plan_details.csv"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    header, *rows = csv.reader(file.read_text(encoding="utf-8-sig").splitlines())
    assert header == ["what", "file", "note"]
    return [(what, name, note) for what, name, note in rows]


def test_missing_skipped_and_duplicate_files_are_named(tmp_path: Path) -> None:
    done = _plan(tmp_path, [*PRESENT, "absent.png"], "--details")
    assert done.exit_code == 0, done.messages
    assert f"{tmp_path}/out/_private/plan_details.csv (missing image: 1, missing mask: 4" in done.printed
    assert not [name for name in (*FILES, "absent") if name in done.printed + done.messages]
    named = _named(tmp_path)
    assert [row for row in named if row[0] != "missing mask"] == [
        ("missing image", "absent.png", "line or row 7 of input.manifest"),
        ("skipped", "notes.pdf", "no image by its name"),
        ("not in the manifest", "not-named.png", ""),
        ("duplicate", "Müller/copy of a.png", "has the content of Müller/a.png"),
    ]
    assert [name for what, name, _ in named if what == "missing mask"] == [f"{start}-mask.png" for start in "Mbcd"]
    assert {path.name for path in (tmp_path / "out").rglob("*")} == {"_private", "plan_details.csv"}


def test_they_are_named_even_if_the_plan_is_refused(tmp_path: Path) -> None:
    done = _plan(tmp_path, ["absent.png", "gone.png"], "--details")
    assert done.exit_code == 2 and "`plan --details` writes their names to the private tree" in done.messages
    assert [name for what, name, _ in _named(tmp_path) if what == "missing image"] == ["absent.png", "gone.png"]


@pytest.mark.parametrize("options", [(), ("--json",)], ids=str)
def test_without_the_option_nothing_is_written(tmp_path: Path, options: tuple[str, ...]) -> None:
    done = _plan(tmp_path, PRESENT, *options)
    assert done.exit_code == 0 and "details" not in done.printed
    assert not (tmp_path / "out").exists()
