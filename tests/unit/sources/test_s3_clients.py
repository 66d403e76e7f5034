"""The settings of the boto3 client, which need no server to look at."""

import multiprocessing

import pytest

from diagchd_batch.sources.s3.client import S3Clients


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIA")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")


def meta():
    return S3Clients(timeout_s=300, max_connections=48).get().meta


def test_aws_region_goes_before_aws_default_region(monkeypatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-west-2")
    assert meta().region_name == "us-west-2"
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    assert meta().region_name == "eu-central-1"
    assert meta().endpoint_url == "https://s3.eu-central-1.amazonaws.com"


def test_checksums_are_sent_to_amazon_and_unasked_to_nobody_else(monkeypatch) -> None:
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
    clients.renew(first)  # another thread comes late with the old one
    assert clients.get() is second


def test_a_forked_child_makes_its_own_client_even_if_a_thread_was_just_making_one() -> None:
    global _parents
    _parents = S3Clients(timeout_s=300, max_connections=8)
    first = _parents.get()
    with _parents._lock, multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.apply_async(_own_client_id).get(20) != id(first)
    assert _parents.get() is first


def _own_client_id() -> int:
    return id(_parents.get())
