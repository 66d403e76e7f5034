"""The key of an output's identifiers. It is given from outside or made once, and an output never gets a second one.

A key of 64 hex digits is taken as it is. Any other text could be in a word list, and anyone who has the output's tokens
could try that list. The key of such a text is therefore derived with scrypt, which makes every try slow. Outputs of
earlier versions used the bytes of the text itself, and go on with that key: their check value tells.
"""

import hashlib
import hmac
import re
import secrets
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from diagchd_batch import output_layout
from diagchd_batch.errors import ConfigError
from diagchd_batch.json_records import JsonRecord
from diagchd_batch.storage import Store
from diagchd_batch.studies.identifiers import MIN_KEY_BYTES

KEY_VARIABLE = "DIAGCHD_ID_KEY"
KEY_FILE_VARIABLE = "DIAGCHD_ID_KEY_FILE"

_CHECKED_TEXT = b"diagchd-batch identifier key check"
_HEX_KEY = re.compile(r"[0-9a-fA-F]{64}")
_MAX_KEY_FILE_BYTES = 65_536
_MAKE_A_KEY = "make a key with: python -c 'import secrets; print(secrets.token_hex(32))'"

# A try costs 128 MiB and about half a second on one core. The salt is a constant, because one text has to give one key
# in every output that it is given to. Changing any of these changes the tokens of every output with such a key.
_SCRYPT_SALT = b"diagchd-batch identifier key, derivation 1"
_SCRYPT_N_R_P = (2**17, 8, 1)


class WeakKeyWarning(UserWarning):
    """The identifier key is a text that somebody could guess."""


@dataclass(frozen=True, slots=True)
class _KeyText:
    """The text of a key, and where it was found."""

    text: str
    source: str

    @property
    def is_hex(self) -> bool:
        return bool(_HEX_KEY.fullmatch(self.text))


class KeyCheck(JsonRecord):
    """`id_key_check.json`: tells whether a key is the output's, without holding the key."""

    hmac_sha256: str


def load_or_create_key(private: Store, environ: Mapping[str, str]) -> bytes:
    """Return the key of an output, and make one if there is none.

    If two callers do so at once, the second one reads the key of the first.

    Args:
        private: The private tree of the output.
        environ: The environment, in which `KEY_VARIABLE` or `KEY_FILE_VARIABLE` may give the key.

    Raises:
        ConfigError: The given key is malformed, or is not the one that this output's identifiers were made with.
    """
    key = find_key(private, environ)
    if key is None:
        private.create(output_layout.ID_KEY, secrets.token_hex(32).encode())
        key = find_key(private, environ)
        assert key is not None  # just created, by us or by another driver
    if not _check_of(key).create(private, output_layout.ID_KEY_CHECK) and not _is_recorded(private, key):
        raise _another_key()  # another driver has recorded its key in the meantime
    return key


def find_key(private: Store, environ: Mapping[str, str]) -> bytes | None:
    """Return the key, or None if none was given or made so far. Unlike `load_or_create_key` it writes nothing.

    Args:
        private: The private tree of the output.
        environ: The environment, in which `KEY_VARIABLE` or `KEY_FILE_VARIABLE` may give the key.

    Raises:
        ConfigError: The given key is malformed or is not that of this output, or there is none although the output has
            identifiers.
    """
    # In this order: another driver may make the key in the meantime, and it stores the key before the check value.
    has_check = private.stat(output_layout.ID_KEY_CHECK) is not None
    found = _find_text(private, environ)
    if found is not None:
        return _matching_key(private, found)
    if has_check:
        raise ConfigError(
            f"this output's identifier key is lost or not given: {output_layout.ID_KEY} is not in the private tree, "
            f"and neither {KEY_VARIABLE} nor {KEY_FILE_VARIABLE} is set. If the output made its own key, restore that "
            "file from a backup; if the key was given from outside, set one of the variables to it. Without the key, "
            "choose another output.uri and score again"
        )
    return None


def _find_text(private: Store, environ: Mapping[str, str]) -> _KeyText | None:
    text, file = environ.get(KEY_VARIABLE), environ.get(KEY_FILE_VARIABLE)
    if text and file:
        raise ConfigError(f"both {KEY_VARIABLE} and {KEY_FILE_VARIABLE} are set; unset one")
    if text:
        return _checked_text(text, KEY_VARIABLE)
    if file:
        return _checked_text(_read_key_file(Path(file)), f"the file that {KEY_FILE_VARIABLE} names")
    return _stored_text(private)


def _stored_text(private: Store) -> _KeyText | None:
    if private.stat(output_layout.ID_KEY) is None:
        return None
    return _checked_text(private.read(output_layout.ID_KEY).decode(), f"{output_layout.ID_KEY} in the private tree")


def _read_key_file(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_KEY_FILE_BYTES)
        return data.decode()
    except OSError as error:
        raise ConfigError(f"{KEY_FILE_VARIABLE}: cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError:
        raise ConfigError(f"{KEY_FILE_VARIABLE}: {path} is not text; {_MAKE_A_KEY}") from None


def _checked_text(text: str, source: str) -> _KeyText:
    """Refuse a text that is too short. The message never shows the key."""
    text = text.strip()
    if len(text) < MIN_KEY_BYTES:
        raise ConfigError(
            f"{source}: the identifier key has {len(text)} characters, fewer than {MIN_KEY_BYTES}; {_MAKE_A_KEY}"
        )
    return _KeyText(text, source)


def _matching_key(private: Store, found: _KeyText) -> bytes:
    """Return the key that this output's check value was made with, or that of a new output if it has none."""
    is_new = private.stat(output_layout.ID_KEY_CHECK) is None
    if found.is_hex:
        key = bytes.fromhex(found.text)
        if is_new or _is_recorded(private, key):
            return key
        raise _another_key()
    key, how = found.text.encode(errors="surrogateescape"), "is its bytes, as in earlier versions"
    if is_new or not _is_recorded(private, key):
        key, how = _derive(key), "is derived from it with scrypt"
        if not is_new and not _is_recorded(private, key):
            raise _another_key()
    warnings.warn(
        f"{found.source} is not 64 hex digits. This output's identifier key {how}, and whoever guesses the text can "
        f"reverse the tokens. For the next output, {_MAKE_A_KEY}",
        WeakKeyWarning,
        stacklevel=3,
    )
    return key


def _derive(text: bytes) -> bytes:
    n, r, p = _SCRYPT_N_R_P
    return hashlib.scrypt(text, salt=_SCRYPT_SALT, n=n, r=r, p=p, maxmem=256 * n * r, dklen=32)


def _is_recorded(private: Store, key: bytes) -> bool:
    return KeyCheck.read(private, output_layout.ID_KEY_CHECK) == _check_of(key)


def _another_key() -> ConfigError:
    return ConfigError(
        "the identifier key is not the one this output was made with, so its tokens would not match; set "
        f"{KEY_VARIABLE} or {KEY_FILE_VARIABLE} to that key (unset both if the output made its own), or choose "
        "another output.uri"
    )


def _check_of(key: bytes) -> KeyCheck:
    return KeyCheck(hmac_sha256=hmac.digest(key, _CHECKED_TEXT, "sha256").hex())
