"""How a DICOMweb server is told who asks: by references in the environment, never by the job file or the URI."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import requests
from requests.auth import AuthBase, HTTPBasicAuth

from diagchd_batch.errors import ConfigError

PREFIX = "DIAGCHD_DICOMWEB_"
_HINT = f"{PREFIX}USER with {PREFIX}PASSWORD_FILE, {PREFIX}TOKEN_FILE, or {PREFIX}CLIENT_CERT_FILE"


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a request carries.

    Attributes:
        auth: Sets the header Authorization, or nothing.
        client_certificate: Paths of the client's certificate and of its key, or None.
        ca_file: Path of the certificates of the authorities that are trusted; None for those of the system.
    """

    auth: AuthBase
    client_certificate: tuple[str, str] | None
    ca_file: str | None


@dataclass(frozen=True, slots=True)
class _Anonymous(AuthBase):
    """Sends no credentials. Without it, requests would look for some in ~/.netrc."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        return request


@dataclass(frozen=True, slots=True, repr=False)
class _Bearer(AuthBase):
    """Sends a token."""

    token: str

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self.token}"
        return request


def read_credentials(environ: Mapping[str, str] = os.environ) -> Credentials:
    """Return the credentials that the environment names. Files are read anew, so that a renewed token is found.

    Args:
        environ: The environment variables.

    Raises:
        ConfigError: The variables contradict each other, or a file cannot be read. The message holds no secret.
    """
    user, password, token = environ.get(f"{PREFIX}USER"), _secret(environ, "PASSWORD"), _secret(environ, "TOKEN")
    if token is not None and (user is not None or password is not None):
        raise ConfigError(
            f"{PREFIX}TOKEN and {PREFIX}USER are both set; a request can carry only one of them: unset one"
        )
    if (user is None) != (password is None):
        raise ConfigError(f"{PREFIX}USER and {PREFIX}PASSWORD (or {PREFIX}PASSWORD_FILE) go together; set both")
    auth: AuthBase = _Anonymous()
    if token is not None:
        auth = _Bearer(token)
    elif user is not None and password is not None:
        # As bytes, because requests would encode text as Latin-1, while servers expect UTF-8.
        auth = HTTPBasicAuth(user.encode(), password.encode())
    certificate, key = _path(environ, "CLIENT_CERT_FILE"), _path(environ, "CLIENT_KEY_FILE")
    if key is not None and certificate is None:
        raise ConfigError(f"{PREFIX}CLIENT_KEY_FILE needs {PREFIX}CLIENT_CERT_FILE beside it; set both")
    pair = None if certificate is None else (certificate, key or certificate)
    return Credentials(auth, pair, _path(environ, "CA_FILE"))


def remedy() -> str:
    """Return the names of the variables that give credentials, for messages."""
    return _HINT


def _secret(environ: Mapping[str, str], name: str) -> str | None:
    """Return a secret that is given by itself or as the path of a file."""
    value, path = environ.get(f"{PREFIX}{name}"), _path(environ, f"{name}_FILE")
    if value is not None and path is not None:
        raise ConfigError(f"{PREFIX}{name} and {PREFIX}{name}_FILE are both set; unset one")
    if path is not None:
        try:
            value = Path(path).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"the file that {PREFIX}{name}_FILE names cannot be read ({type(error).__name__}); check its path and "
                "its permissions"
            ) from None
    if value is not None and (not value or not value.isprintable()):
        raise ConfigError(f"{PREFIX}{name} is empty or has a line break; give the secret alone")
    return value


def _path(environ: Mapping[str, str], name: str) -> str | None:
    path = environ.get(f"{PREFIX}{name}")
    if path is not None and not Path(path).is_file():
        raise ConfigError(f"{PREFIX}{name} does not name a file; check the path, or unset it")
    return path
