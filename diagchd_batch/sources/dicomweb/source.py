"""Reading a PACS through DICOMweb."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import requests

from diagchd_batch.errors import ItemError
from diagchd_batch.failure_codes import FailureCode
from diagchd_batch.sources.dicomweb.address import parse_address, uids_of, url_path
from diagchd_batch.sources.dicomweb.connection import DicomwebConnection, read_body
from diagchd_batch.sources.dicomweb.errors import CutBodyError, Failure, Kind, RequestFailedError
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

_MULTIPART_EXTRA_BYTES = 64 << 10
_DICOM = "application/dicom"


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

        def consume(answer: requests.Response, deadline_s: float) -> bytes:
            content_type = answer.headers.get("Content-Type", "")
            body = bytearray()
            for chunk in read_body(answer, deadline_s):
                body += chunk
                if max_bytes is not None and len(body) > max_bytes + _MULTIPART_EXTRA_BYTES:
                    raise _too_large(key, max_bytes)
            (content,) = _parts(content_type, body, 1)
            if max_bytes is not None and len(content.content) > max_bytes:
                raise _too_large(key, max_bytes)
            return content.content

        return self._retrieve(key, "", INSTANCE, consume)

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
        if failure.kind in (Kind.CREDENTIALS, Kind.TLS, Kind.REDIRECT):
            self._connection.raise_fault(failure)
        try:
            self._search_once(min(PROBE_TIMEOUT_S, self.options.object_timeout_s))
        except RequestFailedError as error:
            self._connection.raise_fault(error.failure)
        code = {Kind.NOT_FOUND: FailureCode.NOT_FOUND, Kind.DENIED: FailureCode.ACCESS_DENIED}.get(
            failure.kind, FailureCode.UNREADABLE
        )
        raise ItemError(code, f"{key}: {failure.code} for this object, not for the server") from None

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
