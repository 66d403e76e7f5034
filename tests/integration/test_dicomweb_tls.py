"""A PACS with TLS: its certificate is verified, with an authority of one's own, and a client's certificate is sent."""

import shutil
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pytest

from diagchd_batch.errors import DiagchdBatchError
from diagchd_batch.sources import open_source
from tests.support.servers_and_hosts.orthanc import Orthanc, skip_without_orthanc
from tests.support.servers_and_hosts.tls_front import TlsFront

PREFIX = "DIAGCHD_DICOMWEB_"


@dataclass(frozen=True)
class Authority:
    """A certificate authority that a hospital made for itself. Files are PEM."""

    directory: Path

    @property
    def certificate(self) -> Path:
        return self.directory / "ca.pem"

    @cached_property
    def server(self) -> Path:
        return self.issue("server", "IP:127.0.0.1")

    @cached_property
    def client(self) -> Path:
        return self.issue("client")

    def issue(self, name: str, subject_alternative: str = "") -> Path:
        """Return a file with a new certificate and its key."""
        base = self.directory / name
        _openssl("req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{base}.key", "-out", f"{base}.csr",
                 "-subj", f"/CN={name}")  # fmt: skip
        extensions = base.with_suffix(".ext")
        extensions.write_text(f"subjectAltName={subject_alternative}" if subject_alternative else "")
        _openssl("x509", "-req", "-in", f"{base}.csr", "-CA", str(self.certificate), "-CAkey",
                 str(self.directory / "ca.key"), "-CAcreateserial", "-days", "2", "-out", f"{base}.crt", "-extfile",
                 str(extensions))  # fmt: skip
        both = base.with_suffix(".pem")
        both.write_text(Path(f"{base}.crt").read_text() + Path(f"{base}.key").read_text())
        return both


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True, timeout=60)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    skip_without_orthanc()
    if shutil.which("openssl") is None:
        pytest.skip("no openssl, which makes the certificates")
    made = Authority(tmp_path_factory.mktemp("ca"))
    _openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", str(made.directory / "ca.key"), "-out",
             str(made.certificate), "-subj", "/CN=hospital", "-days", "2",
             "-addext", "keyUsage=critical,keyCertSign,cRLSign")  # fmt: skip
    return made


@pytest.fixture(params=[False, True], ids=["password", "client certificate"])
def uri(request: pytest.FixtureRequest, pacs: Orthanc, authority: Authority) -> Iterator[str]:
    """Return the URI of a PACS that has TLS, and perhaps asks clients for their certificate."""
    certificate, trusted = authority.server, authority.certificate if request.param else None
    with TlsFront(pacs.http_port, certificate, trusted) as front:
        yield f"dicomweb+https://127.0.0.1:{front.port}/dicom-web"


@pytest.fixture(autouse=True)
def trusting(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set everything that a client of both servers needs."""
    monkeypatch.setenv(f"{PREFIX}CA_FILE", str(authority.certificate))
    monkeypatch.setenv(f"{PREFIX}CLIENT_CERT_FILE", str(authority.client))


def refusal(uri: str) -> str:
    with pytest.raises(DiagchdBatchError) as caught:
        open_source(uri, object_timeout_s=60).probe()
    return str(caught.value)


def test_an_authority_of_ones_own_is_trusted(uri: str) -> None:
    assert uri.startswith("dicomweb+https://")
    source = open_source(uri)
    source.probe()
    assert list(source.list()) == []


def test_a_variable_for_other_programs_does_not_replace_it(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(Path(ssl.__file__)))
    open_source(uri).probe()


def test_a_certificate_that_nobody_vouches_for_is_refused_at_once(
    uri: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv(f"{PREFIX}CA_FILE")
    assert "DIAGCHD_DICOMWEB_CA_FILE" in refusal(uri)
    monkeypatch.setenv(f"{PREFIX}CA_FILE", __file__)  # a file that holds no certificate
    assert "DIAGCHD_DICOMWEB_CA_FILE" in refusal(uri)
    other = tmp_path / "other.pem"
    _openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", str(tmp_path / "key"), "-out", str(other),
             "-subj", "/CN=other", "-days", "2")  # fmt: skip
    monkeypatch.setenv(f"{PREFIX}CA_FILE", str(other))
    assert "DIAGCHD_DICOMWEB_CA_FILE" in refusal(uri)


def test_a_certificate_for_another_host_is_refused(uri: str) -> None:
    assert "certificate" in refusal(uri.replace("127.0.0.1", "localhost"))


def test_a_client_without_a_certificate_is_told_to_send_one(
    pacs: Orthanc, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(f"{PREFIX}CLIENT_CERT_FILE")
    with TlsFront(pacs.http_port, authority.server, authority.certificate) as front:
        assert f"{PREFIX}CLIENT_CERT_FILE" in refusal(f"dicomweb+https://127.0.0.1:{front.port}/dicom-web")
