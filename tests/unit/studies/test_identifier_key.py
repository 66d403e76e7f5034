import os
import shutil
import stat
import warnings
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest

from diagchd_batch import output_layout
from diagchd_batch.errors import ConfigError
from diagchd_batch.storage import Store, open_store
from diagchd_batch.studies.identifier_key import WeakKeyWarning, find_key, load_or_create_key

KEPT_PRIVATE = Path(__file__).parents[2] / "data" / "output_f4f89d0" / "output" / "private"
WEAK = pytest.mark.filterwarnings("ignore::diagchd_batch.studies.identifier_key.WeakKeyWarning")

Load = Callable[[Store, Mapping[str, str]], bytes | None]


@pytest.fixture
def private(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "private"), owner_only=True)


def test_made_once_then_found_again(private: Store, tmp_path: Path) -> None:
    assert find_key(private, {}) is None
    key = load_or_create_key(private, {})
    assert len(key) == 32
    assert load_or_create_key(private, {}) == find_key(private, {}) == key
    for file in (tmp_path / "private").iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize("load", [find_key, load_or_create_key])
def test_a_lost_key_is_called_lost(private: Store, load: Load) -> None:
    load_or_create_key(private, {})
    private.delete(output_layout.ID_KEY)
    with pytest.raises(ConfigError, match=r"key is lost or not given: .* restore that file from a backup") as error:
        load(private, {})
    assert output_layout.ID_KEY in str(error.value)


def test_two_outputs_get_two_keys(tmp_path: Path) -> None:
    one, other = (load_or_create_key(open_store(str(tmp_path / name)), {}) for name in "ab")
    assert one != other


def test_of_many_drivers_at_once_all_get_one_key(private: Store) -> None:
    together = Barrier(8)

    def load(_: int) -> bytes:
        together.wait()
        return load_or_create_key(private, {})

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(load, range(8)))) == 1


@pytest.mark.parametrize("step", range(12))
@pytest.mark.parametrize("load", [find_key, load_or_create_key])
def test_a_driver_that_makes_the_key_between_two_steps_of_another_is_no_fault(
    private: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, load: Load, step: int
) -> None:
    """Whatever step of the loser the winner comes before, the loser goes on with the winner's key or finds none yet."""
    winners: list[bytes] = []
    steps = iter(range(step, -1, -1))

    def come_between(method: str) -> None:
        original = getattr(type(private), method)

        def call(store: Store, *arguments: Any, **options: Any) -> Any:
            if store is private and next(steps, None) == 0:
                winners.append(load_or_create_key(open_store(str(tmp_path / "private"), owner_only=True), {}))
            return original(store, *arguments, **options)

        monkeypatch.setattr(type(private), method, call)

    for method in ("stat", "read", "create"):
        come_between(method)
    key = load(private, {})
    assert key in ([*winners, None] if load is find_key else winners or [find_key(private, {})])


@pytest.mark.parametrize("text", ["0F" * 32, "0f" * 32])
def test_64_hex_digits_are_the_key(private: Store, tmp_path: Path, text: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load_or_create_key(private, {"DIAGCHD_ID_KEY": text}) == b"\x0f" * 32
        (tmp_path / "key").write_text(text + "\n", encoding="utf-8")
        assert load_or_create_key(private, {"DIAGCHD_ID_KEY_FILE": str(tmp_path / "key")}) == b"\x0f" * 32


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("klinikum-heidelberg", "21be4d7befc84d6138f1a9273843214df815154673d76b2c1601d485e4cbbd21"),
        ("ein längerer Schlüssel", "911feebbdf08622cf84ae429c3885ac5bd9d0c75cb12063a12757331b84ec9be"),
        ("0f" * 31, "41cd580a6a6beec79f227972ab1986bdc914d6c841f62546da7e9d098a3ffa03"),
    ],
)
def test_another_text_is_derived_slowly_and_always_to_the_same_key(
    private: Store, tmp_path: Path, text: str, key: str
) -> None:
    with pytest.warns(WeakKeyWarning, match="derived.*token_hex") as warned:
        assert load_or_create_key(private, {"DIAGCHD_ID_KEY": text}).hex() == key
    assert text not in str(warned[0].message)
    (tmp_path / "key").write_text(text + "\n", encoding="utf-8")
    with pytest.warns(WeakKeyWarning):
        assert load_or_create_key(private, {"DIAGCHD_ID_KEY_FILE": str(tmp_path / "key")}).hex() == key


def test_an_output_of_an_earlier_version_goes_on_with_the_bytes_of_its_text(tmp_path: Path) -> None:
    text = "output-f4f89d0-key-for-tests-only"
    shutil.copytree(KEPT_PRIVATE, tmp_path / "private")
    private = open_store(str(tmp_path / "private"), owner_only=True)
    for load in (find_key, load_or_create_key):
        with pytest.warns(WeakKeyWarning, match="earlier versions"):
            assert load(private, {"DIAGCHD_ID_KEY": text}) == text.encode()
        with pytest.raises(ConfigError, match="not the one this output was made with"):
            load(private, {"DIAGCHD_ID_KEY": text + "!"})


@WEAK
def test_a_given_key_is_not_stored(private: Store, tmp_path: Path) -> None:
    load_or_create_key(private, {"DIAGCHD_ID_KEY": "correct horse battery"})
    for file in (tmp_path / "private").rglob("*"):
        assert b"horse" not in file.read_bytes()


@WEAK
def test_another_key_than_the_outputs_is_refused_without_being_shown(private: Store) -> None:
    load_or_create_key(private, {})
    with pytest.raises(ConfigError, match="DIAGCHD_ID_KEY") as refused:
        load_or_create_key(private, {"DIAGCHD_ID_KEY": "correct horse battery"})
    assert refused.value.exit_code == 2
    assert "horse" not in str(refused.value)


@WEAK
def test_no_second_key_is_made_where_the_first_was_given_from_outside(private: Store) -> None:
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
def test_malformed_keys_are_configuration_errors(private: Store, environ: dict[str, str], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        load_or_create_key(private, environ)


def test_a_key_file_of_random_bytes_is_refused(private: Store, tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"\xff\xfe" + os.urandom(30))
    with pytest.raises(ConfigError, match="not text"):
        load_or_create_key(private, {"DIAGCHD_ID_KEY_FILE": str(tmp_path / "key")})
