"""Reading a PACS through DICOMweb."""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import requests

from diagchd_batch.errors import ItemError
from diagchd_batch.failure_codes import FailureCode
from diagchd_batch.sources.dicomweb.address import parse_address, uids_of, url_path
from diagchd_batch.sources.dicomweb.connection import DicomwebConnection, read_body
from diagchd_batch.sources.dicomweb.errors import CutBodyError, Failure, Kind, RequestFailedError
from diagchd_batch.sources.dicomweb.frame_requests import FrameRequests
from diagchd_batch.sources.dicomweb.multipart import Part, boundary_of, content_start, split_parts
from diagchd_batch.sources.dicomweb.search import has_instance
from diagchd_batch.sources.dicomweb.study_listing import headers_by_study, keys_by_study
from diagchd_batch.sources.registry import SourceOptions
from diagchd_batch.sources.request_permits import PermitBook, RequestLimit
from diagchd_batch.sources.source import ObjectInfo
from diagchd_batch.uris import check_key, check_prefix

if TYPE_CHECKING:
    from pydicom import Dataset

T = TypeVar("T")

PROBE_TIMEOUT_S = 30.0
INSTANCE = 'multipart/related; type="application/dicom"; transfer-syntax=*'
"""Instances are asked for as they are stored: an old server answers 500 where it cannot transcode."""

FIRST_LOOK_BYTES = 128 << 10
"""Bytes of an instance after which a reader is first asked whether they are enough. A smaller one is read whole."""

_HEAD_CHUNK_BYTES = 64 << 10
_MULTIPART_EXTRA_BYTES = 64 << 10
_DICOM = "application/dicom"
_OF_THE_SERVER = (Kind.CREDENTIALS, Kind.TLS, Kind.REDIRECT)  # failures that no other request would escape


class DicomwebSource:
    """The `Source` for ``dicomweb+https://host/path?filters``. `open_source` makes it.

    A key is ``studies/<UID>/series/<UID>/instances/<UID>``. A server tells neither size nor version of an instance, so
    the digest of what was read is what counts.
    """

    def __init__(self, uri: str, options: SourceOptions | None = None) -> None:
        self.uri = uri
        self.options = SourceOptions() if options is None else options
        config = self.options.dicomweb
        address = parse_address(uri, allow_plaintext=config.allow_plaintext)
        limit = self.options.request_limit or RequestLimit(
            PermitBook(config.max_requests_in_flight, config.max_requests_per_second)
        )
        self._connection = DicomwebConnection(
            address, limit, self.options.object_timeout_s, self.options.max_connections
        )
        self._frame_requests = FrameRequests(self._connection)

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.uri, self.options))

    @property
    def place(self) -> str:
        """See `Source.place`. The filters are left out, because they may name a patient."""
        return self._connection.address.place

    def probe(self) -> None:
        """See `Source.probe`."""
        try:
            self._search_once(self.options.object_timeout_s)
        except RequestFailedError as error:
            self._connection.raise_fault(error.failure)

    def list(self, prefix: str = "", progress: Callable[[int], None] | None = None) -> Iterator[ObjectInfo]:
        """See `Source.list`."""
        wanted = check_prefix(prefix)
        seen = 0
        try:
            for keys in keys_by_study(self._connection, wanted, self.options.dicomweb.max_requests_in_flight):
                seen += len(keys)
                if progress:
                    progress(seen)
                yield from map(ObjectInfo, keys)
        except RequestFailedError as error:
            self._connection.raise_fault(error.failure)

    def list_headers(
        self, progress: Callable[[int], None] | None = None
    ) -> Iterator[tuple[ObjectInfo, "Dataset", str | None]]:
        """See `HeaderSource.list_headers`.

        One request gives the metadata of a study (WADO-RS), because servers answer searches with few attributes.
        Elements that break DICOM's rules, and values that a server keeps apart (BulkDataURI), are left out.
        """
        seen = 0
        try:
            for headers in headers_by_study(self._connection, self.options.dicomweb.max_requests_in_flight):
                seen += len(headers)
                if progress:
                    progress(seen)
                yield from headers
        except RequestFailedError as error:
            self._connection.raise_fault(error.failure)

    def stat(self, key: str) -> ObjectInfo | None:
        """See `Source.stat`."""
        uids = uids_of(check_key(key))
        if uids is None:
            return None
        try:
            return ObjectInfo(key) if has_instance(self._connection, *uids) else None
        except RequestFailedError as error:
            self._connection.raise_fault(error.failure)

    def read(self, key: str, max_bytes: int | None = None) -> bytes:
        """See `Source.read`."""
        return self.read_until(key, lambda head, size_bytes: False, max_bytes)[0]

    def read_until(
        self, key: str, is_enough: Callable[[bytes, int | None], bool | None], max_bytes: int | None = None
    ) -> tuple[bytes, bool]:
        """See `FrameSource.read_until`. The answer is cut where enough was read, so little more is transferred."""

        def consume(answer: requests.Response, deadline_s: float) -> tuple[bytes, bool]:
            content_type = answer.headers.get("Content-Type", "")
            stated = answer.headers.get("Content-Length", "")
            boundary = boundary_of(content_type)
            body = bytearray()
            decision: bool | None = None
            look_at = FIRST_LOOK_BYTES
            for chunk in read_body(answer, deadline_s, _HEAD_CHUNK_BYTES):
                body += chunk
                if max_bytes is not None and len(body) > max_bytes + _MULTIPART_EXTRA_BYTES:
                    raise _too_large(key, max_bytes)
                if decision is None and len(body) >= look_at:
                    look_at = 2 * len(body)
                    start = content_start(body, boundary) if boundary else 0
                    if start is not None:
                        head = bytes(memoryview(body)[start:])
                        decision = is_enough(head, int(stated) - start if stated.isdecimal() else None)
                        if decision:
                            return head, False
            (content,) = _parts(content_type, body, 1)
            if max_bytes is not None and len(content.content) > max_bytes:
                raise _too_large(key, max_bytes)
            return content.content, True

        return self._retrieve(key, "", INSTANCE, consume)

    def can_send_frames(self, transfer_syntax: str) -> bool:
        """See `FrameSource.can_send_frames`. Each process of a run remembers what was refused."""
        return self._frame_requests.are_worthwhile(transfer_syntax)

    def read_frames(
        self, key: str, frames: Sequence[int], transfer_syntax: str, max_bytes: int | None = None
    ) -> dict[int, bytes] | None:
        """See `FrameSource.read_frames`."""
        try:
            return self._frame_requests.read(check_key(key), frames, transfer_syntax, max_bytes)
        except RequestFailedError as error:
            if error.failure.kind in _OF_THE_SERVER:
                self._connection.raise_fault(error.failure)
            if error.failure.kind is Kind.TRANSIENT:
                self._check_that_it_answers()
            return None

    def read_versioned(self, key: str, max_bytes: int | None = None) -> tuple[bytes, ObjectInfo]:
        """See `Source.read_versioned`. There is no version."""
        return self.read(key, max_bytes), ObjectInfo(key)

    def read_range(self, key: str, start: int, length: int) -> bytes:
        """See `Source.read_range`. WADO-RS has no ranges: everything before the range is transferred as well."""
        if length <= 0:
            return b""

        def consume(answer: requests.Response, deadline_s: float) -> bytes:
            boundary = boundary_of(answer.headers.get("Content-Type", ""))
            body = bytearray()
            offset = None if boundary else 0
            for chunk in read_body(answer, deadline_s):
                body += chunk
                if offset is None and boundary:
                    offset = content_start(body, boundary)
                if offset is not None and len(body) >= offset + start + length + (len(boundary or b"") + 4):
                    return bytes(body[offset + start : offset + start + length])
            (part,) = _parts(answer.headers.get("Content-Type", ""), body, 1)
            return part.content[start : start + length]

        return self._retrieve(key, "", INSTANCE, consume)

    def _retrieve(self, key: str, below: str, accept: str, consume: Callable[[requests.Response, float], T]) -> T:
        if uids_of(check_key(key)) is None:
            raise ItemError(FailureCode.NOT_FOUND, f"{key}: a PACS has studies/UID/series/UID/instances/UID alone")
        try:
            found = self._connection.get(url_path(key) + below, accept, consume)
        except RequestFailedError as error:
            self._raise_read_error(key, error.failure)
        if found is None:
            raise ItemError(FailureCode.NOT_FOUND, f"{key}: HTTP 204")
        return found

    def _raise_read_error(self, key: str, failure: Failure) -> NoReturn:
        """Raise ItemError for this object, or StorageFault if the whole server is out of reach."""
        if failure.kind in _OF_THE_SERVER:
            self._connection.raise_fault(failure)
        self._check_that_it_answers()
        code = {Kind.NOT_FOUND: FailureCode.NOT_FOUND, Kind.DENIED: FailureCode.ACCESS_DENIED}.get(
            failure.kind, FailureCode.UNREADABLE
        )
        raise ItemError(code, f"{key}: {failure.code} for this object, not for the server") from None

    def _check_that_it_answers(self) -> None:
        try:
            self._search_once(min(PROBE_TIMEOUT_S, self.options.object_timeout_s))
        except RequestFailedError as error:
            self._connection.raise_fault(error.failure)

    def _search_once(self, timeout_s: float) -> None:
        filters = self._connection.address.study_filters
        self._connection.get_json("/studies", [*filters, ("limit", "1")], timeout_s)


def _parts(content_type: str, body: bytearray, n_parts: int) -> list[Part]:
    """Return the parts of a body, which must be `n_parts`. Some servers send a lone part without a frame around it."""
    boundary = boundary_of(content_type)
    if boundary is not None:
        parts = list(split_parts(body, boundary))
    elif content_type.lower().startswith(_DICOM) and "json" not in content_type.lower():
        parts = [Part(content_type, bytes(body))]
    else:
        raise RequestFailedError(Failure(Kind.OTHER, "an answer that is not DICOM"))
    if len(parts) != n_parts:
        raise CutBodyError(f"{len(parts)} parts instead of {n_parts}")
    return parts


def _too_large(key: str, max_bytes: int) -> ItemError:
    return ItemError(FailureCode.TOO_LARGE, f"{key}: over the limit of {max_bytes} bytes")
