"""Reading from local disks only: permissions, links, mounts, and file servers that are away for a short time."""

import errno
import os
import re
import resource
import shutil
import subprocess
import threading
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Never

import pytest

from diagchd_batch.errors import ItemError, StorageFault
from diagchd_batch.failure_codes import FailureCode
from diagchd_batch.sources import ListingGaps, Source, open_source
from diagchd_batch.sources.checks import check_readable
from diagchd_batch.sources.local import source as local_source
from diagchd_batch.sources.source import MAX_NAMED_GAPS
from tests.support.servers_and_hosts.mounted import mounted
from tests.support.servers_and_hosts.ordinary_user import as_ordinary_user, reachable_directory


@pytest.fixture
def source(tmp_path: Path) -> Source:
    return open_source(str(tmp_path))


@pytest.fixture
def open_directory() -> Iterator[Path]:
    with reachable_directory() as directory:
        yield directory


def keys(source: Source, prefix: str = "") -> list[str]:
    return sorted(info.key for info in source.list(prefix))


def code_of(source: Source, key: str) -> FailureCode:
    with pytest.raises(ItemError) as caught:
        source.read(key)
    assert key in caught.value.detail
    return caught.value.code


def test_odd_files(source: Source, tmp_path: Path) -> None:
    (tmp_path / "directory.png").mkdir()
    (tmp_path / "broken.png").symlink_to("nowhere")
    (tmp_path / "circle.png").symlink_to("circle.png")
    os.mkfifo(tmp_path / "pipe.png")
    assert code_of(source, "directory.png") is FailureCode.UNREADABLE
    assert code_of(source, "broken.png") is FailureCode.UNREADABLE
    assert code_of(source, "circle.png") is FailureCode.UNREADABLE
    assert code_of(source, "pipe.png") is FailureCode.UNREADABLE
    assert code_of(source, "x" * 300) is FailureCode.NOT_FOUND
    assert keys(source) == ["broken.png", "circle.png", "pipe.png"], "they must be listed and fail, not be left out"


def test_links_are_followed_wherever_they_lead(tmp_path: Path) -> None:
    """Cohorts are often gathered as links into an archive elsewhere."""
    (tmp_path / "archive" / "study").mkdir(parents=True)
    (tmp_path / "archive" / "study" / "image.png").write_bytes(b"x")
    cohort = tmp_path / "cohort"
    cohort.mkdir()
    (cohort / "linked-study").symlink_to(tmp_path / "archive" / "study")
    (cohort / "linked.png").symlink_to("../archive/study/image.png")
    source = open_source(str(cohort))
    assert keys(source) == ["linked-study/image.png", "linked.png"]
    assert source.read("linked-study/image.png") == source.read("linked.png") == b"x"


def test_circles_of_directories_end(source: Source, tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "x").touch()
    (tmp_path / "a" / "b" / "up").symlink_to("../..")
    (tmp_path / "a" / "b" / "self").symlink_to(".")
    assert keys(source) == ["a/x"]


def gaps(source: Source) -> dict[str, int]:
    assert isinstance(source, ListingGaps)
    return source.listing_gaps()


def test_directories_that_link_to_each_other_are_walked_once(source: Source, tmp_path: Path) -> None:
    n = 11
    for i in range(n):
        (tmp_path / f"d{i}").mkdir()
        (tmp_path / f"d{i}" / "image.png").touch()
        for j in range(n):
            if i != j:
                (tmp_path / f"d{i}" / f"to{j}").symlink_to(f"../d{j}")
    assert keys(source) == sorted(f"d{i}/image.png" for i in range(n))
    assert gaps(source) == {"links_not_followed": n * (n - 1)}
    assert isinstance(source, ListingGaps)
    assert len(source.named_gaps()["links_not_followed"]) == MAX_NAMED_GAPS, "memory does not grow with their number"


def test_a_real_directory_wins_over_links_to_it(source: Source, tmp_path: Path) -> None:
    (tmp_path / "real" / "below").mkdir(parents=True)
    (tmp_path / "real" / "below" / "image.png").touch()
    (tmp_path / "a-link").symlink_to("real")
    (tmp_path / "b-link").symlink_to("real/below")
    (tmp_path / "c-link").symlink_to("b-link")
    assert keys(source) == ["real/below/image.png"]
    assert gaps(source) == {"links_not_followed": 3}
    assert isinstance(source, ListingGaps)
    assert source.named_gaps() == {"links_not_followed": ("a-link/", "b-link/", "c-link/")}
    assert keys(source) == ["real/below/image.png"]
    assert gaps(source) == {"links_not_followed": 3}, "a second listing counts anew"


def test_a_directory_elsewhere_is_listed_under_one_link(tmp_path: Path) -> None:
    archive, cohort = tmp_path / "archive", tmp_path / "cohort"
    (archive / "study" / "series").mkdir(parents=True)
    (archive / "study" / "image.png").touch()
    (archive / "study" / "series" / "image.png").touch()
    (archive / "other").mkdir()
    (archive / "other" / "image.png").touch()
    (archive / "study" / "see-also").symlink_to("../other")
    (archive / "other" / "see-also").symlink_to("../study")
    (cohort / "deep").mkdir(parents=True)
    (cohort / "deep" / "a").symlink_to(archive / "study")
    (cohort / "z").symlink_to(archive / "study")
    (cohort / "series").symlink_to(archive / "study" / "series")
    (cohort / "image.png").symlink_to(archive / "other" / "image.png")
    source = open_source(str(cohort))
    assert keys(source) == ["image.png", "series/image.png", "z/image.png", "z/see-also/image.png"]
    assert gaps(source) == {"links_not_followed": 2}


def test_a_link_into_a_hidden_directory_is_followed(source: Source, tmp_path: Path) -> None:
    """Layouts leave out hidden directories, so their content is only found under the link."""
    (tmp_path / ".store" / "x").mkdir(parents=True)
    (tmp_path / ".store" / "x" / "image.png").touch()
    (tmp_path / "study").symlink_to(".store/x")
    assert keys(source) == [".store/x/image.png", "study/image.png"]


def test_a_link_to_a_directory_above_does_not_list_the_archive_again(tmp_path: Path) -> None:
    (tmp_path / "beside").mkdir()
    (tmp_path / "beside" / "image.png").touch()
    (tmp_path / "archive" / "a").mkdir(parents=True)
    (tmp_path / "archive" / "a" / "image.png").touch()
    (tmp_path / "archive" / "up").symlink_to("..")
    linked = tmp_path / "linked-archive"
    linked.symlink_to("archive")
    for root in (tmp_path / "archive", linked):
        assert keys(open_source(str(root))) == ["a/image.png", "up/beside/image.png"]


def test_paths_that_are_too_long_cost_only_themselves(source: Source, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "image.png").touch()
    at = os.open(tmp_path, os.O_RDONLY)
    for _ in range(20):
        os.mkdir("x" * 250, dir_fd=at)
        below = os.open("x" * 250, os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = below
        os.close(os.open("y" * 240, os.O_CREAT | os.O_WRONLY, dir_fd=at))
    os.close(at)
    found = keys(source)
    assert "a/image.png" in found and 10 < len(found) < 17
    assert gaps(source)["paths_too_long"] >= 1
    shutil.rmtree(tmp_path / ("x" * 250))  # pytest cannot remove it


@pytest.mark.parametrize("year", [1000, 1600, 2300, 9000])
def test_file_times_of_any_year_fit_into_a_table(source: Source, tmp_path: Path, year: int) -> None:
    (tmp_path / "image.png").write_bytes(b"x")
    seconds = (year - 1970) * 31_556_952
    try:
        os.utime(tmp_path / "image.png", (seconds, seconds))
    except OSError:
        pytest.skip("this file system does not hold such times")
    (listed,) = source.list()
    assert listed == source.stat("image.png") == source.read_versioned("image.png")[1]
    assert listed.modified_ns is not None and -(2**63) <= listed.modified_ns < 2**63


def test_names_that_are_not_utf8_cost_only_themselves(source: Source, tmp_path: Path) -> None:
    """A file, a directory with two files below it, and a link to a directory have such names."""
    root = os.fsencode(tmp_path)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "image.png").touch()
    Path(os.fsdecode(root + b"/a/M\xfcller.png")).touch()
    below = Path(os.fsdecode(root + b"/study-\xff"))
    below.mkdir()
    for name in ("one.png", "two.png"):
        (below / name).touch()
    Path(os.fsdecode(root + b"/link-\xfe")).symlink_to("a")
    assert keys(source) == ["a/image.png"]
    assert gaps(source)["names_not_utf8"] == 3


def test_one_file_without_permission(open_directory: Path) -> None:
    (open_directory / "secret.png").write_bytes(b"x")
    (open_directory / "secret.png").chmod(0)
    (open_directory / "open.png").write_bytes(b"y")
    source = open_source(str(open_directory))
    assert as_ordinary_user(lambda: source.read("open.png")) == b"y"
    assert as_ordinary_user(lambda: keys(source)) == ["open.png", "secret.png"]
    with pytest.raises(ItemError) as caught:
        as_ordinary_user(lambda: source.read("secret.png"))
    assert caught.value.code is FailureCode.ACCESS_DENIED


def test_a_root_without_permission_is_a_fault(open_directory: Path) -> None:
    root = open_directory / "closed"
    root.mkdir()
    (root / "image.png").touch()
    root.chmod(0)
    source = open_source(str(root))
    for call in (lambda: source.read("image.png"), lambda: check_readable(source), lambda: keys(source)):
        with pytest.raises(StorageFault, match="closed") as caught:
            as_ordinary_user(call)
        assert "image.png" not in str(caught.value)


def test_a_directory_that_may_not_be_listed_is_not_left_out(open_directory: Path) -> None:
    (open_directory / "patient-x").mkdir(mode=0)
    source = open_source(str(open_directory))
    with pytest.raises(StorageFault, match="cannot be listed") as caught:
        as_ordinary_user(lambda: keys(source))
    assert "patient-x" not in str(caught.value)
    command = re.search(r"find it with: (.*)\)$", str(caught.value))
    assert command is not None
    found = as_ordinary_user(lambda: subprocess.run(["bash", "-c", command[1]], capture_output=True).stdout)
    assert found == os.fsencode(open_directory / "patient-x") + b"\n"


def test_links_into_a_place_that_is_closed(open_directory: Path) -> None:
    closed, cohort = open_directory / "closed", open_directory / "cohort"
    (closed / "study").mkdir(parents=True)
    (closed / "image.png").touch()
    cohort.mkdir()
    (cohort / "image.png").symlink_to(closed / "image.png")
    closed.chmod(0)
    source = open_source(str(cohort))
    assert as_ordinary_user(lambda: keys(source)) == ["image.png"]
    with pytest.raises(ItemError) as caught:
        as_ordinary_user(lambda: source.read("image.png"))
    assert caught.value.code is FailureCode.ACCESS_DENIED
    (cohort / "study").symlink_to(closed / "study")
    with pytest.raises(StorageFault, match="cannot be listed"):
        as_ordinary_user(lambda: keys(source))


def test_the_file_systems_own_directory_does_not_stop_a_listing(open_directory: Path) -> None:
    (open_directory / "lost+found").mkdir(mode=0)
    (open_directory / "image.png").touch()
    assert as_ordinary_user(lambda: keys(open_source(str(open_directory)))) == ["image.png"]


def test_files_all_without_permission_are_found_before_the_run(open_directory: Path) -> None:
    for number in range(3):
        (open_directory / f"{number}.png").touch(mode=0)
    with pytest.raises(StorageFault, match="listed but not read"):
        as_ordinary_user(lambda: check_readable(open_source(str(open_directory))))


def test_an_archive_that_is_unmounted_is_a_fault_not_a_million_missing_files(tmp_path: Path) -> None:
    archive = tmp_path / "mount"
    archive.mkdir()
    with mounted(archive, "1m"):
        (archive / "image.png").write_bytes(b"x")
        source = open_source(str(archive))
        assert source.read("image.png") == b"x"
        assert code_of(source, "other.png") is FailureCode.NOT_FOUND
    with pytest.raises(StorageFault, match="mounted"):
        source.read("image.png")
    archive.rmdir()
    with pytest.raises(StorageFault, match="No such file"):
        source.read("image.png")


def test_a_file_server_away_for_a_moment_is_waited_for(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "image.png").write_bytes(b"x")
    real_open, answers = os.open, [errno.ESTALE, errno.ETIMEDOUT]

    def open_with_trouble(path: Any, *arguments: Any, **keywords: Any) -> int:
        if answers and str(path).endswith("image.png"):
            raise OSError(answers.pop(), "the file server")
        return real_open(path, *arguments, **keywords)

    monkeypatch.setattr(os, "open", open_with_trouble)
    assert source.read("image.png") == b"x"
    assert not answers


@pytest.mark.parametrize("answers", [[errno.ESTALE, errno.EIO], [errno.EIO, errno.EIO]])
def test_also_for_one_that_answers_with_an_input_output_error_or_a_stale_handle(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answers: list[int]
) -> None:
    (tmp_path / "image.png").write_bytes(b"x")
    real_stat, real_open, left = Path.stat, os.open, {"stat": list(answers), "open": list(answers)}
    source.probe()

    def stat_with_trouble(path: Path, **keywords: Any) -> os.stat_result:
        if left["stat"] and path.name == "image.png":
            raise OSError(left["stat"].pop(), "the file server")
        return real_stat(path, **keywords)

    def open_with_trouble(path: Any, *arguments: Any, **keywords: Any) -> int:
        if left["open"] and str(path).endswith("image.png"):
            raise OSError(left["open"].pop(), "the file server")
        return real_open(path, *arguments, **keywords)

    monkeypatch.setattr(Path, "stat", stat_with_trouble)
    monkeypatch.setattr(os, "open", open_with_trouble)
    assert source.stat("image.png").size_bytes == 1
    assert source.read("image.png") == b"x"
    assert left == {"stat": [], "open": []}


def test_a_block_that_stays_unreadable_is_that_files_fault_soon(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "image.png").write_bytes(b"x")
    monkeypatch.setattr(local_source, "POSSIBLY_DAMAGED_TIMEOUT_S", 0.2)
    real_open = os.open

    def open_bad_block(path: Any, *arguments: Any, **keywords: Any) -> int:
        if str(path).endswith("image.png"):
            raise OSError(errno.EIO, "Input/output error")
        return real_open(path, *arguments, **keywords)

    source.probe()
    monkeypatch.setattr(os, "open", open_bad_block)
    assert code_of(source, "image.png") is FailureCode.UNREADABLE


def test_too_many_open_files_condemn_no_image(source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "image.png").write_bytes(b"x")
    source.probe()

    def refuse(*arguments: Any, **keywords: Any) -> Never:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(StorageFault, match="ulimit"):
        source.read("image.png")


def test_a_limit_of_few_open_files_suffices_for_many(source: Source, tmp_path: Path) -> None:
    for number in range(200):
        path = tmp_path / f"study-{number // 10}" / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    n_open = max(int(path.name) for path in Path("/proc/self/fd").iterdir()) + 1
    resource.setrlimit(resource.RLIMIT_NOFILE, (n_open + 16, hard))
    try:
        assert sum(source.read(info.key) == b"x" for info in source.list()) == 200
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_file_written_to_while_it_is_read(source: Source, tmp_path: Path) -> None:
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
        assert code_of(source, "image.png") is FailureCode.SOURCE_CHANGED
    finally:
        stopped.set()
        writer.join()


def test_many_files_are_listed_without_holding_them(tmp_path: Path, source: Source) -> None:
    for number in range(2000):
        directory = tmp_path / f"study-{number // 100}"
        directory.mkdir(exist_ok=True)
        (directory / f"{number}.png").touch()
    tracemalloc.start()
    seen = sum(1 for _ in source.list())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert seen == 2000
    assert peak < 150_000, "an ObjectInfo with its key takes about 250 bytes, so all of them take 500,000"
