"""The fingerprint of a run: one digest over everything that changes a score."""

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator

_SCORING_VERSION = "scoring_version"
_SCHEMA_VERSION = "schema_version"
_BEFORE_SCORING_VERSIONS = 1
"""The scoring version of the code that recorded the schema version (always 1) in its place."""
_RUNTIME = "runtime"
_BEFORE_RUNTIMES = "tensorflow"
"""The runtime of the runs that recorded none."""
_REGION = "region"
_WHOLE_FRAME = "whole"
"""The `input.region` of the runs that recorded none, which are all that scored whole frames."""


def fingerprint(fields: Mapping[str, Any]) -> str:
    """Return the SHA-256 of `fields` in canonical form: the order of the keys and spacing do not matter.

    Args:
        fields: Values that JSON can hold.

    Returns:
        64 hex digits.

    Raises:
        ValueError: If a value is NaN or infinite.
        TypeError: If JSON cannot hold a value.
    """
    canonical = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _checked(fields: dict[str, Any]) -> dict[str, Any]:
    fingerprint(fields)
    return fields


FingerprintFields = Annotated[dict[str, Any], AfterValidator(_checked)]
"""The type of fields in a record: a record is damaged if no fingerprint can be made of them."""


def current_form(recorded: Mapping[str, Any]) -> dict[str, Any]:
    """Return recorded fingerprint fields as this version of the program would record them.

    Runs of versions before scoring versions existed recorded the schema version of the tables. It does not change a
    score, so it is dropped, and the scoring version that was in force at that time takes its place. A field that a
    later version adds belongs here too, with the value that earlier runs were scored with: `runtime` is such a field.
    """
    fields = {name: value for name, value in recorded.items() if name != _SCHEMA_VERSION}
    if _SCHEMA_VERSION in recorded:
        fields.setdefault(_SCORING_VERSION, _BEFORE_SCORING_VERSIONS)
    fields.setdefault(_RUNTIME, _BEFORE_RUNTIMES)
    return fields


def current_fingerprint(recorded_fingerprint: str, recorded_fields: Mapping[str, Any]) -> str:
    """Return the fingerprint by which a recorded run is compared with runs of this version of the program.

    A run keeps the fingerprint that it began with in its records and tables. Only comparisons use this one. A
    fingerprint that is not the digest of the fields beside it stands for itself.

    Args:
        recorded_fingerprint: The fingerprint in the run's record.
        recorded_fields: The fields that it was made from.
    """
    if recorded_fingerprint != fingerprint(recorded_fields):
        return recorded_fingerprint
    return fingerprint(current_form(recorded_fields))


def earlier_fingerprints(fields: Mapping[str, Any]) -> list[str]:
    """Return the fingerprints under which earlier versions of the program recorded the same computation.

    The most recent version comes first.
    """
    if fields.get(_RUNTIME) != _BEFORE_RUNTIMES:
        return []
    without_runtime = {name: value for name, value in fields.items() if name != _RUNTIME}
    if fields.get(_SCORING_VERSION) != _BEFORE_SCORING_VERSIONS:
        return [fingerprint(without_runtime)]
    earliest = {name: value for name, value in without_runtime.items() if name != _SCORING_VERSION}
    return [fingerprint(without_runtime), fingerprint(earliest | {_SCHEMA_VERSION: 1})]


def differences(existing: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return the fields in which two sets of fields differ.

    Args:
        existing: The fields of a recorded run.
        wanted: The fields of the job.

    Returns:
        Name of the field → (existing value, wanted value). A value is None where that side lacks the field.
    """
    names = sorted({*existing, *wanted})
    return {name: (existing.get(name), wanted.get(name)) for name in names if existing.get(name) != wanted.get(name)}


def setting_differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return the settings that change scores and in which two recorded runs differ.

    Args:
        first: The fingerprint fields of a run, of whatever version.
        second: Those of another run.

    Returns:
        Name of the field → (value of the first run, value of the second run). A value is None where a run lacks it.
    """
    return differences(*({_REGION: _WHOLE_FRAME} | current_form(fields) for fields in (first, second)))
