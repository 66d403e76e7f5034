"""Reading a prefix of an S3 bucket."""

from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from diagchd_batch.errors import ItemError
from diagchd_batch.failure_codes import FailureCode
from diagchd_batch.sources.registry import SourceOptions
from diagchd_batch.sources.s3.download import Download
from diagchd_batch.sources.s3.errors import Failure, Kind
from diagchd_batch.sources.s3.listing import list_objects
from diagchd_batch.sources.s3.prefix import RequestFailedError, S3Prefix, etag_of
from diagchd_batch.sources.source import KEYS_NOT_ADDRESSABLE, Gaps, ObjectInfo
from diagchd_batch.uris import check_prefix, is_key

PROBE_TIMEOUT_S = 30.0


class S3Source:
    """The `Source` for ``s3://bucket[/prefix]``. `open_source` makes it."""

    def __init__(self, uri: str, options: SourceOptions | None = None) -> None:
        self.uri = uri
        self.options = SourceOptions() if options is None else options
        self._prefix = S3Prefix(uri, self.options)
        self._readable_key: str | None = None
        self._gaps = Gaps()

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.uri, self.options))

    @property
    def place(self) -> str:
        """See `Source.place`."""
        return self._prefix.place

    def probe(self) -> None:
        """See `Source.probe`."""
        self._prefix.list_page(Prefix=self._prefix.root, MaxKeys=1)

    def list(self, prefix: str = "", progress: Callable[[int], None] | None = None) -> Iterator[ObjectInfo]:
        """See `Source.list`."""
        root = self._prefix.root
        gaps = Gaps()
        if not prefix:
            self._gaps = gaps
        seen = 0
        for page in list_objects(self._prefix.list_page, root + check_prefix(prefix)):
            for info in page:
                key = info.key[len(root) :]
                if not is_key(key):
                    gaps.add(KEYS_NOT_ADDRESSABLE, key)
                    continue
                yield ObjectInfo(key, info.size_bytes, info.etag)
            seen += len(page)
            if progress:
                progress(seen)

    def listing_gaps(self) -> dict[str, int]:
        """See `ListingGaps.listing_gaps`."""
        return dict(self._gaps.counts)

    def named_gaps(self) -> dict[str, tuple[str, ...]]:
        """See `ListingGaps.named_gaps`."""
        return {kind: tuple(names) for kind, names in self._gaps.names.items()}

    def stat(self, key: str) -> ObjectInfo | None:
        """See `Source.stat`."""
        # The refusal of a HEAD request has no body, so a missing bucket or an expired token could not be told apart
        # from other refusals. The key itself comes first among all keys that begin with it.
        whole_key = self._prefix.locate(key)["Key"]
        for item in self._prefix.list_page(Prefix=whole_key, MaxKeys=1).get("Contents", ()):
            if item["Key"] == whole_key:
                return ObjectInfo(key, item["Size"], etag_of(item))
        return None

    def read(self, key: str, max_bytes: int | None = None) -> bytes:
        """See `Source.read`."""
        return self.read_versioned(key, max_bytes)[0]

    def read_versioned(self, key: str, max_bytes: int | None = None) -> tuple[bytes, ObjectInfo]:
        """See `Source.read_versioned`."""
        location = self._prefix.locate(key)
        download = Download(location, key, self.options.object_timeout_s, max_bytes=max_bytes)
        self._download(download)
        return bytes(download.received), ObjectInfo(key, len(download.received), download.etag)

    def read_range(self, key: str, start: int, length: int) -> bytes:
        """See `Source.read_range`."""
        if length <= 0:
            return b""
        location = self._prefix.locate(key)
        download = Download(location, key, self.options.object_timeout_s, start=start, length=length)
        self._download(download)
        return bytes(download.received)

    def read_range_versioned(self, key: str, start: int, length: int) -> tuple[bytes, ObjectInfo]:
        """See `VersionedRanges.read_range_versioned`."""
        location = self._prefix.locate(key)
        download = Download(location, key, self.options.object_timeout_s, start=start, length=length)
        self._download(download)
        return bytes(download.received), ObjectInfo(key, download.object_bytes, download.etag)

    def _download(self, download: Download) -> None:
        try:
            self._prefix.request(download.attempt)
        except RequestFailedError as error:
            if error.failure.kind is Kind.RANGE:  # the range begins behind the end of the object
                return
            self._raise_read_error(download.key, error.failure)
        self._readable_key = download.key

    def _raise_read_error(self, key: str, failure: Failure) -> NoReturn:
        """Raise ItemError for this object, or StorageFault if the whole source is out of reach."""
        if failure.kind is Kind.NOT_FOUND:
            raise ItemError(FailureCode.NOT_FOUND, f"{key}: {failure.code}")
        if failure.kind is Kind.ARCHIVED:
            raise ItemError(FailureCode.ARCHIVED, f"{key}: {failure.code}")
        if failure.kind not in (Kind.DENIED, Kind.TRANSIENT, Kind.OTHER):
            self._prefix.raise_fault(failure)
        self._check_that_others_are_served(failure)
        if failure.kind is Kind.DENIED:
            raise ItemError(FailureCode.ACCESS_DENIED, f"{key}: {failure.code} for this object, not for the bucket")
        raise ItemError(FailureCode.UNREADABLE, f"{key}: {failure.code}")

    def _check_that_others_are_served(self, failure: Failure) -> None:
        """Raise StorageFault if neither a listing nor an object that was read before succeeds."""
        prefix = self._prefix
        timeout_s = min(PROBE_TIMEOUT_S, self.options.object_timeout_s)
        listing = {"Bucket": prefix.bucket, "Prefix": prefix.root, "MaxKeys": 1}
        try:
            prefix.request(lambda client: client.list_objects_v2(**listing), timeout_s)
            return
        except RequestFailedError as error:
            known = self._readable_key
            if error.failure.kind is not Kind.DENIED or known is None:
                prefix.raise_fault(error.failure)
        try:  # these credentials may be allowed to read, but not to list
            prefix.request(lambda client: client.get_object(**prefix.locate(known))["Body"].close(), timeout_s)
        except RequestFailedError:
            prefix.raise_fault(failure)
