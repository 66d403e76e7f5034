"""Where unfinished files lie, and which of them the next writer removes."""

import errno
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from diagchd_batch.storage import open_store, temporary_files
from diagchd_batch.storage.atomic_files import put_if_absent
from diagchd_batch.storage.temporary_files import TEMPORARY_DIRECTORY, temporary_file, temporary_name

TABLE = "scores/run_id=first-run/shard-00000.parquet"


def _write_and_wait(root: str, ready: Any) -> None:
    with temporary_file(Path(root) / TEMPORARY_DIRECTORY, b"PAR1half", 0o664):
        ready.set()
        threading.Event().wait(60)


@contextmanager
def another_writer(root: Path) -> Iterator[Any]:
    """Run a process that is writing a file in the tree."""
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    writer = context.Process(target=_write_and_wait, args=(str(root), ready))
    writer.start()
    try:
        assert ready.wait(30)
        yield writer
    finally:
        os.kill(writer.pid, signal.SIGKILL)
        writer.join()


def unfinished(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.name.startswith(".tmp-")]


def test_what_a_killed_writer_left_is_named_and_removed_by_the_next_one(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    with another_writer(tmp_path):
        assert len(unfinished(tmp_path)) == 1
        store.create("runs/one", b"")
        assert len(unfinished(tmp_path)) == 1, "its writer lives"
        assert store.leftovers() == []
    assert store.leftovers() == [path.relative_to(tmp_path).as_posix() for path in unfinished(tmp_path)] != []
    assert [info.key for info in store.list()] == ["runs/one"]
    open_store(str(tmp_path)).create("runs/two", b"")
    assert unfinished(tmp_path) == [] and not (tmp_path / TEMPORARY_DIRECTORY).exists()


def test_files_of_other_machines_are_removed_by_their_age(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(temporary_files, "_machine", lambda: "0a0a0a0a")
    foreign = tmp_path / TEMPORARY_DIRECTORY / temporary_name().replace(str(os.getpid()), "4194305")
    monkeypatch.undo()
    earlier = tmp_path / "scores" / ".tmp-0123456789abcdef"  # as earlier versions named them, beside the tables
    for path in (foreign, earlier):
        path.parent.mkdir()
        path.touch()
    open_store(str(tmp_path)).create("scores/one", b"")
    assert foreign.exists() and earlier.exists()
    for path in (foreign, earlier):
        os.utime(path, (0, 0))
    assert len(open_store(str(tmp_path)).leftovers()) == 2
    open_store(str(tmp_path)).create("scores/two", b"")
    assert unfinished(tmp_path) == []


def test_engines_read_a_tree_in_which_a_file_is_half_written(tmp_path: Path) -> None:
    pq.write_table(pa.table({"value": [1]}), tmp_path / "made.parquet")
    open_store(str(tmp_path / "out")).create(TABLE, tmp_path / "made.parquet")
    with another_writer(tmp_path / "out"):
        for glob in ("scores/**", "**/*.parquet"):  # the first takes every file, whatever its ending
            sql = f"SELECT run_id, value FROM read_parquet('{tmp_path}/out/{glob}', hive_partitioning = true)"
            assert duckdb.connect().execute(sql).fetchall() == [("first-run", 1)]
        assert pq.read_table(tmp_path / "out" / "scores").num_rows == 1


@pytest.mark.parametrize("code", [errno.EXDEV, errno.EACCES])
def test_a_directory_that_is_another_file_system_is_written_in_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    real_replace = Path.replace

    def refuse(source: Path) -> None:
        if Path(source).parent.name == TEMPORARY_DIRECTORY:
            raise OSError(code, os.strerror(code))

    def put(source: Path, target: Path) -> bool:
        refuse(source)
        return put_if_absent(source, target)

    def replace(source: Path, target: Path) -> Path:
        refuse(source)
        return real_replace(source, target)

    monkeypatch.setattr("diagchd_batch.storage.local.put_if_absent", put)
    monkeypatch.setattr(Path, "replace", replace)
    store = open_store(str(tmp_path))
    assert store.create("scores/a", b"1")
    store.replace("scores/a", b"2")
    assert store.read("scores/a") == b"2"
    assert unfinished(tmp_path) == [] and not (tmp_path / TEMPORARY_DIRECTORY).exists()


def test_writers_that_begin_and_end_at_once_do_not_disturb_each_other(tmp_path: Path) -> None:
    failures = []

    def write(name: str) -> None:
        store = open_store(str(tmp_path))
        try:
            for number in range(40):
                assert store.create(f"scores/{name}-{number}", b"x")
        except BaseException as error:  # a thread's error would be lost
            failures.append(error)

    threads = [threading.Thread(target=write, args=(str(number),)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(list(open_store(str(tmp_path)).list("scores/"))) == 160
    assert not (tmp_path / TEMPORARY_DIRECTORY).exists()
