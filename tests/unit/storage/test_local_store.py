"""Writing to local disks only: full disks, killed writers, and file systems that refuse links."""

import ctypes
import errno
import multiprocessing
import os
import signal
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Never

import pytest

from diagchd_batch.errors import StorageFault
from diagchd_batch.storage import Store, open_store, temporary_files
from diagchd_batch.storage.checks import check_create_if_absent
from tests.support.servers_and_hosts.mounted import mounted
from tests.support.servers_and_hosts.ordinary_user import as_ordinary_user, reachable_directory


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path))


@pytest.fixture
def open_directory() -> Iterator[Path]:
    with reachable_directory() as directory:
        yield directory


def keys(store: Store, prefix: str = "") -> list[str]:
    return sorted(info.key for info in store.list(prefix))


@pytest.mark.parametrize("step", ["link", "fsync"])
@pytest.mark.parametrize("code", [errno.ESTALE, errno.EIO])
def test_a_commit_that_a_file_server_breaks_off_is_a_fault_and_can_be_repeated(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, code: int
) -> None:
    def refuse(*arguments: Any, **keywords: Any) -> Never:
        raise OSError(code, "the file server")

    with monkeypatch.context() as trouble:
        trouble.setattr(os, step, refuse)
        with pytest.raises(StorageFault, match="check the disk or the mount, then give the same command again"):
            store.create("scores/shard.parquet", b"x")
    assert [info.key for info in store.list()] == []
    assert store.create("scores/shard.parquet", b"x")


def test_a_full_disk_is_a_fault_that_leaves_nothing(tmp_path: Path) -> None:
    with mounted(tmp_path, "64k"):
        store = open_store(str(tmp_path))
        assert store.create("small", b"x")
        for write in (store.create, store.replace):
            with pytest.raises(StorageFault, match="No space left") as caught:
                write("scores/large", bytes(1_000_000))
            assert str(tmp_path) in str(caught.value)
        assert store.create("scores/large", bytes(20_000)), "a failed write must leave no file behind"
        assert [path.name for path in (tmp_path / "scores").iterdir()] == ["large"]


def test_a_read_only_output(open_directory: Path) -> None:
    open_directory.chmod(0o555)
    store = open_store(str(open_directory))
    for write in (lambda: store.create("key", b"x"), lambda: check_create_if_absent(store, "scores")):
        with pytest.raises(StorageFault, match="grant write permission"):
            as_ordinary_user(write)


def refuse_links(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse hard links, as exFAT, some FUSE file systems and `fs.protected_hardlinks` do."""

    def link(*arguments: Any, **keywords: Any) -> Never:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)


def test_where_links_are_refused_a_rename_that_cannot_replace_is_used(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_links(monkeypatch)
    check_create_if_absent(store, "scores")
    won = []

    def create(number: int) -> None:
        if store.create("key", bytes([number]) * 100_000):
            won.append(number)

    threads = [threading.Thread(target=create, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert store.read("key") == bytes([won[0]]) * 100_000
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["key"]


def test_where_nothing_can_create_exclusively_the_storage_is_refused(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_links(monkeypatch)

    class Library:
        @staticmethod
        def renameat2(*arguments: Any) -> int:
            ctypes.set_errno(errno.EINVAL)
            return -1

    monkeypatch.setattr(ctypes, "CDLL", lambda *arguments, **keywords: Library)
    with pytest.raises(StorageFault, match="only if it is absent"):
        check_create_if_absent(store, "scores")
    assert keys(store) == []


def test_a_link_whose_answer_was_lost_is_ours(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """An NFS server can make the link and lose its answer. The repeated request then finds that the link exists."""
    real_link = os.link

    def link(*arguments: Any, **keywords: Any) -> Never:
        real_link(*arguments, **keywords)
        raise FileExistsError(errno.EEXIST, "File exists")

    monkeypatch.setattr(os, "link", link)
    assert store.create("key", b"x") is True


def _write_for_ever(root: str) -> None:
    store = open_store(root)
    for number in range(1_000_000):
        store.create(f"scores/{number}", b"%d" % (number % 10) * 500_000)


def test_a_killed_writer_leaves_no_half_file_and_its_rest_is_cleaned_up(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: set[str] = set()
    for _ in range(4):
        writer = multiprocessing.get_context("fork").Process(target=_write_for_ever, args=(str(tmp_path),))
        writer.start()
        while not any(store.list()):
            time.sleep(0.01)
        time.sleep(0.15)
        os.kill(writer.pid, signal.SIGKILL)
        writer.join()
        written = {info.key: info.size_bytes for info in store.list()}
        assert set(written.values()) == {500_000}
        for key in written.keys() - read:  # no writer replaces a file of another
            data = store.read(key)
            assert data == data[:1] * 500_000
        read |= written.keys()
    # A kill need not have interrupted a write, so add the file that it would leave. Listings ignore such files, and
    # they are removed when they are old enough.
    leftover, own = tmp_path / "scores" / ".tmp-0123456789abcdef", tmp_path / "scores" / ".tmp-notes"
    leftover.touch()
    own.touch()
    assert "scores/.tmp-notes" in keys(store) and "scores/.tmp-0123456789abcdef" not in keys(store)
    open_store(str(tmp_path)).create("scores/next", b"")
    assert leftover.exists(), "it can belong to a running writer"
    monkeypatch.setattr(time, "time", lambda: leftover.stat().st_mtime + temporary_files.LEFTOVER_AGE_S + 1)
    open_store(str(tmp_path)).create("scores/after", b"")
    assert not leftover.exists() and own.exists()


def test_everything_is_flushed_before_it_has_its_name_and_the_name_before_we_return(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Durability cannot be tested without a power failure, but the order of the calls can."""
    calls = []
    real_fsync, real_link = os.fsync, os.link

    def fsync(descriptor: int) -> None:
        calls.append("directory" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        real_fsync(descriptor)

    def link(*arguments: Any, **keywords: Any) -> None:
        calls.append("link")
        real_link(*arguments, **keywords)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "link", link)
    store.create("a/b/key", b"x")
    assert calls == ["directory", "directory", "file", "link", "directory"]


@pytest.mark.parametrize("umask", [0o000, 0o022])
def test_no_other_user_can_change_what_is_written(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        for name, owner_only in (("out", False), ("out/_private", True)):
            store = open_store(str(tmp_path / "new" / name), owner_only=owner_only)
            store.create("scores/shard", b"x")
            store.replace("runs/record", b"x")
    finally:
        os.umask(before)
    written = list((tmp_path / "new").rglob("*"))
    assert len(written) > 8
    for path in (tmp_path / "new", *written):
        assert not path.stat().st_mode & stat.S_IWOTH, path
        if "_private" in path.parts:
            assert not path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO), path


def test_owner_only(tmp_path: Path) -> None:
    old = os.umask(0o022)
    try:
        private = open_store(str(tmp_path / "new/output/private"), owner_only=True)
        private.create("runs/plan", b"x")
        private.replace("runs/record", b"x")
        open_store(str(tmp_path / "public")).create("runs/record", b"x")
    finally:
        os.umask(old)

    def mode(path: str) -> int:
        return stat.S_IMODE((tmp_path / path).stat().st_mode)

    assert [mode(path) for path in ("new", "new/output")] == [0o755] * 2  # Other users may read the tables.
    assert [mode(f"new/output/private{path}") for path in ("", "/runs", "/runs/plan", "/runs/record")] == [
        0o700
    ] * 2 + [0o600] * 2
    assert [mode(f"public{path}") for path in ("", "/runs", "/runs/record")] == [0o755, 0o755, 0o644]


def test_a_place_below_a_file_is_named_as_such(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place in (tmp_path / "file", tmp_path / "file" / "deeper"):
        with pytest.raises(StorageFault, match="a part of this path is a file; choose another place"):
            open_store(str(place)).create("key", b"data")
