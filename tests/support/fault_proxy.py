"""An HTTP proxy that stands between a client and a real S3 server and goes wrong on request.

    with FaultProxy(server.endpoint_url) as proxy:          # point AWS_ENDPOINT_URL_S3 at proxy.url
        proxy.add(Fault(status=503, code="SlowDown", times=3))
        proxy.add(Fault(cut_after=100_000, method="GET", key_contains="image-7"))
        with proxy.held(method="GET", client="10.0.0.7"):   # such requests wait until the block is left
        …
        proxy.refuse_connections()                          # as if the server were gone
        proxy.accept_connections()

Requests that no fault applies to pass unchanged, the Host header included, so signatures stay valid.
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
    """What goes wrong, and with which requests. Several fields may act together."""

    # Which requests: all conditions must hold.
    method: str | None = None
    client: str | None = None  # the address that the request comes from
    key_contains: str = ""  # part of the decoded path and query
    skip: int = 0  # let the first so many pass
    times: int | None = None  # then act so often; None: always
    probability: float = 1.0

    # What happens.
    status: int | None = None  # answered by the proxy; the server hears nothing
    code: str = "InternalError"  # the S3 error code that goes with `status`
    delay_s: float = 0.0  # before anything else
    hold: bool = False  # before anything else, wait until the fault is removed
    drop_request: bool = False  # close the connection; the server hears nothing
    drop_response: bool = False  # the server carries it out, the client never hears
    cut_after: int | None = None  # bytes of the body, after which the connection is closed
    drip_s: float = 0.0  # wait so long before each 256 KiB of the body
    corrupt: bool = False  # flip one bit of the body
    ignore_if_none_match: bool = False  # as old servers do: the second writer overwrites the first

    hits: int = field(default=0, init=False)
    removed: threading.Event = field(default_factory=threading.Event, init=False)


class FaultProxy:
    """The running proxy; `requests` records (method, path with query) of all that came."""

    def __init__(
        self,
        upstream_url: str,
        credentials: tuple[str, str] | None = None,
        seed: int = 0,
        host: str = "127.0.0.1",
    ) -> None:
        """`host` is the address to listen at. `credentials` (access key, secret key) are needed for
        `ignore_if_none_match`, to sign the changed request.
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
        """No faults any more."""
        with self._lock:
            faults, self._faults = self._faults, []
        for fault in faults:
            fault.removed.set()

    @contextlib.contextmanager
    def held(self, **which: Any) -> Iterator[Fault]:
        """Within the block, requests that `which` (fields of a Fault) names are not answered; then they are."""
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
        """Listen (again), on the same port as before."""
        if self._server is None:
            self._server = _Server((self._host, self._port), self)
            self._port = self._server.server_address[1]
            threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def faults_for(self, method: str, path: str, client: str) -> list[Fault]:
        """The faults that act on this request; counts it."""
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
        """The server's answer. The caller reads and closes it."""
        connection = http.client.HTTPConnection(self._upstream, timeout=60)
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders(body)
        return connection.getresponse()

    def signed_without_condition(self, method: str, path: str, headers: dict[str, str], body: bytes) -> dict[str, str]:
        """The headers without If-None-Match, with a valid signature."""
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
        """Clients that go away in the middle are what these tests are about."""


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
        # HEAD and 304 tell the length of a body that does not follow.
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
