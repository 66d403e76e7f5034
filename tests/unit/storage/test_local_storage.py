"""What only a local disk does: permissions, links, full disks, killed writers, file systems that refuse links."""

import errno
import multiprocessing
import os
import signal
import stat
import subprocess
import threading
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from diagchd_batch.errors import InputError, ItemError, StorageFault
from diagchd_batch.failures import FailureCode
from diagchd_batch.storage import local, local_commit, open_store
from diagchd_batch.storage.checks import check_create_if_absent, check_readable
from tests.support.ordinary_user import as_ordinary_user, reachable_directory


@pytest.fixture
def storage(tmp_path):
    return open_store(str(tmp_path))


@pytest.fixture
def open_directory() -> Iterator[Path]:
    with reachable_directory() as directory:
        yield directory


def code_of(storage, key: str) -> FailureCode:
    with pytest.raises(ItemError) as caught:
        storage.read(key)
    assert key in caught.value.detail
    return caught.value.code


def keys(storage, prefix: str = "") -> list[str]:
    return sorted(info.key for info in storage.list(prefix))


# Reading an archive as hospitals have it


def test_odd_files(storage, tmp_path):
    (tmp_path / "directory.png").mkdir()
    (tmp_path / "broken.png").symlink_to("nowhere")
    (tmp_path / "circle.png").symlink_to("circle.png")
    os.mkfifo(tmp_path / "pipe.png")
    assert code_of(storage, "directory.png") is FailureCode.UNREADABLE
    assert code_of(storage, "broken.png") is FailureCode.UNREADABLE
    assert code_of(storage, "circle.png") is FailureCode.UNREADABLE
    assert code_of(storage, "pipe.png") is FailureCode.UNREADABLE
    assert code_of(storage, "x" * 300) is FailureCode.NOT_FOUND
    assert keys(storage) == ["broken.png", "circle.png", "pipe.png"], "planned on and failed, not silently left out"


def test_links_are_followed_wherever_they_lead(tmp_path):
    """Cohorts are often gathered as links into an archive elsewhere."""
    (tmp_path / "archive" / "study").mkdir(parents=True)
    (tmp_path / "archive" / "study" / "image.png").write_bytes(b"x")
    cohort = tmp_path / "cohort"
    cohort.mkdir()
    (cohort / "linked-study").symlink_to(tmp_path / "archive" / "study")
    (cohort / "linked.png").symlink_to("../archive/study/image.png")
    storage = open_store(str(cohort))
    assert keys(storage) == ["linked-study/image.png", "linked.png"]
    assert storage.read("linked-study/image.png") == storage.read("linked.png") == b"x"


def test_circles_of_directories_end(storage, tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "x").touch()
    (tmp_path / "a" / "b" / "up").symlink_to("../..")
    (tmp_path / "a" / "b" / "self").symlink_to(".")
    assert keys(storage) == ["a/x"]


def test_names_that_are_not_utf8_are_refused_by_the_listing(storage, tmp_path):
    (Path(os.fsdecode(os.fsencode(tmp_path) + b"/M\xfcller.png"))).touch()
    with pytest.raises(InputError, match="UTF-8") as caught:
        keys(storage)
    assert "ller" not in str(caught.value)


def test_one_file_without_permission(open_directory):
    (open_directory / "secret.png").write_bytes(b"x")
    (open_directory / "secret.png").chmod(0)
    (open_directory / "open.png").write_bytes(b"y")
    storage = open_store(str(open_directory))
    assert as_ordinary_user(lambda: storage.read("open.png")) == b"y"
    assert as_ordinary_user(lambda: keys(storage)) == ["open.png", "secret.png"]
    with pytest.raises(ItemError) as caught:
        as_ordinary_user(lambda: storage.read("secret.png"))
    assert caught.value.code is FailureCode.ACCESS_DENIED


def test_a_root_without_permission_is_a_fault(open_directory):
    root = open_directory / "closed"
    root.mkdir()
    (root / "image.png").touch()
    root.chmod(0)
    storage = open_store(str(root))
    for call in (lambda: storage.read("image.png"), lambda: check_readable(storage), lambda: keys(storage)):
        with pytest.raises(StorageFault, match="closed") as caught:
            as_ordinary_user(call)
        assert "image.png" not in str(caught.value)


def test_a_directory_that_may_not_be_listed_is_not_left_out(open_directory):
    (open_directory / "patient-x").mkdir(mode=0)
    storage = open_store(str(open_directory))
    with pytest.raises(StorageFault, match="may not be listed") as caught:
        as_ordinary_user(lambda: keys(storage))
    assert "patient-x" not in str(caught.value)


def test_links_into_a_place_that_is_closed(open_directory):
    closed, cohort = open_directory / "closed", open_directory / "cohort"
    (closed / "study").mkdir(parents=True)
    (closed / "image.png").touch()
    cohort.mkdir()
    (cohort / "image.png").symlink_to(closed / "image.png")
    closed.chmod(0)
    storage = open_store(str(cohort))
    assert as_ordinary_user(lambda: keys(storage)) == ["image.png"]
    with pytest.raises(ItemError) as caught:
        as_ordinary_user(lambda: storage.read("image.png"))
    assert caught.value.code is FailureCode.ACCESS_DENIED
    (cohort / "study").symlink_to(closed / "study")
    with pytest.raises(StorageFault, match="may not be listed"):
        as_ordinary_user(lambda: keys(storage))


def test_the_file_systems_own_directory_does_not_stop_a_listing(open_directory):
    (open_directory / "lost+found").mkdir(mode=0)
    (open_directory / "image.png").touch()
    assert as_ordinary_user(lambda: keys(open_store(str(open_directory)))) == ["image.png"]


def test_files_all_without_permission_are_found_before_the_run(open_directory):
    for number in range(3):
        (open_directory / f"{number}.png").touch(mode=0)
    with pytest.raises(StorageFault, match="listed but not read"):
        as_ordinary_user(lambda: check_readable(open_store(str(open_directory))))


def test_an_archive_that_is_unmounted_is_a_fault_not_a_million_missing_files(tmp_path):
    archive = tmp_path / "mount"
    archive.mkdir()
    with mounted(archive, "1m"):
        (archive / "image.png").write_bytes(b"x")
        storage = open_store(str(archive))
        assert storage.read("image.png") == b"x"
        assert code_of(storage, "other.png") is FailureCode.NOT_FOUND
    with pytest.raises(StorageFault, match="mounted"):
        storage.read("image.png")
    archive.rmdir()
    with pytest.raises(StorageFault, match="No such file"):
        storage.read("image.png")


def test_a_file_server_away_for_a_moment_is_waited_for(storage, tmp_path, monkeypatch):
    (tmp_path / "image.png").write_bytes(b"x")
    real_open, answers = os.open, [errno.ESTALE, errno.ETIMEDOUT]

    def open_with_trouble(path, *arguments, **keywords):
        if answers and str(path).endswith("image.png"):
            raise OSError(answers.pop(), "the file server")
        return real_open(path, *arguments, **keywords)

    monkeypatch.setattr(os, "open", open_with_trouble)
    assert storage.read("image.png") == b"x"
    assert not answers


@pytest.mark.parametrize("answers", [[errno.ESTALE, errno.EIO], [errno.EIO, errno.EIO]])
def test_also_for_one_that_answers_with_an_input_output_error_or_a_stale_handle(
    storage, tmp_path, monkeypatch, answers
):
    (tmp_path / "image.png").write_bytes(b"x")
    real_stat, real_open, left = Path.stat, os.open, {"stat": list(answers), "open": list(answers)}
    storage.probe()

    def stat_with_trouble(path, **keywords):
        if left["stat"] and path.name == "image.png":
            raise OSError(left["stat"].pop(), "the file server")
        return real_stat(path, **keywords)

    def open_with_trouble(path, *arguments, **keywords):
        if left["open"] and str(path).endswith("image.png"):
            raise OSError(left["open"].pop(), "the file server")
        return real_open(path, *arguments, **keywords)

    monkeypatch.setattr(Path, "stat", stat_with_trouble)
    monkeypatch.setattr(os, "open", open_with_trouble)
    assert storage.stat("image.png").size_bytes == 1
    assert storage.read("image.png") == b"x"
    assert left == {"stat": [], "open": []}


def test_a_block_that_stays_unreadable_is_that_files_fault_soon(storage, tmp_path, monkeypatch):
    (tmp_path / "image.png").write_bytes(b"x")
    monkeypatch.setattr(local, "DOUBT_S", 0.2)
    real_open = os.open

    def open_bad_block(path, *arguments, **keywords):
        if str(path).endswith("image.png"):
            raise OSError(errno.EIO, "Input/output error")
        return real_open(path, *arguments, **keywords)

    storage.probe()
    monkeypatch.setattr(os, "open", open_bad_block)
    assert code_of(storage, "image.png") is FailureCode.UNREADABLE


@pytest.mark.parametrize("step", ["link", "fsync"])
@pytest.mark.parametrize("code", [errno.ESTALE, errno.EIO])
def test_a_commit_that_a_file_server_breaks_off_is_a_fault_and_can_be_repeated(
    storage, tmp_path, monkeypatch, step, code
):
    def refuse(*arguments, **keywords):
        raise OSError(code, "the file server")

    with monkeypatch.context() as trouble:
        trouble.setattr(os, step, refuse)
        with pytest.raises(StorageFault, match="check the disk or the mount, then give the same command again"):
            storage.create("scores/shard.parquet", b"x")
    assert [info.key for info in storage.list()] == []
    assert storage.create("scores/shard.parquet", b"x")


def test_too_many_open_files_condemn_no_image(storage, tmp_path, monkeypatch):
    (tmp_path / "image.png").write_bytes(b"x")
    storage.probe()

    def refuse(*arguments, **keywords):
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(StorageFault, match="ulimit"):
        storage.read("image.png")


def test_a_file_written_to_while_it_is_read(storage, tmp_path):
    path = tmp_path / "image.png"
    path.write_bytes(bytes(50_000_000))
    stopped = threading.Event()

    def append() -> None:
        with path.open("ab", buffering=0) as file:
            while not stopped.is_set():
                file.write(b"x")

    writer = threading.Thread(target=append)
    writer.start()
    try:
        assert code_of(storage, "image.png") is FailureCode.SOURCE_CHANGED
    finally:
        stopped.set()
        writer.join()


# Writing


class mounted:  # noqa: N801 - used as a context manager
    """A tmpfs of `size` at `directory`; skips where mounting is not allowed."""

    def __init__(self, directory: Path, size: str) -> None:
        self._directory, self._size = directory, size

    def __enter__(self) -> None:
        command = ["mount", "-t", "tmpfs", "-o", f"size={self._size}", "tmpfs", str(self._directory)]
        if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode != 0:
            pytest.skip("mounting a file system needs root's rights")

    def __exit__(self, *exception: object) -> None:
        subprocess.run(["umount", str(self._directory)], check=True)


def test_a_full_disk_is_a_fault_that_leaves_nothing(tmp_path):
    with mounted(tmp_path, "64k"):
        storage = open_store(str(tmp_path))
        assert storage.create("small", b"x")
        for write in (storage.create, storage.replace):
            with pytest.raises(StorageFault, match="No space left") as caught:
                write("scores/large", bytes(1_000_000))
            assert str(tmp_path) in str(caught.value)
        assert storage.create("scores/large", bytes(20_000)), "what failed has left no file behind"
        assert [path.name for path in (tmp_path / "scores").iterdir()] == ["large"]


def test_a_read_only_output(open_directory):
    open_directory.chmod(0o555)
    storage = open_store(str(open_directory))
    for write in (lambda: storage.create("key", b"x"), lambda: check_create_if_absent(storage, "scores")):
        with pytest.raises(StorageFault, match="grant write permission"):
            as_ordinary_user(write)


def refuse_links(monkeypatch) -> None:
    """As exFAT, some FUSE file systems and `fs.protected_hardlinks` do."""

    def link(*arguments, **keywords):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)


def test_where_links_are_refused_a_rename_that_cannot_replace_is_used(storage, tmp_path, monkeypatch):
    refuse_links(monkeypatch)
    check_create_if_absent(storage, "scores")
    won = []

    def create(number: int) -> None:
        if storage.create("key", bytes([number]) * 100_000):
            won.append(number)

    threads = [threading.Thread(target=create, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert storage.read("key") == bytes([won[0]]) * 100_000
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["key"]


def test_where_nothing_can_create_exclusively_the_storage_is_refused(storage, tmp_path, monkeypatch):
    refuse_links(monkeypatch)

    class Library:
        @staticmethod
        def renameat2(*arguments):
            local_commit.ctypes.set_errno(errno.EINVAL)
            return -1

    monkeypatch.setattr(local_commit.ctypes, "CDLL", lambda *arguments, **keywords: Library)
    with pytest.raises(StorageFault, match="only if it is absent"):
        check_create_if_absent(storage, "scores")
    assert keys(storage) == []


def test_a_link_whose_answer_was_lost_is_ours(storage, monkeypatch):
    """NFS: the server made the link, the repeated request finds it there."""
    real_link = os.link

    def link(*arguments, **keywords):
        real_link(*arguments, **keywords)
        raise FileExistsError(errno.EEXIST, "File exists")

    monkeypatch.setattr(os, "link", link)
    assert storage.create("key", b"x") is True


def _write_for_ever(root: str) -> None:
    storage = open_store(root)
    for number in range(1_000_000):
        storage.create(f"scores/{number}", b"%d" % (number % 10) * 500_000)


def test_a_killed_writer_leaves_no_half_file_and_its_rest_is_cleaned_up(storage, tmp_path, monkeypatch):
    for _ in range(4):
        writer = multiprocessing.get_context("fork").Process(target=_write_for_ever, args=(str(tmp_path),))
        writer.start()
        time.sleep(0.15)
        os.kill(writer.pid, signal.SIGKILL)
        writer.join()
        for info in storage.list():
            assert info.size_bytes == 500_000
            assert len(set(storage.read(info.key))) == 1
    # Whether or not a kill fell into a write, plant what it leaves: seen by nobody, removed when old enough.
    leftover, own = tmp_path / "scores" / ".tmp-0123456789abcdef", tmp_path / "scores" / ".tmp-notes"
    leftover.touch()
    own.touch()
    assert "scores/.tmp-notes" in keys(storage) and "scores/.tmp-0123456789abcdef" not in keys(storage)
    open_store(str(tmp_path)).create("scores/next", b"")
    assert leftover.exists(), "it may belong to a living writer"
    monkeypatch.setattr(local_commit.time, "time", lambda: leftover.stat().st_mtime + local_commit.LEFTOVER_AGE_S + 1)
    open_store(str(tmp_path)).create("scores/after", b"")
    assert not leftover.exists() and own.exists()


def test_everything_is_flushed_before_it_has_its_name_and_the_name_before_we_return(storage, tmp_path, monkeypatch):
    """Durability cannot be seen without cutting the power; the order of the calls can."""
    calls = []
    real_fsync, real_link = os.fsync, os.link

    def fsync(descriptor):
        calls.append("directory" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        real_fsync(descriptor)

    def link(*arguments, **keywords):
        calls.append("link")
        real_link(*arguments, **keywords)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "link", link)
    storage.create("a/b/key", b"x")
    assert calls == ["directory", "directory", "file", "link", "directory"]


def test_owner_only(tmp_path):
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

    assert [mode(path) for path in ("new", "new/output")] == [0o755] * 2  # others may read the tables that follow
    assert [mode(f"new/output/private{path}") for path in ("", "/runs", "/runs/plan", "/runs/record")] == [
        0o700
    ] * 2 + [0o600] * 2
    assert [mode(f"public{path}") for path in ("", "/runs", "/runs/record")] == [0o755, 0o755, 0o644]


def test_many_files_are_listed_without_holding_them(tmp_path, storage):
    for number in range(2000):
        directory = tmp_path / f"study-{number // 100}"
        directory.mkdir(exist_ok=True)
        (directory / f"{number}.png").touch()
    tracemalloc.start()
    seen = sum(1 for _ in storage.list())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert seen == 2000
    assert peak < 150_000, "an ObjectInfo with its key takes some 250 bytes: 500,000 for all"
