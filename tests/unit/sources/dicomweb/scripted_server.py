"""An HTTP server on loopback that answers as a test says, for what a real PACS does not do on request."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit


@dataclass
class Answer:
    """What the server sends. With `stated_bytes` it promises more than that and then hangs up."""

    body: bytes = b""
    status: int = 200
    content_type: str = "application/dicom+json"
    headers: dict[str, str] = field(default_factory=dict)
    stated_bytes: int | None = None
    without_length: bool = False


@dataclass
class Request:
    """A request that the server got."""

    path: str
    query: dict[str, str]
    headers: dict[str, str]


class ScriptedServer:
    """The running server. `requests` records what it was asked, and `answer` may be replaced at any time."""

    def __init__(self, answer: Callable[[Request], Answer]) -> None:
        self.answer = answer
        self.requests: list[Request] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())

    @property
    def port(self) -> int:
        return self._server.server_address[1]

    @property
    def uri(self) -> str:
        return f"dicomweb+http://127.0.0.1:{self.port}/dicom-web"

    @contextmanager
    def running(self) -> Iterator["ScriptedServer"]:
        thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                url = urlsplit(self.path)
                request = Request(url.path, dict(parse_qsl(url.query)), dict(self.headers.items()))
                server.requests.append(request)
                answer = server.answer(request)
                self.send_response_only(answer.status)
                self.send_header("Content-Type", answer.content_type)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                if not answer.without_length:
                    self.send_header("Content-Length", str(answer.stated_bytes or len(answer.body)))
                self.end_headers()
                self.wfile.write(answer.body)
                self.close_connection = (
                    self.close_connection or answer.stated_bytes is not None or answer.without_length
                )

            def log_message(self, *arguments: Any) -> None:
                pass

        return Handler
