"""Identity of a computation: a digest over everything that changes its result."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any


def fingerprint(fields: Mapping[str, Any]) -> str:
    """SHA-256, as 64 hex digits, of `fields` in a canonical form: key order and spacing do not matter.

    Values are what JSON can hold, without NaN; anything else raises TypeError or ValueError.
    """
    canonical = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def differences(existing: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """The fields in which two identities differ: name → (existing value, wanted value), None where one lacks it."""
    names = sorted({*existing, *wanted})
    return {name: (existing.get(name), wanted.get(name)) for name in names if existing.get(name) != wanted.get(name)}
