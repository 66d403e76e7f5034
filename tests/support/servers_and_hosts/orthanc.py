"""A real PACS for tests: Debian's Orthanc with DICOMweb on loopback, started once per test session.

`pacs` is a server of the session; every test empties it first. Tests that use it are skipped with a reason if Orthanc
or dcmtk is not installed. Orthanc keeps its files in a directory of its own, so that it can be killed and started
again.
"""

import base64
import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
USER, PASSWORD = "reader", "secret-of-the-pacs"
_START_TIMEOUT_S = 60.0


class Orthanc:
    """One server. It is a context manager, and can be killed and started again within the block.

    Attributes:
        http_port: The port of DICOMweb and of Orthanc's own interface.
        dicom_port: The port for DIMSE.
    """

    def __init__(self, directory: Path, settings: dict[str, Any] | None = None) -> None:
        """Prepare a server.

        Args:
            directory: Where it keeps its files.
            settings: Settings of Orthanc beside those that are written here.
        """
        self._directory = directory
        self.http_port, self.dicom_port = _free_ports(2)
        self._settings = {
            "Name": "test",
            "StorageDirectory": str(directory / "db"),
            "IndexDirectory": str(directory / "db"),
            "HttpPort": self.http_port,
            "DicomPort": self.dicom_port,
            "DicomAet": "ORTHANC",
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": True,
            "RegisteredUsers": {USER: PASSWORD},
            "DicomCheckCalledAet": False,
            "DicomAlwaysAllowStore": True,
            "Plugins": [str(PLUGIN)],
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
        } | (settings or {})
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Orthanc":
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.kill()

    @property
    def url(self) -> str:
        """The base URL of DICOMweb, on plain HTTP."""
        return f"http://127.0.0.1:{self.http_port}/dicom-web"

    @property
    def uri(self) -> str:
        """The server as `input.uri` names it."""
        return f"dicomweb+{self.url}"

    def start(self) -> None:
        """Start the server, and return when it answers."""
        (self._directory / "db").mkdir(parents=True, exist_ok=True)
        configuration = self._directory / "orthanc.json"
        configuration.write_text(json.dumps(self._settings))
        with (self._directory / "orthanc.log").open("ab") as log:
            self._process = subprocess.Popen(["Orthanc", str(configuration)], stdout=log, stderr=log)
        deadline_s = time.monotonic() + _START_TIMEOUT_S
        while not self._answers():
            ended = self._process.poll() is not None
            assert not ended and time.monotonic() < deadline_s, (self._directory / "orthanc.log").read_text()[-2000:]
            time.sleep(0.05)

    def kill(self) -> None:
        """Kill the server, as a power failure would."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def store(self, paths: Iterable[Path]) -> None:
        """Send files to the server over DIMSE with dcmtk's dcmsend, each in the transfer syntax that it has."""
        command = ["dcmsend", "--decompress-never", "127.0.0.1", str(self.dicom_port), *map(str, paths)]
        subprocess.run(command, check=True, capture_output=True, timeout=120)

    def upload(self, paths: Iterable[Path]) -> None:
        """Store files over HTTP. Unlike files that come over DIMSE, they keep every byte."""
        for path in paths:
            self.call("POST", "/instances", path.read_bytes())

    def call(self, method: str, path: str, body: bytes | None = None) -> Any:
        """Return the JSON answer of Orthanc's own interface, which is independent of DICOMweb."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.http_port}{path}", body, method=method)
        token = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        request.add_header("Authorization", f"Basic {token}")
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read() or b"null")

    def delete_study(self, study_uid: str) -> None:
        """Remove a study, as somebody in the hospital might."""
        for name in self.call("GET", "/studies"):
            if self.call("GET", f"/studies/{name}")["MainDicomTags"]["StudyInstanceUID"] == study_uid:
                self.call("DELETE", f"/studies/{name}")

    def empty(self) -> None:
        """Remove everything."""
        for name in self.call("GET", "/patients"):
            self.call("DELETE", f"/patients/{name}")

    def _answers(self) -> bool:
        with contextlib.suppress(OSError, urllib.error.HTTPError):
            return "Version" in self.call("GET", "/system")
        return False


ENVIRON = {"DIAGCHD_DICOMWEB_USER": USER, "DIAGCHD_DICOMWEB_PASSWORD": PASSWORD}
"""The variables with which the program may read the server."""


@pytest.fixture(scope="session")
def pacs_server() -> Iterator[Orthanc]:
    skip_without_orthanc()
    directory = Path(f"/tmp/orthanc-{os.getpid()}-{secrets.token_hex(4)}")
    try:
        with Orthanc(directory) as server:
            yield server
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def pacs(pacs_server: Orthanc, monkeypatch: pytest.MonkeyPatch) -> Orthanc:
    """Return the session's server, emptied, and set the environment so that the program may read it."""
    pacs_server.empty()
    for name, value in ENVIRON.items():
        monkeypatch.setenv(name, value)
    return pacs_server


def skip_without_orthanc() -> None:
    """Skip the test if the programs are not installed."""
    missing = [name for name in ("Orthanc", "dcmsend") if shutil.which(name) is None]
    if missing or not PLUGIN.exists():
        pytest.skip("no Orthanc with DICOMweb: install the packages orthanc, orthanc-dicomweb and dcmtk")


def _free_ports(number: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(socket.socket()) for _ in range(number)]
        for one in held:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in held]
