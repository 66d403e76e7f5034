import os
import stat
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from diagchd_batch.errors import ConfigError
from diagchd_batch.storage import open_store
from diagchd_batch.studies.keys import find_key, load_or_create_key


@pytest.fixture
def private(tmp_path):
    return open_store(str(tmp_path / "private"), owner_only=True)


def test_made_once_then_found_again(private, tmp_path) -> None:
    assert find_key(private, {}) is None
    key = load_or_create_key(private, {})
    assert len(key) == 32
    assert load_or_create_key(private, {}) == find_key(private, {}) == key
    for file in (tmp_path / "private").iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_two_outputs_get_two_keys(tmp_path) -> None:
    one, other = (load_or_create_key(open_store(str(tmp_path / name)), {}) for name in "ab")
    assert one != other


def test_of_many_drivers_at_once_all_get_one_key(private) -> None:
    together = Barrier(8)

    def load(_):
        together.wait()
        return load_or_create_key(private, {})

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(load, range(8)))) == 1


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("sixteen letters!", b"sixteen letters!"),
        ("ein längerer Schlüssel", "ein längerer Schlüssel".encode()),
        ("0F" * 32, b"\x0f" * 32),
        ("0f" * 31, b"0f" * 31),
    ],
)
def test_given_in_the_environment_or_in_a_file(private, tmp_path, text, key) -> None:
    assert load_or_create_key(private, {"DIAGCHD_ID_KEY": text}) == key
    (tmp_path / "key").write_text(text + "\n", encoding="utf-8")
    assert load_or_create_key(private, {"DIAGCHD_ID_KEY_FILE": str(tmp_path / "key")}) == key


def test_a_given_key_is_not_stored(private, tmp_path) -> None:
    load_or_create_key(private, {"DIAGCHD_ID_KEY": "correct horse battery"})
    for file in (tmp_path / "private").rglob("*"):
        assert b"horse" not in file.read_bytes()


def test_another_key_than_the_outputs_is_refused_without_being_shown(private) -> None:
    load_or_create_key(private, {})
    with pytest.raises(ConfigError, match="DIAGCHD_ID_KEY") as refused:
        load_or_create_key(private, {"DIAGCHD_ID_KEY": "correct horse battery"})
    assert refused.value.exit_code == 2
    assert "horse" not in str(refused.value)


def test_no_second_key_is_made_where_the_first_was_given_from_outside(private) -> None:
    key = load_or_create_key(private, {"DIAGCHD_ID_KEY": "correct horse battery"})
    for look in (find_key, load_or_create_key):
        with pytest.raises(ConfigError, match="from outside"):
            look(private, {})
    assert find_key(private, {"DIAGCHD_ID_KEY": "correct horse battery"}) == key


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"DIAGCHD_ID_KEY": "too short"}, "9 characters"),
        ({"DIAGCHD_ID_KEY_FILE": "/nowhere/key"}, "No such file"),
        ({"DIAGCHD_ID_KEY": "sixteen letters!", "DIAGCHD_ID_KEY_FILE": "/nowhere/key"}, "unset one"),
    ],
)
def test_malformed_keys_are_configuration_errors(private, environ, expected) -> None:
    with pytest.raises(ConfigError, match=expected):
        load_or_create_key(private, environ)


def test_a_key_file_of_random_bytes_is_refused(private, tmp_path) -> None:
    (tmp_path / "key").write_bytes(b"\xff\xfe" + os.urandom(30))
    with pytest.raises(ConfigError, match="not text"):
        load_or_create_key(private, {"DIAGCHD_ID_KEY_FILE": str(tmp_path / "key")})
