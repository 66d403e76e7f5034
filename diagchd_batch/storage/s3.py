"""A prefix of an S3 bucket, Amazon's or any other server's, through boto3."""

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import pyarrow.fs

from diagchd_batch.errors import ItemError, StorageFault
from diagchd_batch.failures import FailureCode
from diagchd_batch.retries import Backoff
from diagchd_batch.sources import ObjectInfo
from diagchd_batch.storage.s3_client import S3Clients
from diagchd_batch.storage.s3_errors import REMEDIES, REQUEST_ERRORS, Failure, Kind, classify
from diagchd_batch.storage.s3_listing import list_objects
from diagchd_batch.uris import S3_SCHEME, check_key, check_prefix, is_key

T = TypeVar("T")

CHUNK_BYTES = 256 << 10
COMPARE_BYTES = 8 << 20
PROBE_TIMEOUT_S = 30.0
LARGEST_PUT_BYTES = 5 << 30
"""What S3 takes in one request."""


class _Refused(Exception):  # noqa: N818 - internal; becomes an ItemError or a StorageFault
    """A request failed for good."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.code)
        self.failure = failure


class S3Storage:
    """`Store` below `uri` (``s3://bucket[/prefix]``). Made by `open_store`."""

    def __init__(self, uri: str, *, object_timeout_s: float = 300.0, max_connections: int = 32) -> None:
        self.uri = uri
        self._bucket, _, prefix = uri.removeprefix(S3_SCHEME).partition("/")
        self._root = f"{prefix}/" if prefix else ""
        self._object_timeout_s = object_timeout_s
        self._max_connections = max_connections
        self._clients = S3Clients(timeout_s=object_timeout_s, max_connections=max_connections)
        self._readable_key: str | None = None

    def __reduce__(self):
        return (_reopen, (self.uri, self._object_timeout_s, self._max_connections))

    @property
    def place(self) -> str:
        """What messages call this storage."""
        try:
            return f"{self.uri} at {self._clients.get().meta.endpoint_url}"
        except REQUEST_ERRORS:  # no client can be made: an unknown profile, a damaged configuration file
            return self.uri

    def probe(self) -> None:
        """Raise StorageFault unless the bucket is there and may be listed."""
        self._list_page(Prefix=self._root, MaxKeys=1)

    def list(self, prefix: str = "", progress: Callable[[int], None] | None = None) -> Iterator[ObjectInfo]:
        seen = 0
        for page in list_objects(self._list_page, self._root + check_prefix(prefix)):
            for info in page:
                key = info.key[len(self._root) :]
                if not is_key(key):
                    raise StorageFault(
                        f"{self.place}: an object's key has an empty first part or a '.' or '..' part and cannot be "
                        "addressed below the prefix; rename or remove it"
                    )
                yield ObjectInfo(key, info.size_bytes, info.etag)
            seen += len(page)
            if progress:
                progress(seen)

    def stat(self, key: str) -> ObjectInfo | None:
        # Not HEAD: its refusals have no body, so a missing bucket or an expired token could not be told from others.
        whole_key = self._at(key)["Key"]
        for item in self._list_page(Prefix=whole_key, MaxKeys=1).get("Contents", ()):
            if item["Key"] == whole_key:  # the first of all that begin with it
                return ObjectInfo(key, item["Size"], _etag(item))
        return None

    def read(self, key: str, max_bytes: int | None = None) -> bytes:
        return self.read_versioned(key, max_bytes)[0]

    def read_versioned(self, key: str, max_bytes: int | None = None) -> tuple[bytes, ObjectInfo]:
        download = _Download(self._at(key), key, self._object_timeout_s, max_bytes=max_bytes)
        self._download(download)
        return bytes(download.received), ObjectInfo(key, len(download.received), download.etag)

    def read_range(self, key: str, start: int, length: int) -> bytes:
        if length <= 0:
            return b""
        download = _Download(self._at(key), key, self._object_timeout_s, start=start, length=length)
        self._download(download)
        return bytes(download.received)

    def create(self, key: str, data: bytes | Path) -> bool:
        at = self._at(key)
        uncertain = False  # whether an earlier attempt of ours may have been carried out although we did not hear so

        def put(client: Any) -> None:
            nonlocal uncertain
            try:
                _put(client, data, **at, IfNoneMatch="*")
            except REQUEST_ERRORS as error:
                failure = classify(error)
                uncertain |= failure.kind is Kind.TRANSIENT and failure.code != "ConditionalRequestConflict"
                raise

        try:
            self._request(put)
        except _Refused as refused:
            if refused.failure.kind is Kind.EXISTS:
                return uncertain and self._holds(key, data)
            self._fault(refused.failure)
        return True

    def replace(self, key: str, data: bytes | Path) -> None:
        at = self._at(key)
        try:
            self._request(lambda client: _put(client, data, **at))
        except _Refused as refused:
            self._fault(refused.failure)

    def delete(self, key: str) -> None:
        at = self._at(key)
        try:
            self._request(lambda client: client.delete_object(**at))
        except _Refused as refused:
            if refused.failure.kind is not Kind.NOT_FOUND:
                self._fault(refused.failure)

    def arrow(self) -> tuple[pyarrow.fs.FileSystem, str]:
        try:
            file_system = self._request(lambda _: self._clients.arrow_file_system())
        except _Refused as refused:
            self._fault(refused.failure)
        return file_system, f"{self._bucket}/{self._root}".rstrip("/")

    def _at(self, key: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": self._root + check_key(key)}

    def _request(self, operation: Callable[[Any], T], timeout_s: float | None = None) -> T:
        """`operation(client)`, again while its failures are transient; `_Refused` once they are not."""
        backoff = Backoff(self._object_timeout_s if timeout_s is None else timeout_s)
        renewed = False
        while True:
            client = None
            try:
                client = self._clients.get()
                return operation(client)
            except REQUEST_ERRORS as error:
                failure = classify(error)
            if failure.kind in (Kind.EXPIRED, Kind.NO_CREDENTIALS) and client is not None and not renewed:
                self._clients.renew(client)
                renewed = True
            elif failure.kind is not Kind.TRANSIENT or not backoff.wait():
                raise _Refused(failure)

    def _list_page(self, **arguments: Any) -> dict[str, Any]:
        try:
            return self._request(lambda client: client.list_objects_v2(Bucket=self._bucket, **arguments))
        except _Refused as refused:
            self._fault(refused.failure)

    def _download(self, download: "_Download") -> None:
        try:
            self._request(download.attempt)
        except _Refused as refused:
            if refused.failure.kind is Kind.RANGE:  # begins past the end
                return
            self._refuse_item(download.key, refused.failure)
        self._readable_key = download.key

    def _holds(self, key: str, data: bytes | Path) -> bool:
        """Whether the object is, byte for byte, `data`."""
        size_bytes = _size_bytes(data)
        info = self.stat(key)
        if info is None or info.size_bytes != size_bytes:
            return False
        for start in range(0, size_bytes, COMPARE_BYTES):
            if self.read_range(key, start, COMPARE_BYTES) != _part(data, start, COMPARE_BYTES):
                return False
        return True

    def _refuse_item(self, key: str, failure: Failure) -> NoReturn:
        """ItemError for this object alone, unless the storage as a whole is out of reach."""
        if failure.kind is Kind.NOT_FOUND:
            raise ItemError(FailureCode.NOT_FOUND, f"{key}: {failure.code}")
        if failure.kind is Kind.ARCHIVED:
            raise ItemError(FailureCode.ARCHIVED, f"{key}: {failure.code}")
        if failure.kind not in (Kind.DENIED, Kind.TRANSIENT, Kind.OTHER):
            self._fault(failure)
        self._check_others_are_served(failure)
        if failure.kind is Kind.DENIED:
            raise ItemError(FailureCode.ACCESS_DENIED, f"{key}: {failure.code} for this object, not for the bucket")
        raise ItemError(FailureCode.UNREADABLE, f"{key}: {failure.code}")

    def _check_others_are_served(self, failure: Failure) -> None:
        """StorageFault where it is not one object that fails: neither a listing nor an object read before answers."""
        timeout_s = min(PROBE_TIMEOUT_S, self._object_timeout_s)
        listing = {"Bucket": self._bucket, "Prefix": self._root, "MaxKeys": 1}
        try:
            self._request(lambda client: client.list_objects_v2(**listing), timeout_s)
            return
        except _Refused as refused:
            known = self._readable_key
            if refused.failure.kind is not Kind.DENIED or known is None:
                self._fault(refused.failure)
        try:  # credentials that may read but not list
            self._request(lambda client: client.get_object(**self._at(known))["Body"].close(), timeout_s)
        except _Refused:
            self._fault(failure)

    def _fault(self, failure: Failure) -> NoReturn:
        """StorageFault that says what to do. It names no key: faults reach logs."""
        remedy = REMEDIES.get(failure.kind, "refuses a request: look the code up in the server's documentation")
        if failure.kind is Kind.TRANSIENT:
            remedy += f" (tried for {self._object_timeout_s:g} s)"
        raise StorageFault(f"{self.place} {remedy} [{failure.code}]") from None


class _Download:
    """One object, or part of it, being read; after a cut it goes on where it stopped."""

    def __init__(
        self,
        at: dict[str, str],
        key: str,
        timeout_s: float,
        *,
        start: int = 0,
        length: int | None = None,
        max_bytes: int | None = None,
    ) -> None:
        self.key = key
        self.etag: str | None = None
        self.received = bytearray()
        self._at = at
        self._deadline = Backoff(timeout_s)
        self._start = start
        self._length = length
        self._max_bytes = max_bytes

    def attempt(self, client: Any) -> None:
        """Read to the end, keeping what has come when the connection breaks."""
        conditions = {}
        resumed = bool(self.received)
        if self._start or self.received or self._length is not None:
            end = "" if self._length is None else self._start + self._length - 1
            conditions["Range"] = f"bytes={self._start + len(self.received)}-{end}"
        if resumed and self.etag:
            conditions["IfMatch"] = self.etag
        try:
            response = client.get_object(**self._at, **conditions)
        except REQUEST_ERRORS as error:
            if resumed and classify(error).kind in (Kind.EXISTS, Kind.RANGE):  # replaced in between: from the start
                self.received.clear()
                return self.attempt(client)
            raise
        with closing(response["Body"]) as body:
            if "Range" in conditions and "ContentRange" not in response:
                raise StorageFault("the S3 server ignores the Range header; it cannot be read from safely")
            self.etag = _etag(response)
            size_bytes = len(self.received) + response["ContentLength"]
            self._check_size(size_bytes)
            try:
                while chunk := body.read(CHUNK_BYTES):
                    self.received += chunk
                    # A body that drips would never time out by itself.
                    if self._deadline.expired and len(self.received) < size_bytes:
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


def _put(client: Any, data: bytes | Path, **arguments: Any) -> None:
    if _size_bytes(data) > LARGEST_PUT_BYTES:
        raise ValueError("more than 5 GiB: over what S3 takes in one request")
    if isinstance(data, Path):
        with data.open("rb") as file:
            client.put_object(Body=file, **arguments)
    else:
        client.put_object(Body=data, **arguments)


def _size_bytes(data: bytes | Path) -> int:
    return data.stat().st_size if isinstance(data, Path) else len(data)


def _part(data: bytes | Path, start: int, length: int) -> bytes:
    if not isinstance(data, Path):
        return data[start : start + length]
    with data.open("rb") as file:
        file.seek(start)
        return file.read(length)


def _etag(response: dict[str, Any]) -> str:
    return response["ETag"].strip('"')


def _reopen(uri: str, object_timeout_s: float, max_connections: int) -> S3Storage:
    return S3Storage(uri, object_timeout_s=object_timeout_s, max_connections=max_connections)
