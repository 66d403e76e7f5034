"""Keyed tokens that stand for subjects, studies, images and readers outside `private/`."""

import hmac

TOKEN_HEX_DIGITS = 16
MIN_KEY_BYTES = 16


class Pseudonymizer:
    """Turns identifiers into tokens such as ``s-0123456789abcdef``, the same for the same key.

    A token is a one-letter prefix and the first 16 hex digits of HMAC-SHA256(key, kind NUL identifier). No kind holds
    a NUL, so no two pairs of kind and identifier encode alike, and a study named as its subject gets an unrelated
    token. Who has not the key can neither compute nor reverse a token: pseudonymised, not anonymous.
    """

    def __init__(self, key: bytes) -> None:
        if len(key) < MIN_KEY_BYTES:
            raise ValueError(f"an identifier key has at least {MIN_KEY_BYTES} bytes")
        self._key = key

    def subject(self, subject_id: str) -> str:
        return self._token("p", "subject", subject_id)

    def subject_of_study(self, study_id: str) -> str:
        """The subject of a study whose subject is not given; never that of a subject who happens to be named alike."""
        return self._token("p", "subject of study", study_id)

    def study(self, study_id: str) -> str:
        return self._token("s", "study", study_id)

    def image(self, uri: str) -> str:
        """`uri` is the image's key below `input.uri`."""
        return self._token("i", "image", uri)

    def reader(self, reader_id: str) -> str:
        return self._token("r", "reader", reader_id)

    def _token(self, prefix: str, kind: str, identifier: str) -> str:
        digest = hmac.digest(self._key, f"{kind}\0{identifier}".encode(), "sha256")
        return f"{prefix}-{digest.hex()[:TOKEN_HEX_DIGITS]}"
