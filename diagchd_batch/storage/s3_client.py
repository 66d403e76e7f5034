"""The boto3 client of one process: made when first needed, and anew with fresh credentials when they expire.

Everything about where and as whom we connect is boto3's own: environment, AWS_PROFILE, shared files, web identity and
instance roles. Two things are added: AWS_REGION, which boto3 alone of Amazon's libraries does not read, and pyarrow's
file system, which gets the same credentials, region and endpoint instead of finding its own.
"""

import os
import threading
from typing import Any
from urllib.parse import urlsplit

import boto3
import pyarrow.fs
from botocore.config import Config
from botocore.exceptions import NoCredentialsError

from diagchd_batch.errors import StorageFault

CONNECT_TIMEOUT_S = 10.0
READ_TIMEOUT_S = 60.0


class S3Clients:
    """Hands out this process's client. Safe in threads; a forked child makes its own."""

    def __init__(self, *, timeout_s: float, max_connections: int) -> None:
        self._options = Config(
            connect_timeout=min(CONNECT_TIMEOUT_S, timeout_s),
            read_timeout=min(READ_TIMEOUT_S, timeout_s),
            max_pool_connections=max_connections,
            tcp_keepalive=True,
            # Ours know of cut bodies and of `object_timeout_s`; botocore's would multiply with them.
            retries={"mode": "standard", "total_max_attempts": 1},
        )
        self._reset()

    def _reset(self) -> None:
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._connected: tuple[boto3.session.Session, Any] | None = None

    def get(self) -> Any:
        """The client. Raises what boto3 raises, and StorageFault for an endpoint that is no URL."""
        return self._connect()[1]

    def renew(self, expired: Any) -> None:
        """Look for credentials afresh, unless another thread has done so since it was given the client `expired`."""
        with self._lock:
            if self._connected and self._connected[1] is expired:
                self._connected = None

    def _connect(self) -> tuple[boto3.session.Session, Any]:
        if self._process != os.getpid():  # forked: sockets, and perhaps a held lock, belong to the parent
            self._reset()
        with self._lock:
            if self._connected is None:
                session = boto3.session.Session(region_name=os.environ.get("AWS_REGION"))
                try:
                    self._connected = session, self._make_client(session)
                except ValueError as error:
                    raise StorageFault(f"{error}; AWS_ENDPOINT_URL_S3 is like https://s3.example.org") from None
            return self._connected

    def _make_client(self, session: boto3.session.Session) -> Any:
        client = session.client("s3", config=self._options)
        if is_amazon(client.meta.endpoint_url):
            return client
        # Many servers other than Amazon's refuse or mangle the checksum trailers that boto3 sends unasked.
        lenient = Config(request_checksum_calculation="when_required", response_checksum_validation="when_required")
        return session.client("s3", config=self._options.merge(lenient))

    def arrow_file_system(self) -> pyarrow.fs.S3FileSystem:
        """Made afresh from the credentials of this moment, as temporary ones cannot be renewed inside pyarrow."""
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


def is_amazon(endpoint_url: str) -> bool:
    host = urlsplit(endpoint_url).hostname or ""
    return host.endswith((".amazonaws.com", ".amazonaws.com.cn"))
