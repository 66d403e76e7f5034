"""An HTTP proxy between a client and a real S3 server that injects faults on request.

    with FaultProxy(server.endpoint_url) as proxy:          # point AWS_ENDPOINT_URL_S3 at proxy.url
        proxy.add(Fault(status=503, code="SlowDown", times=3))
        proxy.add(Fault(cut_after=100_000, method="GET", key_contains="image-7"))
        with proxy.held(method="GET", client="10.0.0.7"):   # matching requests wait until the block ends
        …
        proxy.refuse_connections()                          # as if the server were down
        proxy.accept_connections()

Other requests pass unchanged. They keep their Host header, so their signatures stay valid.
"""

import contextlib
import http.client
import random
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

PIECE_BYTES = 256 << 10


@dataclass
class Fault:
    """A fault, and the requests that it applies to. Several fields may act together."""

    # The fault applies to requests that meet all of these conditions.
    method: str | None = None
    client: str | None = None  # the address that the request comes from
    key_contains: str = ""  # part of the decoded path and query
    skip: int = 0  # number of matching requests that pass first
    times: int | None = None  # number of requests that then fail; None means all of them
    probability: float = 1.0

    # Effects of the fault
    status: int | None = None  # the proxy answers with this status and does not ask the server
    code: str = "InternalError"  # the S3 error code that goes with `status`
    delay_s: float = 0.0  # wait before anything else
    hold: bool = False  # before anything else, wait until the fault is removed
    drop_request: bool = False  # close the connection and do not pass the request on
    drop_response: bool = False  # the server carries the request out, but the client gets no answer
    cut_after: int | None = None  # close the connection after this number of bytes of the body
    drip_s: float = 0.0  # wait before each 256 KiB of the body
    corrupt: bool = False  # flip one bit of the body
    ignore_if_none_match: bool = False  # as on old servers, where the second writer overwrites the first

    hits: int = field(default=0, init=False)
    removed: threading.Event = field(default_factory=threading.Event, init=False)


class FaultProxy:
    """The running proxy. `requests` records (method, path with query) of every request."""

    def __init__(
        self,
        upstream_url: str,
        credentials: tuple[str, str] | None = None,
        seed: int = 0,
        host: str = "127.0.0.1",
    ) -> None:
        """Start the proxy.

        Args:
            upstream_url: URL of the S3 server.
            credentials: Access key and secret key of the server. `ignore_if_none_match` needs them to sign the request
                that it changes.
            seed: Seed of the random numbers for `Fault.probability`.
            host: Address to listen at.
        """
        self._upstream = urlsplit(upstream_url).netloc
        self._credentials = credentials
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self._faults: list[Fault] = []
        self._server: _Server | None = None
        self._host = host
        self._port = 0
        self.requests: list[tuple[str, str]] = []
        self.accept_connections()

    def __enter__(self) -> "FaultProxy":
        return self

    def __exit__(self, *exception: object) -> None:
        self.refuse_connections()

    @property
    def url(self) -> str:
        return f"http://{self._host}:{self._port}"

    def add(self, fault: Fault) -> Fault:
        with self._lock:
            self._faults.append(fault)
        return fault

    def remove(self, fault: Fault) -> None:
        with self._lock:
            self._faults.remove(fault)
        fault.removed.set()

    def clear(self) -> None:
        """Remove all faults."""
        with self._lock:
            faults, self._faults = self._faults, []
        for fault in faults:
            fault.removed.set()

    @contextlib.contextmanager
    def held(self, **which: Any) -> Iterator[Fault]:
        """Hold requests until the block ends, then answer them. `which` has the fields of a Fault that select them."""
        fault = self.add(Fault(hold=True, **which))
        try:
            yield fault
        finally:
            self.remove(fault)

    def refuse_connections(self) -> None:
        """Close the port and every open connection."""
        if self._server:
            self._server.shutdown()
            self._server.server_close()
            self._server.close_connections()
            self._server = None

    def accept_connections(self) -> None:
        """Start to listen, or listen again on the same port as before."""
        if self._server is None:
            self._server = _Server((self._host, self._port), self)
            self._port = self._server.server_address[1]
            threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def faults_for(self, method: str, path: str, client: str) -> list[Fault]:
        """Record the request and return the faults that apply to it."""
        acting = []
        with self._lock:
            self.requests.append((method, path))
            for fault in self._faults:
                if fault.method not in (None, method) or fault.client not in (None, client):
                    continue
                if fault.key_contains not in unquote(path):
                    continue
                if self._random.random() >= fault.probability:
                    continue
                fault.hits += 1
                if fault.hits > fault.skip and (fault.times is None or fault.hits <= fault.skip + fault.times):
                    acting.append(fault)
        return acting

    def forward(self, method: str, path: str, headers: dict[str, str], body: bytes) -> http.client.HTTPResponse:
        """Pass the request on and return the server's response, which the caller reads and closes."""
        connection = http.client.HTTPConnection(self._upstream, timeout=60)
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders(body)
        return connection.getresponse()

    def signed_without_condition(self, method: str, path: str, headers: dict[str, str], body: bytes) -> dict[str, str]:
        """Return the headers without If-None-Match and with a valid signature."""
        assert self._credentials, "give FaultProxy the server's credentials"
        drop = {"if-none-match", "authorization", "x-amz-date", "x-amz-content-sha256"}
        kept = {name: value for name, value in headers.items() if name.lower() not in drop}
        request = AWSRequest(method, f"http://{headers['Host']}{path}", kept, body)
        S3SigV4Auth(Credentials(*self._credentials), "s3", "us-east-1").add_auth(request)
        return dict(request.headers.items())


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], proxy: FaultProxy) -> None:
        self.proxy = proxy
        self._connections: set[Any] = set()
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    def close_connections(self) -> None:
        for connection in list(self._connections):
            with contextlib.suppress(OSError):
                connection.shutdown(2)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print nothing, because clients that disconnect in the middle of a request are what these tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def handle_request(self) -> None:
        proxy = self.server.proxy
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name: value for name, value in self.headers.items() if name.lower() not in ("connection", "expect")}
        faults = proxy.faults_for(self.command, self.path, self.client_address[0])
        for fault in faults:
            if fault.hold:
                fault.removed.wait()
        time.sleep(sum(fault.delay_s for fault in faults))
        if any(fault.drop_request for fault in faults):
            return self._hang_up()
        for fault in faults:
            if fault.status is not None:
                return self._refuse(fault.status, fault.code)
        if any(fault.ignore_if_none_match for fault in faults) and self.headers.get("If-None-Match"):
            headers = proxy.signed_without_condition(self.command, self.path, headers, body)
        with contextlib.closing(proxy.forward(self.command, self.path, headers, body)) as response:
            content = response.read()
        if any(fault.drop_response for fault in faults):
            return self._hang_up()
        if any(fault.corrupt for fault in faults) and content:
            content = bytes([content[0] ^ 1]) + content[1:]
        cuts = [fault.cut_after for fault in faults if fault.cut_after is not None]
        self.send_response_only(response.status, response.reason)
        for name, value in response.getheaders():
            if name.lower() not in ("connection", "transfer-encoding", "content-length"):
                self.send_header(name, value)
        # Responses to HEAD and responses with status 304 state the length of a body that is not sent.
        self.send_header("Content-Length", response.getheader("Content-Length") or str(len(content)))
        self.end_headers()
        content = content[: min(cuts)] if cuts else content
        drip_s = sum(fault.drip_s for fault in faults)
        for start in range(0, len(content), PIECE_BYTES):
            time.sleep(drip_s)
            self.wfile.write(content[start : start + PIECE_BYTES])
        if cuts:
            self._hang_up()

    do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = handle_request  # noqa: N815 - names that http.server looks for

    def _hang_up(self) -> None:
        self.close_connection = True
        self.wfile.flush()

    def _refuse(self, status: int, code: str) -> None:
        content = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>by the proxy</Message></Error>".encode()
        self.send_response_only(status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *arguments: object) -> None:
        pass
