import hashlib

import pytest

from diagchd_batch.config.fingerprint import current_fingerprint, differences, fingerprint


def test_is_the_digest_of_the_sorted_compact_json() -> None:
    assert fingerprint({"b": 1, "a": [True, None]}) == hashlib.sha256(b'{"a":[true,null],"b":1}').hexdigest()


def test_nan_has_no_identity() -> None:
    with pytest.raises(ValueError, match="JSON"):
        fingerprint({"a": float("nan")})


def test_differences_name_both_values_and_missing_fields() -> None:
    assert differences({"a": 1, "b": 2}, {"a": 1, "b": 3, "c": 4}) == {"b": (2, 3), "c": (None, 4)}


def test_a_fingerprint_that_is_not_the_digest_of_its_fields_stands_for_itself() -> None:
    assert current_fingerprint("1" * 64, {"a": 1}) == "1" * 64
    assert current_fingerprint(fingerprint({"a": 1}), {"a": 1}) == fingerprint({"a": 1, "runtime": "tensorflow"})
