"""`plan --details` names missing, skipped and duplicate files in the private tree, and nowhere else."""

import csv
import io
import json
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from diagchd_batch.config.job_file import InputConfig, ShardsConfig
from diagchd_batch.output_layout import sources_file
from diagchd_batch.results.columns import SOURCES
from diagchd_batch.results.output import Output
from diagchd_batch.runs.details_of_plan import count_same_content
from diagchd_batch.sources import ObjectInfo, open_source
from diagchd_batch.storage import open_store
from diagchd_batch.studies.identifiers import Pseudonymizer
from diagchd_batch.studies.plan.make_plan import preview_plan
from diagchd_batch.studies.plan.problem_files import count_duplicates
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


class _Bucket:
    """A source whose listing tells entity tags, as that of S3. No file of it can be read."""

    uri = "s3://bucket"

    def list(self, prefix: str = "", progress: Callable[[int], None] | None = None) -> Iterator[ObjectInfo]:
        for name, size, etag in (("a", 5, "1"), ("b", 5, "1"), ("c", 6, "1"), ("d", 5, "2"), ("e", 5, "1")):
            yield ObjectInfo(f"study/{name}.png", size_bytes=size, etag=etag)


def test_a_plan_counts_images_with_the_same_content_where_the_listing_tells(tmp_path: Path) -> None:
    found: list[int | None] = []
    tokens = Pseudonymizer(b"k" * 32)
    config = InputConfig(uri="s3://bucket", layout="tree")
    preview_plan(config, ShardsConfig(), _Bucket(), tokens, inspect=lambda data: found.append(count_duplicates(data)))  # type: ignore[arg-type]
    (tmp_path / "study").mkdir()
    for name in "ab":
        (tmp_path / "study" / f"{name}.png").write_bytes(b"equal")
    local = InputConfig(uri=str(tmp_path), layout="tree")
    source = open_source(local.uri)
    preview_plan(local, ShardsConfig(), source, tokens, inspect=lambda data: found.append(count_duplicates(data)))
    assert found == [2, None]  # b and e have the content of a; on a disk only reading would tell


def test_a_run_counts_images_with_the_same_content_by_what_was_read(tmp_path: Path) -> None:
    output = Output(open_store(str(tmp_path / "output")), open_store(str(tmp_path / "private"), owner_only=True))
    assert count_same_content(output, "run") == 0
    digests = {"i-1": "a", "i-2": "b", "i-3": "a", "i-4": None, "i-5": "a", "i-6": None}
    rows = [{"image_id": name, "uri": name, "sha256": digest} for name, digest in digests.items()]
    for shard, attempt, read in ((0, "first", rows[:4]), (0, "again", rows[:4]), (1, "first", rows[4:])):
        data = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(read, SOURCES), data)
        output.private.replace(sources_file("run", shard, attempt), data.getvalue())
    assert count_same_content(output, "run") == 2
