"""Requests to one DICOMweb server: the run's limit, retries, and errors that say what to do and name no patient.

The module uses `requests` and not `DICOMwebClient` of dicomweb-client (0.61), for these reasons. The client parses an
instance into a data set, so its bytes, and with them the digest, are lost. It waits for a whole body with no limit of
time or size. It repeats a request for four statuses only: not for a cut body, a reset connection or status 500, not
until a time limit, and it ignores Retry-After. It follows redirects. It logs UIDs, which are identifiers. It keeps the
warning of a server that more results exist to its log.
"""

import json
import os
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from http.cookiejar import DefaultCookiePolicy
from typing import Any, NoReturn, TypeVar

import requests
from requests.adapters import HTTPAdapter

from diagchd_batch.errors import StorageFault
from diagchd_batch.retries import call_with_retries
from diagchd_batch.sources.dicomweb.address import DicomwebAddress
from diagchd_batch.sources.dicomweb.credentials import Credentials, read_credentials
from diagchd_batch.sources.dicomweb.errors import (
    REMEDIES,
    REQUEST_ERRORS,
    CutBodyError,
    Failure,
    Kind,
    RequestFailedError,
    classify,
    classify_status,
)
from diagchd_batch.sources.request_permits import RequestLimit

T = TypeVar("T")

CONNECT_TIMEOUT_S = 10.0
READ_TIMEOUT_S = 60.0
CHUNK_BYTES = 256 << 10
DICOM_JSON = "application/dicom+json, application/json"

_MAX_JSON_BYTES = 256 << 20
_WITH_BODY = (200, 206)
_OF_STORED = (200, 202, 409)
_NO_RESULT = 204


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    path: str
    headers: Mapping[str, str]
    params: Sequence[tuple[str, str]] = ()
    body: bytes | None = None
    final_statuses: Collection[int] = ()


def parse_json(body: bytes | bytearray) -> Any:
    """Return the value of a JSON text that a server sent.

    Args:
        body: The text, which can be anything.

    Raises:
        CutBodyError: The text is no JSON. It may have been cut, so another attempt can help.
        RequestFailedError: It is JSON that nobody can read: lists within lists without end, or a number of thousands of
            digits.
    """
    try:
        return json.loads(body)
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise CutBodyError("the JSON has no end") from None
    except (ValueError, RecursionError):
        raise RequestFailedError(Failure(Kind.NOT_DICOMWEB, "JSON that is too deep or has endless numbers")) from None


class DicomwebConnection:
    """One process's connection to a server. Any thread may use it, and a forked child makes its own."""

    def __init__(
        self, address: DicomwebAddress, limit: RequestLimit, object_timeout_s: float, max_connections: int
    ) -> None:
        """Prepare the connection. Nothing is contacted.

        Args:
            address: The server.
            limit: What all requests of the run share.
            object_timeout_s: Seconds for which failed requests are retried.
            max_connections: Largest number of connections that are kept open.
        """
        self.address = address
        self.object_timeout_s = object_timeout_s
        self._limit = limit
        self._max_connections = max_connections
        self._timeouts_s = (min(CONNECT_TIMEOUT_S, object_timeout_s), min(READ_TIMEOUT_S, object_timeout_s))
        self._reset()

    def _reset(self) -> None:
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._opened: tuple[requests.Session, Credentials] | None = None

    def get(
        self,
        path: str,
        accept: str,
        consume: Callable[[requests.Response, float], T],
        params: Sequence[tuple[str, str]] = (),
        timeout_s: float | None = None,
        final_statuses: Collection[int] = (),
    ) -> T | None:
        """Return what `consume` makes of the answer to a GET request.

        The request is repeated while it fails for a passing reason. If the server refuses the credentials, they are
        read again, because a token may have been renewed, and the request is repeated once if they changed.

        Args:
            path: The path below the base URL.
            accept: The media types that are asked for.
            consume: Called with an answer whose body was not read, and with the deadline, as `time.monotonic` counts.
            params: The query.
            timeout_s: Seconds for which transient failures are retried; `object_timeout_s` by default.
            final_statuses: Statuses after which the request is not repeated, whatever they mean elsewhere.

        Returns:
            What `consume` returned, or None if the server says that there is nothing (status 204).

        Raises:
            RequestFailedError: The failure is permanent, or the time is up.
        """
        request = _Request("GET", path, {"Accept": accept}, params, final_statuses=final_statuses)
        return self._exchange(request, _WITH_BODY, consume, timeout_s)

    def post(
        self, path: str, body: bytes, content_type: str, consume: Callable[[requests.Response, float], T]
    ) -> T | None:
        """Return what `consume` makes of the answer to a POST request that stores instances (STOW-RS).

        It is repeated like a GET request: a server that is sent an instance twice keeps one.

        Args:
            path: The path below the base URL.
            body: The body.
            content_type: Its media type.
            consume: Called with an answer whose body was not read, and with the deadline, as `time.monotonic` counts.
                The status says whether all instances were stored (200), some (202) or none (409).

        Raises:
            RequestFailedError: The failure is permanent, or the time is up.
        """
        request = _Request("POST", path, {"Accept": DICOM_JSON, "Content-Type": content_type}, body=body)
        return self._exchange(request, _OF_STORED, consume, None)

    def _exchange(
        self,
        request: _Request,
        with_body: Collection[int],
        consume: Callable[[requests.Response, float], T],
        timeout_s: float | None,
    ) -> T | None:
        """Send a request until it succeeds or is not worth another attempt. See `get`."""
        limit_s = self.object_timeout_s if timeout_s is None else timeout_s
        renewed = False

        def attempt() -> T | None:
            nonlocal renewed
            opened = self._open()
            failure = None
            with self._limit.slot():
                try:
                    with closing(self._send(opened, request)) as answer:
                        if answer.status_code == _NO_RESULT:
                            return None
                        if answer.status_code in with_body:
                            return consume(answer, time.monotonic() + limit_s)
                        failure = classify_status(answer.status_code, answer.headers.get("Retry-After"))
                        if answer.status_code in request.final_statuses:
                            failure = Failure(Kind.OTHER, failure.code)
                except REQUEST_ERRORS as error:
                    failure = classify(error)
            if failure.kind is Kind.CREDENTIALS and not renewed:
                renewed = True
                if self._renew(opened):
                    return attempt()
            raise RequestFailedError(failure)

        def retry_limit_s(error: BaseException) -> float:
            transient = isinstance(error, RequestFailedError) and error.failure.kind is Kind.TRANSIENT
            return limit_s if transient else 0.0

        def asked_wait_s(error: BaseException) -> float:
            return error.failure.wait_s if isinstance(error, RequestFailedError) else 0.0

        return call_with_retries(attempt, retry_limit_s, asked_wait_s)

    def get_json(
        self, path: str, params: Sequence[tuple[str, str]] = (), timeout_s: float | None = None
    ) -> tuple[list[dict[str, Any]], bool]:
        """Return the data sets of a DICOM JSON answer, and whether the server warns that it has more.

        Args:
            path: The path below the base URL.
            params: The query.
            timeout_s: Seconds for which transient failures are retried; `object_timeout_s` by default.

        Raises:
            RequestFailedError: The failure is permanent, or the time is up.
        """

        def consume(answer: requests.Response, deadline_s: float) -> tuple[list[dict[str, Any]], bool]:
            if "json" not in answer.headers.get("Content-Type", "").lower():
                raise RequestFailedError(Failure(Kind.NOT_DICOMWEB, "no JSON"))
            body = bytearray()
            for chunk in read_body(answer, deadline_s):
                body += chunk
                if len(body) > _MAX_JSON_BYTES:
                    raise RequestFailedError(Failure(Kind.OTHER, "an answer of more than 256 MiB"))
            found = parse_json(body) if body.strip() else []
            found = [found] if isinstance(found, dict) else found  # some servers send a lone data set without a list
            if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
                raise RequestFailedError(Failure(Kind.NOT_DICOMWEB, "no list of data sets"))
            return found, "additional" in answer.headers.get("Warning", "").lower()

        return self.get(path, DICOM_JSON, consume, params, timeout_s) or ([], False)

    def raise_fault(self, failure: Failure) -> NoReturn:
        """Raise the fault of a request that failed.

        Args:
            failure: What the server or the connection answered.

        Raises:
            StorageFault: Always. The message says what to do, and names no UID because faults are written to logs.
        """
        text = REMEDIES.get(failure.kind, "refuses a request: look the code up in the server's documentation")
        if failure.kind is Kind.TRANSIENT:
            text += f" (retried for {self.object_timeout_s:g} s)"
        raise StorageFault(f"{self.address.place} {text} [{failure.code}]") from None

    def _send(self, opened: tuple[requests.Session, Credentials], request: _Request) -> requests.Response:
        session, credentials = opened
        return session.request(
            request.method,
            self.address.base_url + request.path,
            params=list(request.params),
            data=request.body,
            headers=request.headers,
            auth=credentials.auth,
            cert=credentials.client_certificate,
            # Given with each request, because a variable such as REQUESTS_CA_BUNDLE would replace the session's own.
            verify=credentials.ca_file or True,
            timeout=self._timeouts_s,
            allow_redirects=False,
            stream=True,
        )

    def _open(self) -> tuple[requests.Session, Credentials]:
        if self._process != os.getpid():  # after a fork, sockets and perhaps a held lock belong to the parent
            self._reset()
        with self._lock:
            if self._opened is None:
                session = requests.Session()
                session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
                # Images are compressed already; for the server to compress them again would load it for nothing.
                session.headers["Accept-Encoding"] = "identity"
                adapter = HTTPAdapter(pool_connections=1, pool_maxsize=self._max_connections)
                session.mount("https://", adapter)
                session.mount("http://", adapter)
                self._opened = session, read_credentials()
            return self._opened

    def _renew(self, refused: tuple[requests.Session, Credentials]) -> bool:
        """Read the credentials again, and return whether they changed: accounts are locked after wrong passwords."""
        with self._lock:
            if self._opened is refused:
                self._opened = refused[0], read_credentials()
            return self._opened is None or self._opened[1] != refused[1]


def read_body(answer: requests.Response, deadline_s: float, chunk_bytes: int = CHUNK_BYTES) -> Iterator[bytes]:
    """Yield the body of an answer in chunks.

    Args:
        answer: The answer.
        deadline_s: When an unfinished body is given up, as `time.monotonic` counts.
        chunk_bytes: Size of a chunk.

    Raises:
        Exception: One of `REQUEST_ERRORS`; a body that is shorter than its stated length is one of them.
    """
    for chunk in answer.iter_content(chunk_bytes):
        yield chunk
        # A body that arrives in small drops never reaches the time-out of a single read.
        if time.monotonic() >= deadline_s:
            raise TimeoutError
