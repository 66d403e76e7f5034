"""Makes the keyed tokens that stand for subjects, studies, images and readers outside `_private/`."""

import hmac

TOKEN_HEX_DIGITS = 16
MIN_KEY_BYTES = 16


class Pseudonymizer:
    """Turns identifiers into tokens such as ``s-0123456789abcdef``. The same key gives the same tokens.

    A token is a one-letter prefix and the first 16 hex digits of HMAC-SHA256(key, kind NUL identifier). No kind holds
    a NUL, so no two pairs of kind and identifier encode alike, and a study with the name of its subject gets an
    unrelated token. Without the key, nobody can compute or reverse a token. Tokens are pseudonymised, not anonymous.
    """

    def __init__(self, key: bytes) -> None:
        if len(key) < MIN_KEY_BYTES:
            raise ValueError(f"an identifier key has at least {MIN_KEY_BYTES} bytes")
        self._key = key

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
        return hmac.digest(self._key, f"order of {kind}\0{value}".encode(), "sha256")

    def _token(self, prefix: str, kind: str, identifier: str) -> str:
        digest = hmac.digest(self._key, f"{kind}\0{identifier}".encode(), "sha256")
        return f"{prefix}-{digest.hex()[:TOKEN_HEX_DIGITS]}"
