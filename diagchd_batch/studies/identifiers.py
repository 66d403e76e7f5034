"""Makes the keyed tokens that stand for subjects, studies, images and readers outside `_private/`."""

import hashlib

TOKEN_HEX_DIGITS = 16
MIN_KEY_BYTES = 16
_BLOCK_BYTES = 64  # of SHA-256, see RFC 2104


class Pseudonymizer:
    """Turns identifiers into tokens such as ``s-0123456789abcdef``. The same key gives the same tokens.

    A token is a one-letter prefix and the first 16 hex digits of HMAC-SHA256(key, kind NUL identifier). No kind holds
    a NUL, so no two pairs of kind and identifier encode alike, and a study with the name of its subject gets an
    unrelated token. Without the key, nobody can compute or reverse a token. Tokens are pseudonymised, not anonymous.
    """

    def __init__(self, key: bytes) -> None:
        if len(key) < MIN_KEY_BYTES:
            raise ValueError(f"an identifier key has at least {MIN_KEY_BYTES} bytes")
        short_key = hashlib.sha256(key).digest() if len(key) > _BLOCK_BYTES else key
        block = short_key.ljust(_BLOCK_BYTES, b"\0")
        # A copy of a hash that has taken in the key costs a third of `hmac.digest`, which begins anew for each token.
        self._inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in block))
        self._outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in block))

    def subject(self, subject_id: str) -> str:
        """Return the token of a subject."""
        return self._token("p", "subject", subject_id)

    def subject_of_study(self, study_id: str) -> str:
        """Return the token of a subject that is not given. It never equals that of a subject with the study's name."""
        return self._token("p", "subject of study", study_id)

    def study(self, study_id: str) -> str:
        """Return the token of a study."""
        return self._token("s", "study", study_id)

    def image(self, uri: str) -> str:
        """Return the token of the image with key `uri` below `input.uri`."""
        return self._token("i", "image", uri)

    def study_of_uid(self, study_instance_uid: str) -> str:
        """Return the token of a DICOM study. It is the same wherever the study lies: on a disk, in S3 or in a PACS."""
        return self._token("s", "study instance uid", study_instance_uid)

    def image_of_uid(self, sop_instance_uid: str) -> str:
        """Return the token of a DICOM object. It is the same wherever the object lies."""
        return self._token("i", "sop instance uid", sop_instance_uid)

    def reader(self, reader_id: str) -> str:
        """Return the token of a reader."""
        return self._token("r", "reader", reader_id)

    def shuffling_digest(self, kind: str, value: str) -> bytes:
        """Return a keyed digest. Values that are sorted by it are in an order that nobody can know without the key.

        Args:
            kind: What is sorted. Values of two kinds have unrelated orders.
            value: The value.

        Returns:
            32 bytes.
        """
        return self._hmac(f"order of {kind}\0{value}")

    def _token(self, prefix: str, kind: str, identifier: str) -> str:
        digest = self._hmac(f"{kind}\0{identifier}")
        return f"{prefix}-{digest.hex()[:TOKEN_HEX_DIGITS]}"

    def _hmac(self, message: str) -> bytes:
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(message.encode())
        outer.update(inner.digest())
        return outer.digest()
