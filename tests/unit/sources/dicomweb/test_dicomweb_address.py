"""What the address of a PACS may say, and where its credentials come from."""

from pathlib import Path

import pytest
import requests

from diagchd_batch.config.job_file import DicomwebConfig, InputConfig, JobConfig
from diagchd_batch.config.uri_redaction import UriRedactor, job_places
from diagchd_batch.errors import ConfigError
from diagchd_batch.sources import open_source
from diagchd_batch.sources.dicomweb.credentials import read_credentials
from diagchd_batch.uris import normalize_uri, with_query_of, without_query

P = "DIAGCHD_DICOMWEB_"
HOST = "dicomweb+https://pacs.example.org/dicom-web"


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        (HOST + "/", HOST),
        ("DICOMweb+HTTPS://PACS.example.org/dicom-web", HOST),
        (HOST + "?StudyDate=20240101-&ModalitiesInStudy=US", HOST + "?ModalitiesInStudy=US&StudyDate=20240101-"),
        (HOST + "/?PatientName=A%5EB", HOST + "?PatientName=A%5EB"),
        ("dicomweb+http://localhost:8042", "dicomweb+http://localhost:8042"),
    ],
)
def test_one_form_of_an_address(uri: str, expected: str) -> None:
    assert normalize_uri(uri) == normalize_uri(expected) == expected


def test_the_filters_can_be_taken_off_and_put_on() -> None:
    uri = HOST + "?ModalitiesInStudy=US"
    assert without_query(uri) == HOST
    assert with_query_of(uri, "dicomweb+https://new/x") == "dicomweb+https://new/x?ModalitiesInStudy=US"
    assert without_query("s3://bucket/what?#") == "s3://bucket/what?#"
    assert with_query_of("/data/a?b", "/moved") == "/moved"


@pytest.mark.parametrize(
    "uri",
    [
        "dicomweb+https://",
        "dicomweb+https:///dicom-web",
        "dicomweb+https://user:canary@pacs.example.org/dicom-web",
        "dicomweb+https://pacs.example.org/a/../canary",
        HOST + "#canary",
        HOST + "?token=canary",
        HOST + "?limit=5",
        HOST + "?includefield=all",
        HOST + "?ffffffff=canary",
    ],
)
def test_what_an_address_must_not_hold_is_refused_without_being_shown(uri: str) -> None:
    with pytest.raises(ConfigError) as caught:
        open_source(uri)
    assert "canary" not in str(caught.value)


def test_an_unencrypted_connection_needs_permission() -> None:
    for uri in ("dicomweb+http://localhost:8042/x", "dicomweb+http://127.0.0.1/x", "dicomweb+http://[::1]:80/x"):
        open_source(uri)
    remote = "dicomweb+http://pacs.example.org/dicom-web"
    with pytest.raises(ConfigError, match=r"input\.dicomweb\.allow_plaintext: true"):
        open_source(remote)
    open_source(remote, dicomweb=DicomwebConfig(allow_plaintext=True))


def test_a_pacs_has_no_directories() -> None:
    with pytest.raises(ValueError, match="a PACS has none; write layout: dicom"):
        InputConfig(uri=HOST, layout="tree")


def test_messages_for_others_do_not_hold_the_address() -> None:
    uri = HOST + "?PatientID=canary"
    config = JobConfig.model_validate(
        {"input": {"uri": uri, "layout": "manifest", "manifest": "m.csv"}, "output": {"uri": "out"}}
    )
    redactor = UriRedactor(job_places(config))
    for text in (uri, HOST, HOST.removeprefix("dicomweb+") + "/studies/1.2.3", uri.removeprefix("dicomweb+")):
        hidden = redactor.hide(f"{text} denies access")
        assert hidden.startswith("input.uri")
        assert "pacs.example.org" not in hidden and "canary" not in hidden and "1.2.3" not in hidden


def header(environ: dict[str, str]) -> str | bytes | None:
    request = requests.Request("GET", "https://pacs.example.org/", auth=read_credentials(environ).auth).prepare()
    return request.headers.get("Authorization")


def test_credentials_come_from_the_environment(tmp_path: Path) -> None:
    secret, certificate = tmp_path / "secret", tmp_path / "client.pem"
    secret.write_text("pässword\n", encoding="utf-8")
    certificate.write_text("")
    assert header({}) is None
    assert header({f"{P}USER": "reader", f"{P}PASSWORD": "secret"}) == "Basic cmVhZGVyOnNlY3JldA=="
    assert header({f"{P}USER": "reader", f"{P}PASSWORD_FILE": str(secret)}) == "Basic cmVhZGVyOnDDpHNzd29yZA=="
    assert header({f"{P}TOKEN_FILE": str(secret)}) == "Bearer pässword"
    found = read_credentials({f"{P}CLIENT_CERT_FILE": str(certificate), f"{P}CA_FILE": str(secret)})
    assert found.client_certificate == (str(certificate), str(certificate))
    assert found.ca_file == str(secret)
    assert "pässword" not in repr(read_credentials({f"{P}TOKEN_FILE": str(secret)}))


@pytest.mark.parametrize(
    "environ",
    [
        {f"{P}USER": "reader"},
        {f"{P}PASSWORD": "canary"},
        {f"{P}USER": "reader", f"{P}PASSWORD": "canary", f"{P}TOKEN": "canary"},
        {f"{P}TOKEN": "canary", f"{P}TOKEN_FILE": __file__},
        {f"{P}TOKEN": "canary\ncanary"},
        {f"{P}TOKEN": ""},
        {f"{P}TOKEN_FILE": "/not/there"},
        {f"{P}CA_FILE": "/not/there"},
        {f"{P}CLIENT_KEY_FILE": __file__},
    ],
)
def test_contradictions_are_refused_without_showing_a_secret(environ: dict[str, str]) -> None:
    with pytest.raises(ConfigError) as caught:
        read_credentials(environ)
    assert P in str(caught.value)
    assert "canary" not in str(caught.value)
