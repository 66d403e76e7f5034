"""Classification of failed DICOMweb requests, by the server's status or the exception, and the remedy for each."""

from dataclasses import dataclass
from enum import Enum, auto

import requests
from urllib3.exceptions import HTTPError

from diagchd_batch.sources.dicomweb.credentials import PREFIX, remedy


class Kind(Enum):
    """Kind of a failure, which decides what is done about it."""

    TRANSIENT = auto()  # retried: throttling, 5xx, a broken connection, a time-out, a body that was cut
    CREDENTIALS = auto()
    DENIED = auto()  # of one object or of everything; a probe tells which
    NOT_FOUND = auto()
    REDIRECT = auto()
    QUERY = auto()
    NOT_DICOMWEB = auto()
    TLS = auto()
    OTHER = auto()


@dataclass(frozen=True, slots=True)
class Failure:
    """One failed request.

    Attributes:
        kind: What is done about it.
        code: The status or the exception's name. It contains no UID and no URL.
        wait_s: Seconds that the server asks to be left alone (Retry-After).
    """

    kind: Kind
    code: str
    wait_s: float = 0.0


class RequestFailedError(Exception):
    """A request failed. Callers turn it into an ItemError or a StorageFault once it is not retried any more."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.code)
        self.failure = failure


class CutBodyError(Exception):
    """A body ended before its end."""


_STATUSES = {
    400: Kind.QUERY,
    401: Kind.CREDENTIALS,
    403: Kind.DENIED,
    404: Kind.NOT_FOUND,
    408: Kind.TRANSIENT,
    410: Kind.NOT_FOUND,
    425: Kind.TRANSIENT,
    429: Kind.TRANSIENT,
    501: Kind.OTHER,
    505: Kind.OTHER,
}

REQUEST_ERRORS = (requests.RequestException, HTTPError, CutBodyError, OSError)
"""Exceptions that a request, or reading the body of its answer, can raise."""

_LONGEST_WAIT_S = 300.0


def classify_status(status: int, retry_after: str | None) -> Failure:
    """Return what a status other than success means.

    Args:
        status: The HTTP status.
        retry_after: The header Retry-After. Only seconds are understood; a date is ignored.
    """
    kind = _STATUSES.get(status)
    if kind is None:
        kind = Kind.REDIRECT if 300 <= status < 400 else Kind.TRANSIENT if status >= 500 else Kind.OTHER
    wait_s = float(retry_after) if retry_after is not None and retry_after.strip().isdecimal() else 0.0
    return Failure(kind, f"HTTP {status}", min(wait_s, _LONGEST_WAIT_S))


def classify(error: Exception) -> Failure:
    """Return what an exception among `REQUEST_ERRORS` means. Its text may hold a URL, so only its name is kept."""
    code = type(error).__name__
    text = str(error).upper()
    if "CERTIFICATE_REQUIRED" in text:
        return Failure(Kind.CREDENTIALS, "a client's certificate is required")
    if "CERTIFICATE" in text:
        return Failure(Kind.TLS, code)
    if isinstance(error, ValueError):  # an invalid URL or header
        return Failure(Kind.OTHER, code)
    return Failure(Kind.TRANSIENT, code)


REMEDIES = {
    Kind.TRANSIENT: "did not answer in time: check that it runs, the address in input.uri, and the network",
    Kind.CREDENTIALS: f"refuses the credentials, or needs some: check {remedy()} on every node",
    Kind.DENIED: "denies access: grant the account the right to search and to retrieve studies",
    Kind.NOT_FOUND: "has no DICOMweb service (QIDO-RS) at this path: correct the path in input.uri, or switch DICOMweb "
    "on in the server",
    Kind.REDIRECT: "redirects to another address, and redirects are not followed because they could carry credentials "
    "elsewhere: write the address that it redirects to into input.uri",
    Kind.QUERY: "refuses the search: correct the filters in input.uri",
    Kind.NOT_DICOMWEB: "answers with something other than DICOM JSON: correct the path in input.uri; a login page "
    "means that credentials are missing",
    Kind.TLS: f"has a certificate that this machine does not trust: set {PREFIX}CA_FILE to the file of your "
    "certificate authority",
}
"""What a message says about each kind. It continues a sentence that begins with the place."""
