import hashlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diagchd_batch.studies.identifiers import Pseudonymizer

KINDS = ("subject", "subject_of_study", "study", "image", "reader")
identifiers = st.text(st.characters(codec="utf-8"))


def hmac_sha256_by_definition(key: bytes, message: bytes) -> str:
    """Compute HMAC as in RFC 2104: H((K ^ opad) || H((K ^ ipad) || message)) with blocks of 64 bytes."""
    block = (hashlib.sha256(key).digest() if len(key) > 64 else key).ljust(64, b"\0")
    inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in block) + message).digest()
    return hashlib.sha256(bytes(byte ^ 0x5C for byte in block) + inner).hexdigest()


def test_the_reference_agrees_with_a_published_vector() -> None:
    # RFC 4231, test case 2
    expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    assert hmac_sha256_by_definition(b"Jefe", b"what do ya want for nothing?") == expected


@given(key=st.binary(min_size=16, max_size=100), study=identifiers)
def test_a_token_is_the_start_of_an_hmac_of_kind_and_id(key: bytes, study: str) -> None:
    expected = hmac_sha256_by_definition(key, b"study\0" + study.encode())[:16]
    assert Pseudonymizer(key).study(study) == f"s-{expected}"


@given(st.sets(st.tuples(st.sampled_from(KINDS), identifiers), min_size=2, max_size=30))
def test_other_kinds_and_other_ids_get_other_tokens(pairs: set[tuple[str, str]]) -> None:
    pseudonymizer = Pseudonymizer(b"k" * 32)
    tokens = {getattr(pseudonymizer, kind)(identifier)[2:] for kind, identifier in pairs}
    assert len(tokens) == len(pairs)


@pytest.mark.parametrize("kind", KINDS)
def test_prefix_says_the_kind_and_nothing_of_the_id_shows(kind: str) -> None:
    token = getattr(Pseudonymizer(b"k" * 32), kind)("DOE^JANE 1990-02-03")
    prefix = {"subject": "p", "subject_of_study": "p", "study": "s", "image": "i", "reader": "r"}[kind]
    assert re.fullmatch(f"{prefix}-[0-9a-f]{{16}}", token)


def test_another_key_gives_other_tokens() -> None:
    assert Pseudonymizer(b"k" * 32).study("1") != Pseudonymizer(b"l" * 32).study("1")


def test_a_short_key_is_refused() -> None:
    with pytest.raises(ValueError, match="16"):
        Pseudonymizer(b"short")
