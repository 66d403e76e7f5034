import hashlib

import pytest

from diagchd_batch.config.fingerprint import differences, fingerprint


def test_is_the_digest_of_the_sorted_compact_json() -> None:
    assert fingerprint({"b": 1, "a": [True, None]}) == hashlib.sha256(b'{"a":[true,null],"b":1}').hexdigest()


def test_nan_has_no_identity() -> None:
    with pytest.raises(ValueError, match="JSON"):
        fingerprint({"a": float("nan")})


def test_differences_name_both_values_and_missing_fields() -> None:
    assert differences({"a": 1, "b": 2}, {"a": 1, "b": 3, "c": 4}) == {"b": (2, 3), "c": (None, 4)}
