"""The key of an output's identifiers. It is given from outside or made once, and an output never gets a second one."""

import hmac
import json
import re
import secrets
from collections.abc import Mapping
from pathlib import Path

from diagchd_batch import output_layout
from diagchd_batch.errors import ConfigError
from diagchd_batch.storage import Store
from diagchd_batch.studies.identifiers import MIN_KEY_BYTES

KEY_VARIABLE = "DIAGCHD_ID_KEY"
KEY_FILE_VARIABLE = "DIAGCHD_ID_KEY_FILE"

_CHECKED_TEXT = b"diagchd-batch identifier key check"
_HEX_KEY = re.compile(r"[0-9a-fA-F]{64}")
_MAX_KEY_FILE_BYTES = 65_536


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
        key = _stored_key(private)
        assert key is not None  # just created, by us or by another driver
    private.create(output_layout.ID_KEY_CHECK, _check_value(key))
    _refuse_another_key(private, key)
    return key


def find_key(private: Store, environ: Mapping[str, str]) -> bytes | None:
    """Return the key, or None if none was given or made so far. Unlike `load_or_create_key` it writes nothing.

    Args:
        private: The private tree of the output.
        environ: The environment, in which `KEY_VARIABLE` or `KEY_FILE_VARIABLE` may give the key.

    Raises:
        ConfigError: The given key is malformed, is not that of this output, or is missing although the output's key
            was given from outside.
    """
    key = _given_key(environ) or _stored_key(private)
    if key is not None:
        _refuse_another_key(private, key)
    elif private.stat(output_layout.ID_KEY_CHECK) is not None:
        raise ConfigError(
            "this output's identifiers were made with a key given from outside, and none is given now; "
            f"set {KEY_VARIABLE} or {KEY_FILE_VARIABLE} to that key"
        )
    return key


def _given_key(environ: Mapping[str, str]) -> bytes | None:
    text, file = environ.get(KEY_VARIABLE), environ.get(KEY_FILE_VARIABLE)
    if text and file:
        raise ConfigError(f"both {KEY_VARIABLE} and {KEY_FILE_VARIABLE} are set; unset one")
    if text:
        return _parse_key(text, KEY_VARIABLE)
    if file:
        return _parse_key(_read_key_file(Path(file)), f"the file that {KEY_FILE_VARIABLE} names")
    return None


def _read_key_file(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_KEY_FILE_BYTES)
        return data.decode()
    except OSError as error:
        raise ConfigError(f"{KEY_FILE_VARIABLE}: cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError:
        raise ConfigError(f"{KEY_FILE_VARIABLE}: {path} is not text; make one with: openssl rand -hex 32") from None


def _parse_key(text: str, source: str) -> bytes:
    """Read 64 hex digits as 32 bytes, and any other text as its UTF-8 bytes. The message never shows the key."""
    text = text.strip()
    if _HEX_KEY.fullmatch(text):
        return bytes.fromhex(text)
    key = text.encode(errors="surrogateescape")
    if len(text) < MIN_KEY_BYTES:
        raise ConfigError(
            f"{source}: the identifier key has {len(text)} characters, fewer than {MIN_KEY_BYTES}; "
            "make one with: openssl rand -hex 32"
        )
    return key


def _stored_key(private: Store) -> bytes | None:
    if private.stat(output_layout.ID_KEY) is None:
        return None
    return _parse_key(private.read(output_layout.ID_KEY).decode(), f"{output_layout.ID_KEY} in the private tree")


def _check_value(key: bytes) -> bytes:
    return json.dumps({"hmac_sha256": hmac.digest(key, _CHECKED_TEXT, "sha256").hex()}).encode()


def _refuse_another_key(private: Store, key: bytes) -> None:
    if private.stat(output_layout.ID_KEY_CHECK) is None:
        return
    if not hmac.compare_digest(private.read(output_layout.ID_KEY_CHECK), _check_value(key)):
        raise ConfigError(
            "the identifier key is not the one this output was made with, so its tokens would not match; set "
            f"{KEY_VARIABLE} or {KEY_FILE_VARIABLE} to that key (unset both if the output made its own), or choose "
            "another output.uri"
        )
