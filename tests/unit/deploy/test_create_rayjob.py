"""The nightly job's script calls a simulated API server over TLS, as it would in a pod."""

import argparse
import http.server
import importlib.util
import json
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from zoneinfo import ZoneInfo

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.support.checkers.kuberay_rules import problems
from tests.support.checkers.kubernetes_schemas import schema_problems
from tests.unit.deploy.manifests import KUBERAY, manifest

_SPEC = importlib.util.spec_from_file_location("create_rayjob", KUBERAY / "create_rayjob.py")
create_rayjob = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(create_rayjob)

BERLIN = ZoneInfo("Europe/Berlin")
EVENING = datetime(2026, 11, 23, 20, 0, 3, tzinfo=BERLIN)
TOKEN = "token-of-the-service-account"
PATH = "/apis/ray.io/v1/namespaces/diagchd-batch/rayjobs"


class _Server(http.server.ThreadingHTTPServer):
    jobs: dict[str, Any]


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Server

    def _answer(self, code: int, body: Any) -> None:
        self.send_response(code)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def _handle(self) -> None:
        jobs, url = self.server.jobs, urlsplit(self.path)
        if self.headers["Authorization"] != f"Bearer {TOKEN}" or not url.path.startswith(PATH):
            return self._answer(403, {"message": "forbidden"})
        if self.command == "GET":
            key, value = parse_qs(url.query)["labelSelector"][0].split("=")
            items = [job for job in jobs.values() if job["metadata"]["labels"].get(key) == value]
            return self._answer(200, {"items": items})
        if self.command == "DELETE":
            return self._answer(200, jobs.pop(url.path.rsplit("/", 1)[1]))
        job = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        name = job["metadata"].pop("generateName") + f"{len(jobs):05d}"
        job["metadata"] |= {"name": name, "creationTimestamp": f"2026-11-{len(jobs) + 1:02d}T19:00:00Z"}
        jobs[name] = job
        return self._answer(201, job)

    do_GET = do_POST = do_DELETE = _handle  # noqa: N815

    def log_message(self, *arguments: Any) -> None:
        pass


def _self_signed(directory: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.now(UTC) - timedelta(hours=1))
        .not_valid_after(datetime.now(UTC) + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (directory / "ca.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (directory / "server.key").write_bytes(private)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[dict[str, Any], Any]]:
    """Start a simulated API server. Yield the server's jobs and the script's client."""
    _self_signed(tmp_path)
    (tmp_path / "token").write_text(TOKEN + "\n")
    (tmp_path / "namespace").write_text("diagchd-batch")
    with _Server(("localhost", 0), _Handler) as serving:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tmp_path / "ca.crt", tmp_path / "server.key")
        serving.socket = context.wrap_socket(serving.socket, server_side=True)
        serving.jobs = {}
        thread = threading.Thread(target=serving.serve_forever, args=[0.02], daemon=True)
        thread.start()
        yield serving.jobs, create_rayjob.ApiServer(tmp_path, f"localhost:{serving.server_port}")
        serving.shutdown()
        thread.join()


def _arguments(**changed: Any) -> argparse.Namespace:
    given = {
        "manifest": KUBERAY / "rayjob.yaml",
        "name": "diagchd-nightly",
        "options": "--select new",
        "until": time(6),
        "keep": 14,
    }
    return argparse.Namespace(**given | changed)


def test_created_job_is_the_manifest_with_name_options_and_an_instant_to_end_at(
    server: tuple[dict[str, Any], Any],
) -> None:
    jobs, client = server
    assert create_rayjob.run(_arguments(), client, EVENING) == "created diagchd-nightly-00000"
    (job,) = jobs.values()
    shipped = manifest("rayjob")
    assert job["spec"].pop("entrypoint") == (
        shipped["spec"].pop("entrypoint") + " --select new --until 2026-11-24T06:00:00+01:00"
    )
    assert job["spec"] == shipped["spec"]
    assert job["metadata"]["labels"] == shipped["metadata"]["labels"] | {"diagchd-batch/series": "diagchd-nightly"}


def test_what_is_sent_is_valid() -> None:
    sent = create_rayjob.rayjob_of_series(manifest("rayjob"), "diagchd-nightly", "--select new", EVENING)
    assert schema_problems(sent) == [] and problems(sent) == []


@pytest.mark.parametrize(
    ("status", "created"),
    [
        ({"jobDeploymentStatus": "Complete"}, True),
        ({"jobDeploymentStatus": "Failed"}, True),
        ({"jobDeploymentStatus": "ValidationFailed"}, True),
        ({"jobDeploymentStatus": "Running"}, False),
        ({"jobDeploymentStatus": "Retrying"}, False),
        ({"jobDeploymentStatus": "Suspended"}, False),
        ({}, False),  # The operator has not seen the job yet.
    ],
)
def test_a_second_job_waits_until_the_first_has_ended(
    server: tuple[dict[str, Any], Any], status: dict[str, str], created: bool
) -> None:
    jobs, client = server
    create_rayjob.run(_arguments(), client, EVENING)
    jobs["diagchd-nightly-00000"]["status"] = status
    answer = create_rayjob.run(_arguments(), client, EVENING)
    assert answer == ("created diagchd-nightly-00001" if created else "diagchd-nightly-00000 still runs; none created")
    assert len(jobs) == 1 + created


def test_other_series_are_left_alone(server: tuple[dict[str, Any], Any]) -> None:
    jobs, client = server
    create_rayjob.run(_arguments(name="somebody-else"), client, EVENING)
    assert create_rayjob.run(_arguments(keep=0), client, EVENING).startswith("created diagchd-nightly")
    assert len(jobs) == 2


def test_oldest_finished_jobs_are_deleted_running_ones_never(server: tuple[dict[str, Any], Any]) -> None:
    jobs, client = server
    for _ in range(5):
        create_rayjob.run(_arguments(), client, EVENING)
        for job in jobs.values():
            job["status"] = {"jobDeploymentStatus": "Complete"}
    jobs["diagchd-nightly-00000"]["status"] = {"jobDeploymentStatus": "Running"}
    create_rayjob.run(_arguments(keep=2), client, EVENING)
    assert sorted(jobs) == ["diagchd-nightly-00000", "diagchd-nightly-00003", "diagchd-nightly-00004"]


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (datetime(2026, 11, 23, 20, tzinfo=BERLIN), "2026-11-24T06:00:00+01:00"),
        (datetime(2026, 11, 24, 2, tzinfo=BERLIN), "2026-11-24T06:00:00+01:00"),  # started late
        (datetime(2026, 11, 24, 6, tzinfo=BERLIN), "2026-11-25T06:00:00+01:00"),
        (datetime(2026, 10, 24, 20, tzinfo=BERLIN), "2026-10-25T06:00:00+01:00"),  # Summer time ends in this night.
        (datetime(2026, 3, 28, 20, tzinfo=BERLIN), "2026-03-29T06:00:00+02:00"),  # Summer time begins in this night.
    ],
)
def test_end_is_the_next_six_o_clock_of_the_wall(now: datetime, expected: str) -> None:
    assert create_rayjob.next_instant(time(6), now).isoformat() == expected


def test_wrong_token_and_unknown_authority_end_with_a_reason(
    server: tuple[dict[str, Any], Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    _, client = server
    address = client._base.removeprefix("https://").split("/")[0]
    host, port = address.split(":")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", host)
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", port)
    monkeypatch.setattr(create_rayjob, "SERVICE_ACCOUNT", tmp_path)
    monkeypatch.setattr("sys.argv", ["create_rayjob.py", str(KUBERAY / "rayjob.yaml"), "--name", "diagchd-nightly"])
    (tmp_path / "token").write_text("another")
    assert create_rayjob.main() == 1
    assert "refused: 403" in capsys.readouterr().err
    other = tmp_path / "other"
    other.mkdir()
    _self_signed(other)
    (tmp_path / "ca.crt").write_bytes((other / "ca.crt").read_bytes())
    assert create_rayjob.main() == 1
    assert "cannot be reached" in capsys.readouterr().err
