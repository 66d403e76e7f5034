"""The settings of the boto3 client, which can be checked without a server."""

import http.server
import multiprocessing
import threading
from pathlib import Path
from typing import Any

import pytest

from diagchd_batch.errors import ConfigError, StorageFault
from diagchd_batch.sources.registry import SourceOptions
from diagchd_batch.sources.s3.client import S3Clients
from diagchd_batch.sources.s3.prefix import S3Prefix
from diagchd_batch.storage import open_store


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIA")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")


def meta() -> Any:
    return S3Clients(timeout_s=300, max_connections=48).get().meta


def test_aws_region_goes_before_aws_default_region(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-west-2")
    assert meta().region_name == "us-west-2"
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    assert meta().region_name == "eu-central-1"
    assert meta().endpoint_url == "https://s3.eu-central-1.amazonaws.com"


def test_checksums_are_sent_to_amazon_and_unasked_to_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    assert meta().config.request_checksum_calculation == "when_supported"
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "https://s3.hospital.example")
    assert meta().config.request_checksum_calculation == "when_required"
    assert meta().config.response_checksum_validation == "when_required"
    assert meta().config.max_pool_connections == 48


def test_pyarrow_gets_the_region_where_boto3_found_none() -> None:
    assert S3Clients(timeout_s=300, max_connections=8).arrow_file_system().region == "us-east-1"


def test_only_an_expired_client_is_thrown_away() -> None:
    clients = S3Clients(timeout_s=300, max_connections=8)
    first = clients.get()
    assert clients.get() is first
    clients.renew(first)
    second = clients.get()
    assert second is not first
    clients.renew(first)  # Another thread still has the old client.
    assert clients.get() is second


_parents: S3Clients


def test_a_forked_child_makes_its_own_client_even_if_a_thread_was_just_making_one() -> None:
    global _parents
    _parents = S3Clients(timeout_s=300, max_connections=8)
    first = _parents.get()
    with _parents._lock, multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.apply_async(_own_client_id).get(20) != id(first)
    assert _parents.get() is first


def _own_client_id() -> int:
    return id(_parents.get())


CANARY = "zqxpasswordzqx"
ENDPOINTS = {
    f"http://user:{CANARY}@127.0.0.1:9000": "user or a password",
    f"http://{CANARY}@127.0.0.1:9000": "user or a password",
    f"http://user:{CANARY}/x@127.0.0.1:9000": "user or a password",
    f"http://127.0.0.1:9000/?key={CANARY}": "query",
    f"http://127.0.0.1:9000/#{CANARY}": "query",
    f"http://127.0.0.1:9000/{CANARY}": "path",
}


def refused(variable: str, endpoint: str, monkeypatch: pytest.MonkeyPatch, output: str = "s3://bucket/out") -> str:
    monkeypatch.setenv(variable, endpoint)
    with pytest.raises(ConfigError) as caught:
        open_store(output).stat("key")
    assert caught.value.exit_code == 2
    assert CANARY not in str(caught.value) and "AWS_ENDPOINT_URL_S3" in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("variable", ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"])
@pytest.mark.parametrize(("endpoint", "surplus"), ENDPOINTS.items())
def test_an_endpoint_is_a_scheme_a_host_and_a_port(
    variable: str, endpoint: str, surplus: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert surplus in refused(variable, endpoint, monkeypatch)


def test_the_endpoint_of_a_profile_is_checked_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "config").write_text(f"[default]\nendpoint_url = http://user:{CANARY}@127.0.0.1:9000\n")
    refused("AWS_CONFIG_FILE", str(tmp_path / "config"), monkeypatch)


@pytest.mark.parametrize("endpoint", [f"{CANARY}:9000", f"http://host:{CANARY}", f"http://[{CANARY}", CANARY])
def test_an_endpoint_that_is_no_url_is_not_shown(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
    with pytest.raises((StorageFault, ConfigError)) as caught:
        open_store("s3://bucket/out", object_timeout_s=0.1).stat("key")
    assert CANARY not in str(caught.value)


def test_messages_name_the_host_and_the_port(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "https://s3.hospital.example:9000/")
    assert S3Prefix("s3://bucket/out", SourceOptions()).place == "s3://bucket/out at s3.hospital.example:9000"


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "HTTPS_PROXY"])
def test_the_password_of_a_proxy_is_in_no_message(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, f"http://user:{CANARY}@127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"{variable.split('_')[0].lower()}://s3.hospital.example")
    with pytest.raises(StorageFault, match=r"s3\.hospital\.example") as caught:
        open_store("s3://bucket/out", object_timeout_s=0.1).stat("key")
    assert CANARY not in str(caught.value)


class HeadAnswer(http.server.BaseHTTPRequestHandler):
    def do_HEAD(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "3")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
@pytest.mark.parametrize("no_proxy", ["nonsense, , *.x", None])
def test_settings_of_proxies_do_not_disturb_an_endpoint_on_this_machine(
    host: str, no_proxy: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, no_proxy) if no_proxy else monkeypatch.delenv(name, raising=False)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), HeadAnswer) as server:
        threading.Thread(target=server.serve_forever).start()
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://{host}:{server.server_port}")
        client = S3Clients(timeout_s=30, max_connections=2).get()
        assert client.head_object(Bucket="bucket", Key="key")["ContentLength"] == 3
        server.shutdown()


@pytest.mark.parametrize("uri", [f"s3://key:{CANARY}@bucket/x", f"S3://bucket?{CANARY}", f"s3://{CANARY}@b/../x"])
def test_a_uri_of_a_bucket_holds_no_credentials(uri: str) -> None:
    with pytest.raises(ConfigError, match="AWS_ACCESS_KEY_ID") as caught:
        open_store(uri)
    assert CANARY not in str(caught.value)
