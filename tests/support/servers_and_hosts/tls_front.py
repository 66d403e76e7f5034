"""Puts TLS in front of a server on loopback, as a hospital's reverse proxy does.

Debian's Orthanc 1.10 crashes at its first TLS connection, so it cannot do this itself.
"""

import contextlib
import socket
import ssl
import threading
from pathlib import Path
from types import TracebackType

_PIECE_BYTES = 64 << 10


class TlsFront:
    """The running front. It is a context manager."""

    def __init__(self, upstream_port: int, certificate: Path, client_authority: Path | None = None) -> None:
        """Prepare the front.

        Args:
            upstream_port: Port of the server on loopback.
            certificate: A file with the certificate and its key.
            client_authority: If given, clients need a certificate of this authority.
        """
        self._upstream_port = upstream_port
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate)
        if client_authority is not None:
            self._context.load_verify_locations(client_authority)
            self._context.verify_mode = ssl.CERT_REQUIRED
        self._listener = socket.create_server(("127.0.0.1", 0))

    @property
    def port(self) -> int:
        return self._listener.getsockname()[1]

    def __enter__(self) -> "TlsFront":
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                plain, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(plain,), daemon=True).start()

    def _serve(self, plain: socket.socket) -> None:
        with (
            contextlib.suppress(OSError),
            self._context.wrap_socket(plain, server_side=True) as client,
            socket.create_connection(("127.0.0.1", self._upstream_port)) as upstream,
        ):
            # One thread reads and another writes, which Python's TLS sockets allow.
            back = threading.Thread(target=_pump, args=(upstream, client), daemon=True)
            back.start()
            _pump(client, upstream)
            back.join()


def _pump(source: socket.socket, target: socket.socket) -> None:
    """Copy bytes until one side closes."""
    with contextlib.suppress(OSError):
        while data := source.recv(_PIECE_BYTES):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
