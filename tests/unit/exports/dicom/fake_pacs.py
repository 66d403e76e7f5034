"""A server with DICOMweb in memory, which loses, changes and refuses objects as a test says."""

import io
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pydicom
from pydicom.dataset import Dataset

from tests.support.scored_dicom import file_bytes

_INSTANCE = re.compile(r"/dicom-web/studies/([^/]+)/series/([^/]+)/instances/([^/]+)")
_INSTANCES = re.compile(r"/dicom-web/studies/([^/]+)/instances")


@dataclass(frozen=True)
class Refused:
    """An object that the server refuses openly, and the failure reason that it tells."""

    reason: object


@dataclass
class FakePacs:
    """The server. Objects are kept by UID, as (study, series, bytes).

    `keeps` is called with each object that arrives and the number of times that it arrived before. It returns what is
    kept of the object: the data set, None to lose it in silence, or `Refused`.
    """

    keeps: Callable[[Dataset, int], Dataset | Refused | None] = lambda dataset, n_before: dataset
    statuses: list[int] = field(default_factory=list)
    """Statuses that the next requests to store are answered with, before anything else happens."""

    says: bytes | None = None
    """What the server answers after it has stored, in place of JSON that tells what became of the objects."""

    objects: dict[str, tuple[str, str, bytes]] = field(default_factory=dict)
    arrived: list[str] = field(default_factory=list)
    n_stores: int = 0
    port: int = 0

    @property
    def uri(self) -> str:
        return f"dicomweb+http://127.0.0.1:{self.port}/dicom-web"

    @contextmanager
    def running(self) -> Iterator["FakePacs"]:
        server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()

    def search(self, study: str, query: dict[str, list[str]]) -> list[dict[str, Any]]:
        found = [
            {"0020000E": {"vr": "UI", "Value": [series]}, "00080018": {"vr": "UI", "Value": [uid]}}
            for uid, (of_study, series, _) in sorted(self.objects.items())
            if of_study == study
        ]
        offset = int(query["offset"][0])
        return found[offset : offset + 2]  # fewer than were asked for

    def store(self, body: bytes, content_type: str) -> tuple[int, dict[str, Any]]:
        self.n_stores += 1
        if self.statuses:
            return self.statuses.pop(0), {}
        boundary = content_type.rpartition("boundary=")[2].encode()
        failed = []
        parts = [part.partition(b"\r\n\r\n")[2][:-2] for part in body.split(b"--" + boundary)[1:-1]]
        for part in parts:
            dataset = pydicom.dcmread(io.BytesIO(part))
            uid = dataset.SOPInstanceUID
            kept = self.keeps(dataset, self.arrived.count(uid))
            self.arrived.append(uid)
            if isinstance(kept, Refused):
                failed.append({"00081155": {"Value": [uid]}, "00081197": {"Value": [kept.reason]}})
            elif kept is not None:
                self.objects[uid] = (dataset.StudyInstanceUID, dataset.SeriesInstanceUID, file_bytes(kept))
        if not failed:
            return 200, {}
        return 409 if len(failed) == len(parts) else 202, {"00081198": {"vr": "SQ", "Value": failed}}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        pacs = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                url = urlsplit(self.path)
                if match := _INSTANCE.fullmatch(url.path):
                    study, series, data = pacs.objects.get(match[3], ("", "", b""))
                    found = (study, series) == match.groups()[:2]
                    self._answer(200 if found else 404, data, "application/dicom")
                elif match := _INSTANCES.fullmatch(url.path):
                    self._json(200, pacs.search(match[1], parse_qs(url.query)))
                else:
                    self._json(200, [])

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status, told = pacs.store(body, self.headers["Content-Type"])
                self._answer(status, pacs.says or json.dumps(told).encode(), "application/dicom+json")

            def _json(self, status: int, value: object) -> None:
                self._answer(status, json.dumps(value).encode(), "application/dicom+json")

            def _answer(self, status: int, body: bytes, content_type: str) -> None:
                self.send_response_only(status)
                self.send_header("Content-Type", content_type)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments: Any) -> None:
                pass

        return Handler
