"""Reading one object in several attempts, each of which continues where the connection broke."""

import time
from contextlib import closing
from typing import Any

from diagchd_batch.errors import ItemError, StorageFault
from diagchd_batch.failure_codes import FailureCode
from diagchd_batch.sources.s3.errors import REQUEST_ERRORS, Kind, classify
from diagchd_batch.sources.s3.prefix import etag_of

CHUNK_BYTES = 256 << 10


class Download:
    """One object, or a part of it, while it is read.

    Attributes:
        key: The object's key below the prefix, for messages.
        etag: Entity tag of the object that the bytes belong to; None before the first answer.
        object_bytes: Size of the object, of which only a part may be read; None before the first answer.
        received: The bytes so far.
    """

    def __init__(
        self,
        location: dict[str, str],
        key: str,
        timeout_s: float,
        *,
        start: int = 0,
        length: int | None = None,
        max_bytes: int | None = None,
    ) -> None:
        """Prepare a download. Nothing is requested yet.

        Args:
            location: ``Bucket`` and ``Key`` for boto3.
            key: The object's key below the prefix, for messages.
            timeout_s: Seconds from now on after which an unfinished body is given up.
            start: Offset of the first byte to read.
            length: Number of bytes to read; None for the rest of the object.
            max_bytes: Largest size that is read.
        """
        self.key = key
        self.etag: str | None = None
        self.object_bytes: int | None = None
        self.received = bytearray()
        self._location = location
        self._deadline_s = time.monotonic() + timeout_s
        self._start = start
        self._length = length
        self._max_bytes = max_bytes

    def attempt(self, client: Any) -> None:
        """Read to the end. The bytes that arrived before a connection broke are kept for the next attempt.

        Raises:
            ItemError: The object is larger than `max_bytes` (`too_large`).
            StorageFault: The server ignores the Range header.
        """
        conditions = {}
        resumed = bool(self.received)
        if self._start or self.received or self._length is not None:
            end = "" if self._length is None else self._start + self._length - 1
            conditions["Range"] = f"bytes={self._start + len(self.received)}-{end}"
        if resumed and self.etag:
            conditions["IfMatch"] = self.etag
        try:
            answer = client.get_object(**self._location, **conditions)
        except REQUEST_ERRORS as error:
            if resumed and classify(error).kind in (Kind.EXISTS, Kind.RANGE):  # the object was replaced in between
                self.received.clear()
                return self.attempt(client)
            raise
        with closing(answer["Body"]) as body:
            if "Range" in conditions and "ContentRange" not in answer:
                raise StorageFault("the S3 server ignores the Range header; it cannot be read from safely")
            self.etag = etag_of(answer)
            size_bytes = len(self.received) + answer["ContentLength"]
            self.object_bytes = _whole_size(answer)
            self._check_size(size_bytes)
            try:
                while chunk := body.read(CHUNK_BYTES):
                    self.received += chunk
                    # A body that arrives in small drops never reaches the time-out of a single read.
                    if time.monotonic() >= self._deadline_s and len(self.received) < size_bytes:
                        raise TimeoutError
            except Exception as error:
                if classify(error).code == "FlexibleChecksumError":
                    self.received.clear()
                raise

    def _check_size(self, size_bytes: int) -> None:
        if self._max_bytes is not None and size_bytes > self._max_bytes:
            raise ItemError(
                FailureCode.TOO_LARGE, f"{self.key}: {size_bytes} bytes, over the limit of {self._max_bytes}"
            )


def _whole_size(answer: dict[str, Any]) -> int:
    """Return the size of the object, from an answer with all or with a part of it."""
    size = answer.get("ContentRange", "").rpartition("/")[2]
    return int(size) if size.isdigit() else answer["ContentLength"]
