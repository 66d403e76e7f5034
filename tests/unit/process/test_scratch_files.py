"""Single temporary files have no name, and only one package makes temporary files."""

import ast
import errno
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest

import diagchd_batch
from diagchd_batch.errors import RunFault
from diagchd_batch.process import trusted_tmpdir
from diagchd_batch.process.scratch_files import scratch_directory, scratch_file
from diagchd_batch.process.trusted_tmpdir import TemporaryBaseWarning, temporary_base
from tests.support.servers_and_hosts.ordinary_user import reachable_directory

PACKAGE = Path(diagchd_batch.__file__).parent
OWN_CACHE = PACKAGE / "model" / "packages" / "s3.py"  # It fetches weights to a directory beside their cache.


@pytest.fixture
def directory() -> Iterator[Path]:
    """Yield a directory below `/tmp` without the sticky bit, in which all users can write. No variable names it."""
    with pytest.MonkeyPatch.context() as patch, reachable_directory() as directory:
        for name in ("TMPDIR", "TEMP", "TMP"):
            patch.delenv(name, raising=False)
        yield directory.resolve()


def test_only_one_package_makes_temporary_files() -> None:
    """A directory that other code made with `tempfile` would stay in TMPDIR if its process were killed."""
    users = [
        path
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if (isinstance(node, ast.Import) and "tempfile" in [name.name for name in node.names])
        or (isinstance(node, ast.ImportFrom) and node.module == "tempfile")
    ]
    assert [path for path in users if path.parent != PACKAGE / "process" and path != OWN_CACHE] == []


def test_a_scratch_file_has_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with scratch_file() as file:
        file.write(b"names")
        file.flush()
        assert list(tmp_path.iterdir()) == []
        assert os.fstat(file.fileno()).st_nlink == 0
        assert os.fstat(file.fileno()).st_mode & 0o077 == 0


def test_a_full_disk_at_the_end_of_a_scratch_file_hides_no_earlier_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda dir: os.fdopen(os.open("/dev/full", os.O_RDWR), "w+b"))
    with pytest.raises(KeyError), scratch_file() as file:
        file.write(b"buffered")
        raise KeyError


def test_a_scratch_file_that_cannot_be_made_is_a_fault_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(dir: Path) -> NoReturn:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    with pytest.raises(RunFault, match=r"No space.*TMPDIR"), scratch_file():
        pass


def make_directory() -> Path:
    with scratch_directory() as directory:
        return directory.parent


def make_file() -> Path:
    with scratch_file() as file:
        return Path(f"/proc/self/fd/{file.fileno()}").readlink().parent


MAKERS = pytest.mark.parametrize("make", [make_directory, make_file, temporary_base])


@MAKERS
def test_where_other_users_can_rename_nothing_is_made_but_elsewhere_with_a_message(
    make: Callable[[], Path], directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(directory))
    with pytest.warns(TemporaryBaseWarning, match=rf"go to /tmp, .* {directory}: .* sticky bit"):
        assert make() == Path("/tmp")


@MAKERS
def test_without_a_safe_place_nothing_is_made(
    make: Callable[[], Path], directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trusted_tmpdir, "SYSTEM_DIRECTORIES", (str(directory),))
    with pytest.raises(RunFault, match=r"sticky bit.*TMPDIR.*emptyDir"):
        make()
    assert list(directory.iterdir()) == []


@MAKERS
@pytest.mark.parametrize("medium", ["disk", "memory"])
def test_in_a_pod_a_volume_without_the_sticky_bit_can_be_used(
    make: Callable[[], Path], medium: str, directory: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The lines are those of a pod whose emptyDir is mounted where the directory lies."""
    root, kind = ("/", "tmpfs tmpfs rw") if medium == "memory" else (f"/var/lib/kubelet/{VOLUME}", "ext4 /dev/vda1 rw")
    mounts = tmp_path / "mountinfo"
    mounts.write_text(f"2100 2090 0:120 / / rw - overlay overlay rw\n2107 2100 8:1 {root} {directory} rw - {kind}\n")
    monkeypatch.setattr(trusted_tmpdir, "_MOUNTS", mounts)
    monkeypatch.setattr(trusted_tmpdir, "SYSTEM_DIRECTORIES", (str(directory),))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
    assert make() == directory


VOLUME = "pods/0b6e1d3c-5f0a-4c55-9d5e-3f2b8a1c7e90/volumes/kubernetes.io~empty-dir/tmp"


@pytest.mark.parametrize(
    "mount",
    [
        "/var/lib/kubelet/pods/0b6e/volumes/kubernetes.io~csi/data/mount {} rw - ext4 /dev/vdb rw",
        "/exports/shared {} rw - ext4 /dev/vda1 rw",
        "/ {} rw - nfs4 server:/shared rw",
    ],
)
def test_in_a_pod_a_volume_that_others_can_mount_is_not_used(
    mount: str, directory: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "mountinfo").write_text(f"2107 2100 8:1 {mount.format(directory)}\n")
    monkeypatch.setattr(trusted_tmpdir, "_MOUNTS", tmp_path / "mountinfo")
    monkeypatch.setattr(trusted_tmpdir, "SYSTEM_DIRECTORIES", (str(directory),))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
    with pytest.raises(RunFault, match="sticky bit"):
        temporary_base()
