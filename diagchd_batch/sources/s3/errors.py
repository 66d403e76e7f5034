"""Classification of failed S3 requests, by the server's error code or botocore's exception, and the remedy for each."""

from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from botocore import exceptions
from botocore.exceptions import BotoCoreError, ClientError
from urllib3.exceptions import HTTPError


class Kind(Enum):
    """Kind of a failure, which decides what is done about it."""

    TRANSIENT = auto()  # retried: throttling, 5xx, a broken connection, a time-out
    EXPIRED = auto()  # retried once with fresh credentials
    CREDENTIALS = auto()
    NO_CREDENTIALS = auto()
    CLOCK = auto()
    TLS = auto()
    NO_BUCKET = auto()
    WRONG_REGION = auto()
    NOT_FOUND = auto()
    DENIED = auto()  # of one object or of the whole bucket; a probe tells which
    ARCHIVED = auto()
    EXISTS = auto()  # the condition of the request was not met
    RANGE = auto()
    UNSUPPORTED = auto()
    NO_SPACE = auto()
    OTHER = auto()


@dataclass(frozen=True, slots=True)
class Failure:
    """One failed request.

    Attributes:
        kind: What is done about it.
        code: The server's error code or the exception's name. It contains no key and no URL.
    """

    kind: Kind
    code: str


_CODES = {
    "ExpiredToken": Kind.EXPIRED,
    "ExpiredTokenException": Kind.EXPIRED,
    "TokenRefreshRequired": Kind.EXPIRED,
    "InvalidToken": Kind.CREDENTIALS,
    "InvalidAccessKeyId": Kind.CREDENTIALS,
    "SignatureDoesNotMatch": Kind.CREDENTIALS,
    "InvalidSecurity": Kind.CREDENTIALS,
    "AccountProblem": Kind.CREDENTIALS,
    "AllAccessDisabled": Kind.CREDENTIALS,
    "UserSuspended": Kind.CREDENTIALS,
    "NotSignedUp": Kind.CREDENTIALS,
    "RequestTimeTooSkewed": Kind.CLOCK,
    "NoSuchBucket": Kind.NO_BUCKET,
    "PermanentRedirect": Kind.WRONG_REGION,
    "AuthorizationHeaderMalformed": Kind.WRONG_REGION,
    "IllegalLocationConstraintException": Kind.WRONG_REGION,
    "NoSuchKey": Kind.NOT_FOUND,
    "AccessDenied": Kind.DENIED,
    "InvalidObjectState": Kind.ARCHIVED,
    "RequestTimeout": Kind.TRANSIENT,
    "RequestTimeoutException": Kind.TRANSIENT,
    "IncompleteBody": Kind.TRANSIENT,
    "BadDigest": Kind.TRANSIENT,
    "XAmzContentSHA256Mismatch": Kind.TRANSIENT,
    "Throttling": Kind.TRANSIENT,
    "ThrottlingException": Kind.TRANSIENT,
    "QuotaExceeded": Kind.NO_SPACE,
    "XMinioStorageFull": Kind.NO_SPACE,
}

# HTTP statuses that decide if the code is not in the table above. Any other 5xx is transient.
_STATUSES = {
    403: Kind.DENIED,
    404: Kind.NOT_FOUND,
    408: Kind.TRANSIENT,
    409: Kind.TRANSIENT,
    412: Kind.EXISTS,
    416: Kind.RANGE,
    425: Kind.TRANSIENT,
    429: Kind.TRANSIENT,
    501: Kind.UNSUPPORTED,
    507: Kind.NO_SPACE,
}

_NO_CREDENTIALS = (
    exceptions.NoCredentialsError,
    exceptions.PartialCredentialsError,
    exceptions.CredentialRetrievalError,
    exceptions.TokenRetrievalError,
    exceptions.NoAuthTokenError,
    exceptions.ProfileNotFound,
    exceptions.SSOError,
    exceptions.LoginError,
    exceptions.RefreshWithMFAUnsupportedError,
)
_CONNECTION = (
    exceptions.HTTPClientError,
    exceptions.ConnectionError,
    exceptions.IncompleteReadError,
    exceptions.ResponseStreamingError,
    exceptions.FlexibleChecksumError,
    HTTPError,
    OSError,
)

REQUEST_ERRORS = (ClientError, BotoCoreError, HTTPError, ConnectionError, TimeoutError)
"""Exceptions that a request, or reading the body of its answer, can raise."""


def classify(error: Exception) -> Failure:
    """Return what an exception among `REQUEST_ERRORS` means."""
    if isinstance(error, ClientError):
        return _classify_answer(error.response)
    code = type(error).__name__
    if isinstance(error, _NO_CREDENTIALS):
        return Failure(Kind.NO_CREDENTIALS, code)
    if isinstance(error, exceptions.SSLError) and "CERTIFICATE" in str(error).upper():
        return Failure(Kind.TLS, code)
    if isinstance(error, _CONNECTION):
        return Failure(Kind.TRANSIENT, code)
    return Failure(Kind.OTHER, code)


def _classify_answer(response: dict[str, Any]) -> Failure:
    code = str(response.get("Error", {}).get("Code", ""))
    status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    kind = _CODES.get(code) or _STATUSES.get(status)
    if kind is None:
        kind = Kind.TRANSIENT if status >= 500 or status == 200 else Kind.OTHER
    # The error codes of servers are short words. Anything longer could contain a key.
    return Failure(kind, code if code.isalnum() and len(code) < 60 else f"HTTP {status}")


REMEDIES = {
    Kind.TRANSIENT: "did not answer in time: check the endpoint (AWS_ENDPOINT_URL_S3) and the network",
    Kind.EXPIRED: "says that the credentials have expired: log in again (for example: aws sso login)",
    Kind.CREDENTIALS: "refuses the credentials: check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN "
    "or AWS_PROFILE",
    Kind.NO_CREDENTIALS: "needs credentials, and none were found: set AWS_PROFILE, or AWS_ACCESS_KEY_ID and "
    "AWS_SECRET_ACCESS_KEY, or give the machine a role",
    Kind.CLOCK: "says that this machine's clock is wrong: set it (NTP)",
    Kind.TLS: "has a certificate that this machine does not trust: set AWS_CA_BUNDLE to the file of your certificate "
    "authority",
    Kind.NO_BUCKET: "does not have this bucket: check its name, or create it",
    Kind.WRONG_REGION: "has this bucket in another region: set AWS_REGION to the bucket's",
    Kind.DENIED: "denies access: grant s3:ListBucket, s3:GetObject and, for an output, s3:PutObject, s3:DeleteObject",
    Kind.UNSUPPORTED: "does not support conditional writes (If-None-Match), without which two workers could write one "
    "file: update the server, or write the output to a directory",
    Kind.NO_SPACE: "has no space left: free some or raise the quota, then give the same command again",
}
"""What a message says about each kind. It continues a sentence that begins with the place."""
