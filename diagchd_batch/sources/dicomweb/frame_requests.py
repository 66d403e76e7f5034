"""Single frames of an instance (WADO-RS), and which transfer syntaxes a server does not send as they are stored."""

import threading
from collections.abc import Sequence

import requests

from diagchd_batch.sources.dicomweb.address import url_path
from diagchd_batch.sources.dicomweb.connection import DicomwebConnection, read_body
from diagchd_batch.sources.dicomweb.errors import Failure, Kind, RequestFailedError
from diagchd_batch.sources.dicomweb.multipart import boundary_of, parameter_of, split_parts

FRAMES = 'multipart/related; type="application/octet-stream"; transfer-syntax=*'
"""Frames are asked for as they are stored: one that a server has decoded and compressed again has other pixels."""

MAX_REFUSALS = 3
"""A server that has refused a transfer syntax this often without a success is not asked for it again."""

FRAMES_PER_REQUEST = 32
"""Frames of one request. Their numbers are a part of its URL, whose length servers limit."""

_EXTRA_BYTES_PER_PART = 4 << 10
_INTERNAL_ERROR = 500  # what old servers answer where they cannot transcode; a repetition would not help
_EXPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
_UNCOMPRESSED = frozenset({_EXPLICIT_LITTLE_ENDIAN, "1.2.840.10008.1.2"})


class FrameRequests:
    """Asks one server for frames. Any thread may use it."""

    def __init__(self, connection: DicomwebConnection) -> None:
        """Prepare the requests. Nothing is contacted."""
        self._connection = connection
        self._lock = threading.Lock()
        self._refusals: dict[str, int] = {}

    def are_worthwhile(self, transfer_syntax: str) -> bool:
        """See `FrameSource.can_send_frames`."""
        return self._refusals.get(transfer_syntax, 0) < MAX_REFUSALS

    def read(self, key: str, frames: Sequence[int], transfer_syntax: str, max_bytes: int | None) -> dict[int, bytes]:
        """Return frames as they are stored, by their numbers.

        Args:
            key: Key of the instance.
            frames: Numbers of the frames, from 0, in ascending order.
            transfer_syntax: UID of the encoding of the instance.
            max_bytes: The largest size of all frames together; None for no limit.

        Raises:
            RequestFailedError: The server does not send them, or sends something else.
        """
        found: dict[int, bytes] = {}
        try:
            for start in range(0, len(frames), FRAMES_PER_REQUEST):
                wanted = frames[start : start + FRAMES_PER_REQUEST]
                left_bytes = None if max_bytes is None else max_bytes - sum(map(len, found.values()))
                found |= zip(wanted, self._request(key, wanted, transfer_syntax, left_bytes), strict=True)
        except RequestFailedError:
            with self._lock:
                self._refusals[transfer_syntax] = self._refusals.get(transfer_syntax, 0) + 1
            raise
        with self._lock:
            self._refusals[transfer_syntax] = 0
        return found

    def _request(self, key: str, frames: Sequence[int], transfer_syntax: str, max_bytes: int | None) -> list[bytes]:
        def consume(answer: requests.Response, deadline_s: float) -> list[bytes]:
            boundary = boundary_of(answer.headers.get("Content-Type", ""))
            if boundary is None:
                raise RequestFailedError(Failure(Kind.OTHER, "frames without a multipart body"))
            body = bytearray()
            for chunk in read_body(answer, deadline_s):
                body += chunk
                if max_bytes is not None and len(body) > max_bytes + len(frames) * _EXTRA_BYTES_PER_PART:
                    raise RequestFailedError(Failure(Kind.OTHER, "frames over the limit of a file"))
            parts = list(split_parts(body, boundary))
            if len(parts) != len(frames):
                raise RequestFailedError(Failure(Kind.OTHER, f"{len(parts)} frames instead of {len(frames)}"))
            if not all(_is_as_stored(part.content_type, transfer_syntax) for part in parts):
                raise RequestFailedError(Failure(Kind.OTHER, "frames in another transfer syntax"))
            return [part.content for part in parts]

        numbers = ",".join(str(frame + 1) for frame in frames)
        path = f"{url_path(key)}/frames/{numbers}"
        found = self._connection.get(path, FRAMES, consume, final_statuses=(_INTERNAL_ERROR,))
        if found is None:
            raise RequestFailedError(Failure(Kind.OTHER, "no frames"))
        return found


def _is_as_stored(content_type: str, transfer_syntax: str) -> bool:
    """Return whether a part has the transfer syntax of the object. One that tells none is uncompressed (PS3.18)."""
    stated = parameter_of(content_type, "transfer-syntax") or _EXPLICIT_LITTLE_ENDIAN
    return stated == transfer_syntax or {stated, transfer_syntax} <= _UNCOMPRESSED
