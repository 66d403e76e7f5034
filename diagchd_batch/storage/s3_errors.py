"""What an S3 request's failure means, whatever botocore calls it."""

from dataclasses import dataclass
from enum import Enum, auto

from botocore import exceptions
from botocore.exceptions import BotoCoreError, ClientError
from urllib3.exceptions import HTTPError


class Kind(Enum):
    """What to do about a failure."""

    TRANSIENT = auto()  # try again: throttled, 5xx, connection cut, timed out
    EXPIRED = auto()  # try once with fresh credentials
    CREDENTIALS = auto()
    NO_CREDENTIALS = auto()
    CLOCK = auto()
    TLS = auto()
    NO_BUCKET = auto()
    WRONG_REGION = auto()
    NOT_FOUND = auto()
    DENIED = auto()  # one object, or everything: a probe tells
    ARCHIVED = auto()
    EXISTS = auto()  # a condition on the write was not met
    RANGE = auto()
    UNSUPPORTED = auto()
    NO_SPACE = auto()
    OTHER = auto()


@dataclass(frozen=True, slots=True)
class Failure:
    """One failed request. `code` is the server's error code or the exception's name: no key, no URL."""

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

# For all other codes; 5xx is transient too.
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
"""All that a request, or reading its body, raises."""


def classify(error: Exception) -> Failure:
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


def _classify_answer(response: dict) -> Failure:
    code = str(response.get("Error", {}).get("Code", ""))
    status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    kind = _CODES.get(code) or _STATUSES.get(status)
    if kind is None:
        kind = Kind.TRANSIENT if status >= 500 or status == 200 else Kind.OTHER
    # A server's own codes are short words; anything longer could carry a key.
    return Failure(kind, code if code.isalnum() and len(code) < 60 else f"HTTP {status}")


REMEDIES = {
    Kind.TRANSIENT: "did not answer in time: check the endpoint (AWS_ENDPOINT_URL_S3) and the network",
    Kind.EXPIRED: "says that the credentials have expired: log in again (for example: aws sso login)",
    Kind.CREDENTIALS: "refuses the credentials: check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN "
    "or AWS_PROFILE",
    Kind.NO_CREDENTIALS: "needs credentials, and none were found: set AWS_PROFILE, AWS_ACCESS_KEY_ID and "
    "AWS_SECRET_ACCESS_KEY, or give the machine a role",
    Kind.CLOCK: "refuses this machine's clock: set it right (NTP)",
    Kind.TLS: "has a certificate that this machine does not trust: name your authority's file in AWS_CA_BUNDLE",
    Kind.NO_BUCKET: "has no such bucket: check its name, or create it",
    Kind.WRONG_REGION: "lies in another region: set AWS_REGION to the bucket's",
    Kind.DENIED: "denies access: grant s3:ListBucket, s3:GetObject and, for an output, s3:PutObject, s3:DeleteObject",
    Kind.UNSUPPORTED: "does not support conditional writes (If-None-Match), without which two workers could write one "
    "file: update the server, or write the output to a directory",
    Kind.NO_SPACE: "has no space left: free some or raise the quota, then give the same command again",
}
