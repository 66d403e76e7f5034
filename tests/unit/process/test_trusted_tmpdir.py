"""Temporary files are written to TMPDIR, unless another user can rename files there."""

import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from diagchd_batch.errors import RunFault
from diagchd_batch.process import trusted_tmpdir as module
from diagchd_batch.process.trusted_tmpdir import TemporaryBaseWarning, problem_of, temporary_base
from tests.support.servers_and_hosts.ordinary_user import NOBODY, as_ordinary_user, reachable_directory

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as two users")


@pytest.fixture
def directory() -> Iterator[Path]:
    """Yield a directory below `/tmp` that only its user can change."""
    with reachable_directory() as directory:
        directory.chmod(0o755)
        yield directory.resolve()


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TMPDIR", "TEMP", "TMP"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("mode", [0o700, 0o755, 0o1777])
def test_a_safe_tmpdir_is_used_whatever_its_length(directory: Path, mode: int, monkeypatch: pytest.MonkeyPatch) -> None:
    named = directory / ("x" * 120)
    named.mkdir()
    named.chmod(mode)
    monkeypatch.setenv("TMPDIR", str(named))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert temporary_base() == named


def test_without_a_variable_it_is_the_systems_own() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert temporary_base() == Path("/tmp")


@pytest.mark.parametrize("mode", [0o777, 0o757])
def test_a_tmpdir_in_which_others_can_rename_is_passed_over_with_a_message(
    directory: Path, mode: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = directory / "open"
    named.mkdir()
    named.chmod(mode)
    monkeypatch.setenv("TMPDIR", str(named))
    with pytest.warns(TemporaryBaseWarning, match=f"{named}: .*sticky"):
        assert temporary_base() == Path("/tmp")


@pytest.mark.parametrize("problem", ["missing", "file", "closed"])
def test_a_tmpdir_that_cannot_be_used_is_passed_over_with_a_message(
    directory: Path, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = directory / "named"
    if problem == "file":
        named.touch()
    elif problem == "closed":
        named.mkdir()
    monkeypatch.setenv("TMPDIR", str(named))

    def base_and_message() -> tuple[Path, str]:
        with warnings.catch_warnings(record=True) as shown:
            warnings.simplefilter("always")
            return temporary_base(), str(shown[0].message)

    base, message = as_ordinary_user(base_and_message)
    assert base == Path("/tmp")
    assert str(named) in message


def test_a_parent_in_which_others_can_rename_counts_too(directory: Path) -> None:
    (directory / "open").mkdir()
    (directory / "open" / "own").mkdir(mode=0o700)
    assert problem_of(directory / "open" / "own") is None
    (directory / "open").chmod(0o777)
    assert "sticky" in (problem_of(directory / "open" / "own") or "")


@needs_root
def test_a_directory_of_another_user_is_no_place_even_with_the_sticky_bit(directory: Path) -> None:
    os.chown(directory, NOBODY, NOBODY)
    directory.chmod(0o1777)
    assert "another user" in (problem_of(directory) or "")


def test_a_group_may_write_only_if_it_is_the_users_own(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory.chmod(0o775)
    monkeypatch.setattr(module, "_is_own_group", lambda group: False)
    assert "group" in (problem_of(directory) or "")
    monkeypatch.setattr(module, "_is_own_group", lambda group: True)
    assert problem_of(directory) is None


def test_a_link_is_followed_once_and_for_all(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (directory / "real").mkdir()
    (directory / "link").symlink_to("real")
    monkeypatch.setenv("TMPDIR", str(directory / "link"))
    assert temporary_base() == directory / "real"


def test_without_a_safe_place_the_message_names_each(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory.chmod(0o777)
    monkeypatch.setattr(module, "SYSTEM_DIRECTORIES", (str(directory), str(directory / "none")))
    with pytest.raises(RunFault, match=r"sticky bit.*no directory.*Set TMPDIR"):
        temporary_base()
