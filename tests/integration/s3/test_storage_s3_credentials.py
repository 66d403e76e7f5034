"""The S3 storage takes its endpoint and credentials from boto3's own settings, for boto3 and for pyarrow."""

import multiprocessing
from pathlib import Path

import pyarrow.fs
import pytest

from diagchd_batch.errors import StorageFault
from diagchd_batch.sources.checks import check_readable
from diagchd_batch.storage import Store, open_store
from tests.support.servers_and_hosts.fault_proxy import Fault, FaultProxy
from tests.support.servers_and_hosts.radosgw import S3Server

pytestmark = pytest.mark.s3


@pytest.fixture
def filled(s3_uri: str) -> Store:
    storage = open_store(s3_uri, object_timeout_s=30)
    storage.create("patient-name.png", b"x")
    return storage


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("AWS_SECRET_ACCESS_KEY", "wrong", "SignatureDoesNotMatch"),
        ("AWS_ACCESS_KEY_ID", "AKIAUNKNOWN000000001", "InvalidAccessKeyId"),
    ],
)
def test_refused_credentials_are_a_fault_with_a_remedy(
    filled: Store, monkeypatch: pytest.MonkeyPatch, name: str, value: str, code: str
) -> None:
    monkeypatch.setenv(name, value)
    storage = open_store(filled.uri, object_timeout_s=60)
    calls = (
        lambda: check_readable(storage),
        lambda: storage.read("patient-name.png"),
        lambda: storage.stat("patient-name.png"),
        lambda: storage.create("patient-name.png", b"x"),
        lambda: list(storage.list()),
    )
    for call in calls:  # Each fails at once, because waiting cannot make refused credentials valid.
        with pytest.raises(
            StorageFault, match=rf"refuses the credentials: check AWS_ACCESS_KEY_ID.*\[{code}\]"
        ) as caught:
            call()
        assert "patient-name" not in str(caught.value)
        assert value not in str(caught.value)


def test_no_credentials_at_all(filled: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    storage = open_store(filled.uri)
    for call in (lambda: storage.read("patient-name.png"), storage.arrow):
        with pytest.raises(StorageFault, match="none were found: set AWS_PROFILE"):
            call()


def test_an_unknown_profile(filled: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "no-such-profile")
    with pytest.raises(StorageFault, match="AWS_PROFILE"):
        open_store(filled.uri).read("patient-name.png")


def test_an_endpoint_that_is_no_url(filled: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "127.0.0.1:9000")
    with pytest.raises(StorageFault, match="https://"):
        open_store(filled.uri).read("patient-name.png")


def test_a_profile_gives_endpoint_and_credentials_to_boto3_and_pyarrow(
    filled: Store, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write_profile(tmp_path, s3_server, monkeypatch)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL_S3", "AWS_REGION"):
        monkeypatch.delenv(name)
    storage = open_store(filled.uri)
    assert storage.read("patient-name.png") == b"x"
    file_system, root = storage.arrow()
    assert file_system.get_file_info(f"{root}/patient-name.png").size == 1
    assert file_system.region == "eu-test-7"


def test_the_s3_endpoint_goes_before_the_general_one(
    filled: Store, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    storage = open_store(filled.uri, object_timeout_s=30)
    assert storage.read("patient-name.png") == b"x"
    file_system, root = storage.arrow()
    assert file_system.get_file_info(f"{root}/patient-name.png").type is pyarrow.fs.FileType.File

    monkeypatch.delenv("AWS_ENDPOINT_URL_S3")
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server.endpoint_url)
    assert open_store(filled.uri, object_timeout_s=30).read("patient-name.png") == b"x"


def test_expired_credentials_are_looked_up_again(
    filled: Store, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The credentials come from a file that a login tool rewrites. The server answers old ones with ExpiredToken."""
    with FaultProxy(s3_server.endpoint_url) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.url)
        credentials_file = write_profile(tmp_path, s3_server, monkeypatch)
        fresh = credentials_file.read_text()
        credentials_file.write_text(fresh.replace("aws_access_key_id = A", "aws_access_key_id = OLD"))
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name)
        storage = open_store(filled.uri, object_timeout_s=30)
        with pytest.raises(StorageFault, match="InvalidAccessKeyId"):
            storage.read("patient-name.png")

        credentials_file.write_text(fresh)
        proxy.add(Fault(status=400, code="ExpiredToken", times=1))
        assert storage.read("patient-name.png") == b"x"

        proxy.add(Fault(status=400, code="ExpiredToken"))
        with pytest.raises(StorageFault, match="log in again"):
            storage.read("patient-name.png")


def test_a_forked_child_makes_its_own_connections(filled: Store) -> None:
    assert filled.read("patient-name.png") == b"x"
    with multiprocessing.get_context("fork").Pool(2, initializer=_inherit, initargs=(filled,)) as pool:
        assert pool.map_async(_read_inherited, range(20)).get(30) == [b"x"] * 20
    assert filled.read("patient-name.png") == b"x"


_inherited: Store


def _inherit(storage: Store) -> None:
    global _inherited
    _inherited = storage


def _read_inherited(_: int) -> bytes:
    return _inherited.read("patient-name.png")


def write_profile(tmp_path: Path, server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write configuration files with the profile ``archive`` and select it. Return the credentials file."""
    config, credentials = tmp_path / "config", tmp_path / "credentials"
    config.write_text(f"[profile archive]\nregion = eu-test-7\nendpoint_url = {server.endpoint_url}\n")
    credentials.write_text(
        f"[archive]\naws_access_key_id = {server.environ['AWS_ACCESS_KEY_ID']}\n"
        f"aws_secret_access_key = {server.environ['AWS_SECRET_ACCESS_KEY']}\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(credentials))
    monkeypatch.setenv("AWS_PROFILE", "archive")
    return credentials
