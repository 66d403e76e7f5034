"""Requests to one prefix of a bucket: retries, fresh credentials, and errors that say what to do."""

from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

from diagchd_batch.errors import StorageFault
from diagchd_batch.process.waits import note_wait
from diagchd_batch.retries import call_with_retries
from diagchd_batch.sources.registry import SourceOptions
from diagchd_batch.sources.s3.client import S3Clients, host_and_port
from diagchd_batch.sources.s3.errors import REMEDIES, REQUEST_ERRORS, Failure, Kind, classify
from diagchd_batch.uris import check_key

T = TypeVar("T")


class RequestFailedError(Exception):
    """A request failed and is not retried any more. Callers turn it into an ItemError or a StorageFault."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.code)
        self.failure = failure


class S3Prefix:
    """The objects of a bucket whose keys begin with one prefix.

    Attributes:
        uri: ``s3://bucket[/prefix]``.
        bucket: Name of the bucket.
        root: What every key in the bucket begins with: '' or a prefix that ends in a slash.
        clients: The boto3 client of this process.
    """

    def __init__(self, uri: str, options: SourceOptions) -> None:
        self.uri = uri
        self.bucket, _, prefix = uri.removeprefix("s3://").partition("/")
        self.root = f"{prefix}/" if prefix else ""
        self.object_timeout_s = options.object_timeout_s
        self.clients = S3Clients(timeout_s=options.object_timeout_s, max_connections=options.max_connections)

    @property
    def place(self) -> str:
        """Name of the prefix for messages: its URI, and the host and port of the endpoint."""
        try:
            return f"{self.uri} at {host_and_port(self.clients.get().meta.endpoint_url)}"
        except REQUEST_ERRORS:  # there is no client: an unknown profile, or a damaged configuration file
            return self.uri

    def locate(self, key: str) -> dict[str, str]:
        """Return the arguments of a boto3 call that name the object `key`.

        Raises:
            ValueError: `key` is not a relative key below the prefix.
        """
        return {"Bucket": self.bucket, "Key": self.root + check_key(key)}

    def request(self, operation: Callable[[Any], T], timeout_s: float | None = None) -> T:
        """Return `operation(client)`, and repeat it while it fails for a passing reason.

        If the credentials have expired, or none are found, they are looked up again once.

        Args:
            operation: Called with a boto3 client.
            timeout_s: Seconds for which transient failures are retried; `object_timeout_s` by default.

        Raises:
            RequestFailedError: The failure is permanent, or the time is up.
        """
        limit_s = self.object_timeout_s if timeout_s is None else timeout_s
        renewed = False

        def attempt() -> T:
            nonlocal renewed
            client = None
            try:
                client = self.clients.get()
                return operation(client)
            except REQUEST_ERRORS as error:
                failure = classify(error)
            if failure.kind in (Kind.EXPIRED, Kind.NO_CREDENTIALS) and client is not None and not renewed:
                self.clients.renew(client)
                renewed = True
                return attempt()
            if failure.kind is Kind.TRANSIENT:
                note_wait(self.uri, failure.code, limit_s)
            raise RequestFailedError(failure)

        def retry_limit_s(error: BaseException) -> float:
            transient = isinstance(error, RequestFailedError) and error.failure.kind is Kind.TRANSIENT
            return limit_s if transient else 0.0

        return call_with_retries(attempt, retry_limit_s)

    def list_page(self, **arguments: Any) -> dict[str, Any]:
        """Return the answer of ``list_objects_v2`` to `arguments`.

        Raises:
            StorageFault: The bucket cannot be listed.
        """
        try:
            return self.request(lambda client: client.list_objects_v2(Bucket=self.bucket, **arguments))
        except RequestFailedError as error:
            self.raise_fault(error.failure)

    def raise_fault(self, failure: Failure) -> NoReturn:
        """Raise the fault of a request that failed.

        Args:
            failure: What the server or the connection answered.

        Raises:
            StorageFault: Always. The message says what to do, and names no key because faults are written to logs.
        """
        remedy = REMEDIES.get(failure.kind, "refuses a request: look the code up in the server's documentation")
        if failure.kind is Kind.TRANSIENT:
            remedy += f" (retried for {self.object_timeout_s:g} s)"
        raise StorageFault(f"{self.place} {remedy} [{failure.code}]") from None


def etag_of(answer: dict[str, Any]) -> str:
    """Return the entity tag in a server's answer, without its quotation marks."""
    return answer["ETag"].strip('"')
