"""Single temporary files have no name, and only one package makes temporary files."""

import ast
import os
import tempfile
from pathlib import Path

import pytest

import diagchd_batch
from diagchd_batch.errors import RunFault
from diagchd_batch.process import trusted_tmpdir
from diagchd_batch.process.scratch_files import scratch_directory, scratch_file

PACKAGE = Path(diagchd_batch.__file__).parent
OWN_CACHE = PACKAGE / "model" / "packages" / "s3.py"  # It fetches weights to a directory beside their cache.


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
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with scratch_file() as file:
        file.write(b"names")
        file.flush()
        assert list(tmp_path.iterdir()) == []
        assert os.fstat(file.fileno()).st_nlink == 0
        assert os.fstat(file.fileno()).st_mode & 0o077 == 0


def test_a_full_disk_at_the_end_of_a_scratch_file_hides_no_earlier_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda: os.fdopen(os.open("/dev/full", os.O_RDWR), "w+b"))
    with pytest.raises(KeyError), scratch_file() as file:
        file.write(b"buffered")
        raise KeyError


def test_a_scratch_file_that_cannot_be_made_is_a_fault_of_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    with pytest.raises(RunFault, match="TMPDIR"), scratch_file():
        pass


def test_a_container_whose_only_directory_lacks_the_sticky_bit_can_be_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.chmod(0o777)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(trusted_tmpdir, "SYSTEM_DIRECTORIES", (str(tmp_path),))
    for name in ("TMPDIR", "TEMP", "TMP"):
        monkeypatch.delenv(name, raising=False)
    with scratch_directory() as directory:
        assert directory.parent == tmp_path
    assert list(tmp_path.iterdir()) == []
