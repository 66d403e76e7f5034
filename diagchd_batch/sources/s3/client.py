"""The boto3 client of one process. It is made when it is first needed, and again when its credentials expire.

The endpoint and the credentials are what boto3 finds: environment variables, AWS_PROFILE, shared files, web identity
and instance roles. Three things are added. AWS_REGION is read, as Amazon's other libraries do. pyarrow's file system
gets the same credentials, region and endpoint instead of looking for its own. An endpoint is a scheme, a host and a
port: one with a user or a password is refused, because endpoints appear in messages, and pyarrow takes neither.
"""

import ipaddress
import os
import threading
from typing import Any
from urllib.parse import SplitResult, urlsplit

import boto3
import pyarrow.fs
from botocore.config import Config
from botocore.exceptions import InvalidRegionError, NoCredentialsError

from diagchd_batch.errors import ConfigError, StorageFault

CONNECT_TIMEOUT_S = 10.0
READ_TIMEOUT_S = 60.0


class S3Clients:
    """Provides one boto3 client per process. It can be used from many threads, and a forked child makes its own."""

    def __init__(self, *, timeout_s: float, max_connections: int) -> None:
        """Prepare the options of the client.

        Args:
            timeout_s: Upper bound, in seconds, of the connect and read time-outs.
            max_connections: Largest number of connections that the client keeps open.
        """
        self._options = Config(
            connect_timeout=min(CONNECT_TIMEOUT_S, timeout_s),
            read_timeout=min(READ_TIMEOUT_S, timeout_s),
            max_pool_connections=max_connections,
            tcp_keepalive=True,
            # Retries are made in `S3Prefix.request`, which knows the time limit. Those of botocore would multiply them.
            retries={"mode": "standard", "total_max_attempts": 1},
        )
        self._reset()

    def _reset(self) -> None:
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._connected: tuple[boto3.session.Session, Any] | None = None

    def get(self) -> Any:
        """Return the client.

        Raises:
            ConfigError: The endpoint holds more than a scheme, a host and a port.
            StorageFault: The endpoint is not a URL.
            BotoCoreError: boto3 cannot make a client, for example because the profile is unknown.
        """
        return self._connect()[1]

    def renew(self, expired: Any) -> None:
        """Discard the client `expired`, so that credentials are looked up again, unless another thread has done so."""
        with self._lock:
            if self._connected and self._connected[1] is expired:
                self._connected = None

    def _connect(self) -> tuple[boto3.session.Session, Any]:
        if self._process != os.getpid():  # after a fork, sockets and perhaps a held lock belong to the parent
            self._reset()
        with self._lock:
            if self._connected is None:
                session = boto3.session.Session(region_name=os.environ.get("AWS_REGION"))
                try:
                    self._connected = session, self._make_client(session)
                except ValueError as error:
                    # Texts about the endpoint repeat it, and it may hold a password.
                    what = str(error) if isinstance(error, InvalidRegionError) else "the S3 endpoint is not a URL"
                    raise StorageFault(
                        f"{what}; set AWS_ENDPOINT_URL_S3 to a URL such as https://s3.example.org"
                    ) from None
            return self._connected

    def _make_client(self, session: boto3.session.Session) -> Any:
        client = session.client("s3", config=self._options)
        _check_endpoint(client.meta.endpoint_url)
        if _is_loopback(client.meta.endpoint_url):  # a proxy, whose settings boto3 reads, could not reach it
            self._options = self._options.merge(Config(proxies={}))
            client = session.client("s3", config=self._options)
        if is_amazon(client.meta.endpoint_url):
            return client
        # Many servers other than Amazon's refuse or damage the checksum trailers that boto3 sends by default.
        lenient = Config(request_checksum_calculation="when_required", response_checksum_validation="when_required")
        return session.client("s3", config=self._options.merge(lenient))

    def arrow_file_system(self) -> pyarrow.fs.S3FileSystem:
        """Return a new pyarrow file system with the current credentials. pyarrow could not renew temporary ones itself.

        Raises:
            NoCredentialsError: No credentials are found.
        """
        session, client = self._connect()
        meta = client.meta
        found = session.get_credentials()
        if found is None:
            raise NoCredentialsError
        credentials = found.get_frozen_credentials()
        options: dict[str, Any] = {
            "region": meta.region_name if meta.region_name != "aws-global" else "us-east-1",
            "connect_timeout": CONNECT_TIMEOUT_S,
            "retry_strategy": pyarrow.fs.AwsStandardS3RetryStrategy(max_attempts=10),
            "tls_ca_file_path": os.environ.get("AWS_CA_BUNDLE"),
        }
        if not is_amazon(meta.endpoint_url):
            endpoint = urlsplit(meta.endpoint_url)
            options |= {"scheme": endpoint.scheme, "endpoint_override": endpoint.netloc}
        return pyarrow.fs.S3FileSystem(
            access_key=credentials.access_key,
            secret_key=credentials.secret_key,
            session_token=credentials.token,
            **options,
        )


def host_and_port(url: str) -> str:
    """Return the part of a URL that may be shown: its host, and the port if it names one."""
    return urlsplit(url).netloc.rpartition("@")[2]


def _check_endpoint(url: str) -> None:
    """Refuse an endpoint that is more than a scheme, a host and a port. The message shows nothing of it."""
    parts = urlsplit(url)
    if "@" in url:
        surplus = "a user or a password"
    elif parts.query or parts.fragment:
        surplus = "a query"
    elif parts.path.strip("/"):
        surplus = "a path"
    elif not _has_possible_port(parts):
        surplus = "a port that is no number"
    else:
        return
    raise ConfigError(
        f"the S3 endpoint holds {surplus}: set AWS_ENDPOINT_URL_S3 (or AWS_ENDPOINT_URL, or endpoint_url of the "
        "profile) to a scheme, a host and a port, such as https://s3.example.org:9000, and give credentials in "
        "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
    )


def _has_possible_port(parts: SplitResult) -> bool:
    try:
        return parts.port is None or parts.port > 0
    except ValueError:  # a user and a password without a host look like a host and such a port
        return False


def _is_loopback(endpoint_url: str) -> bool:
    """Return whether an endpoint is on this machine."""
    host = urlsplit(endpoint_url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def is_amazon(endpoint_url: str) -> bool:
    """Return whether an endpoint is one of Amazon's own."""
    host = urlsplit(endpoint_url).hostname or ""
    return host.endswith((".amazonaws.com", ".amazonaws.com.cn"))
