"""A job whose output cannot be written is refused before anything is scored, and the check writes nothing."""

import os
from pathlib import Path

import pytest

from diagchd_batch.errors import ConfigError
from diagchd_batch.results.output import Output
from diagchd_batch.scoring.driver.storage_and_limit_checks import check_writable
from diagchd_batch.storage import open_store


def _check(output: Path, private: Path) -> None:
    check_writable(Output(open_store(str(output)), open_store(str(private))))


def test_places_that_can_be_made_are_taken_and_not_made(tmp_path: Path) -> None:
    before = tmp_path.stat()
    _check(tmp_path / "a" / "b", tmp_path / "c")
    assert not list(tmp_path.iterdir())
    assert tmp_path.stat().st_mtime_ns == before.st_mtime_ns  # nothing was made and removed again


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("")
    with pytest.raises(ConfigError, match=r"output\.uri: .*/results is no directory"):
        _check(tmp_path / "results" / "tonight", tmp_path / "private")
    with pytest.raises(ConfigError, match=r"output\.private_uri: .*/results is no directory"):
        _check(tmp_path / "tonight", tmp_path / "results")


def test_a_directory_of_somebody_else_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs, access = tmp_path / "theirs", os.access
    theirs.mkdir()
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != theirs and access(path, mode))  # root may all
    with pytest.raises(ConfigError, match=r"output\.uri: this user may not write in .*/theirs; change its rights"):
        _check(tmp_path / "theirs" / "tonight", tmp_path / "mine")


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="there is no /proc")
def test_a_place_that_takes_no_files_is_named_although_its_rights_allow_them(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"output\.uri: (there is no room|this user may not write) in /proc\b"):
        _check(Path("/proc/tonight"), tmp_path / "private")
    with pytest.raises(ConfigError, match=r"output\.private_uri: .* in /proc\b"):
        _check(tmp_path / "tonight", Path("/proc/tonight"))
