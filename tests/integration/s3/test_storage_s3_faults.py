"""A real S3 server behind a proxy that throttles, truncates bodies, loses responses, refuses objects or disconnects."""

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from diagchd_batch.errors import ItemError, StorageFault
from diagchd_batch.failure_codes import FailureCode
from diagchd_batch.sources.checks import check_readable
from diagchd_batch.storage import Store, open_store
from diagchd_batch.storage.checks import check_create_if_absent
from tests.support.servers_and_hosts.fault_proxy import Fault, FaultProxy
from tests.support.servers_and_hosts.radosgw import S3Server

pytestmark = pytest.mark.s3

DATA = os.urandom(3_000_000)


@pytest.fixture
def direct(s3_uri: str) -> Store:
    """Return the storage without the proxy, for setting up and checking."""
    storage = open_store(s3_uri)
    storage.probe()  # This connects while the environment still names the server.
    return storage


@pytest.fixture
def proxy(direct: Store, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    environ = s3_server.environ
    credentials = (environ["AWS_ACCESS_KEY_ID"], environ["AWS_SECRET_ACCESS_KEY"])
    with FaultProxy(s3_server.endpoint_url, credentials) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.url)
        yield proxy


@pytest.fixture
def storage(direct: Store, proxy: FaultProxy) -> Store:
    """Return the storage under test, which reaches the server only through the proxy."""
    return open_store(direct.uri, object_timeout_s=10)


@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=503, code="SlowDown", times=4),
        Fault(status=500, times=4),
        Fault(status=429, code="TooManyRequests", times=4),
        Fault(drop_request=True, times=4),
        Fault(drop_response=True, times=4),
    ],
    ids=lambda fault: fault.code if fault.status else "cut",
)
def test_passing_trouble_is_outlasted(storage: Store, direct: Store, proxy: FaultProxy, fault: Fault) -> None:
    direct.create("a/key", DATA)
    proxy.add(fault)
    assert storage.read("a/key") == DATA
    assert [info.key for info in storage.list()] == ["a/key"]
    storage.replace("other", b"x")
    storage.delete("other")
    assert fault.hits > fault.times


def test_trouble_with_every_second_request(storage: Store, proxy: FaultProxy) -> None:
    proxy.add(Fault(probability=0.5, status=503, code="SlowDown"))
    proxy.add(Fault(probability=0.2, drop_response=True))
    keys = [f"{number % 3}/{number}" for number in range(12)]
    for key in keys:
        assert storage.create(key, key.encode() * 1000)
    assert sorted(info.key for info in storage.list()) == sorted(keys)
    assert all(storage.read(key) == key.encode() * 1000 for key in keys)


def test_a_cut_body_is_continued_not_read_again(storage: Store, direct: Store, proxy: FaultProxy) -> None:
    direct.create("key", DATA)
    proxy.add(Fault(method="GET", key_contains="key", cut_after=1_200_000, times=2))
    assert storage.read("key") == DATA
    assert len([request for request in proxy.requests if request[0] == "GET"]) == 3
    proxy.clear()
    proxy.add(Fault(method="GET", key_contains="key", cut_after=1000, times=1))
    assert storage.read_range("key", 1_000_000, 50_000) == DATA[1_000_000:1_050_000]


def test_a_body_that_is_always_cut_is_unreadable(direct: Store, proxy: FaultProxy) -> None:
    direct.create("key", DATA)
    proxy.add(Fault(method="GET", key_contains="/key", cut_after=0))
    with pytest.raises(ItemError) as caught:
        open_store(direct.uri, object_timeout_s=2).read("key")
    assert caught.value.code is FailureCode.UNREADABLE


def test_a_body_that_drips_ends_with_the_time_out(direct: Store, proxy: FaultProxy) -> None:
    """No single wait exceeds the time limit, but all waits together would take ten seconds."""
    direct.create("key", DATA)
    proxy.add(Fault(method="GET", key_contains="/key", drip_s=0.9))
    start = time.monotonic()
    with pytest.raises(ItemError) as caught:
        open_store(direct.uri, object_timeout_s=2.5).read("key")
    assert caught.value.code is FailureCode.UNREADABLE
    assert time.monotonic() - start < 9


def test_an_object_replaced_while_it_is_read_is_never_mixed(storage: Store, direct: Store, proxy: FaultProxy) -> None:
    direct.replace("key", DATA)
    changed = DATA[::-1]
    proxy.add(Fault(method="GET", key_contains="key", cut_after=1_200_000, times=1))
    rest = proxy.add(Fault(method="GET", key_contains="key", skip=1, hold=True))

    def replace_after_the_cut() -> None:
        while rest.hits < 2:
            time.sleep(0.01)
        direct.replace("key", changed)
        proxy.remove(rest)

    writer = threading.Thread(target=replace_after_the_cut)
    writer.start()
    data, info = storage.read_versioned("key")
    writer.join()
    assert data == changed
    assert info.etag == direct.stat("key").etag


def test_a_create_whose_answer_was_lost_is_ours(storage: Store, direct: Store, proxy: FaultProxy) -> None:
    """The server stored the object and answers the repeated request with 412. Equal bytes show that it is ours."""
    proxy.add(Fault(method="PUT", drop_response=True, times=1))
    assert storage.create("key", DATA) is True
    assert [method for method, _ in proxy.requests].count("PUT") == 2
    assert direct.read("key") == DATA


def test_a_create_that_lost_while_its_answer_was_lost_is_not_ours(
    storage: Store, direct: Store, proxy: FaultProxy, tmp_path: Path
) -> None:
    direct.create("key", DATA)
    (tmp_path / "ours").write_bytes(DATA[:-1] + bytes([DATA[-1] ^ 1]))
    proxy.add(Fault(method="PUT", drop_response=True, times=1))
    assert storage.create("key", tmp_path / "ours") is False
    assert direct.read("key") == DATA


def test_equal_bytes_of_another_writer_are_not_claimed_without_doubt(
    storage: Store, direct: Store, proxy: FaultProxy
) -> None:
    """A 412 to the first request means that another writer was first, even if the bytes are equal."""
    direct.create("key", DATA)
    assert storage.create("key", DATA) is False


def test_a_conflict_is_tried_again(storage: Store, proxy: FaultProxy) -> None:
    proxy.add(Fault(method="PUT", status=409, code="ConditionalRequestConflict", times=2))
    assert storage.create("key", b"x") is True


def test_one_object_refused_is_told_from_all_refused(storage: Store, direct: Store, proxy: FaultProxy) -> None:
    direct.create("good", b"x")
    direct.create("secret", b"x")
    one = proxy.add(Fault(method="GET", key_contains="/secret", status=403, code="AccessDenied"))
    with pytest.raises(ItemError) as caught:
        storage.read("secret")
    assert caught.value.code is FailureCode.ACCESS_DENIED
    assert storage.read("good") == b"x"

    one.key_contains = ""  # Now every request is refused.
    with pytest.raises(StorageFault, match="denies access") as fault:
        storage.read("secret")
    assert "secret" not in str(fault.value)


def test_credentials_that_may_read_but_not_list(storage: Store, direct: Store, proxy: FaultProxy) -> None:
    direct.create("good", b"x")
    proxy.add(Fault(method="GET", key_contains="list-type=2", status=403, code="AccessDenied"))
    proxy.add(Fault(method="GET", key_contains="/secret", status=403, code="AccessDenied"))
    assert storage.read("good") == b"x"
    with pytest.raises(ItemError) as caught:
        storage.read("secret")
    assert caught.value.code is FailureCode.ACCESS_DENIED


def test_an_archived_object(storage: Store, direct: Store, proxy: FaultProxy) -> None:
    direct.create("old", b"x")
    proxy.add(Fault(method="GET", key_contains="/old", status=403, code="InvalidObjectState"))
    with pytest.raises(ItemError) as caught:
        storage.read("old")
    assert caught.value.code is FailureCode.ARCHIVED


def test_an_object_over_the_limit_is_refused_before_its_body(storage: Store, direct: Store, proxy: FaultProxy) -> None:
    direct.create("key", DATA)
    proxy.add(Fault(method="GET", key_contains="/key", cut_after=0))  # Reading the body would cause a second request.
    with pytest.raises(ItemError) as caught:
        storage.read("key", max_bytes=1000)
    assert caught.value.code is FailureCode.TOO_LARGE
    assert len(proxy.requests) == 1


def test_an_endpoint_that_goes_away_is_a_fault_and_may_come_back(direct: Store, proxy: FaultProxy) -> None:
    direct.create("patient-name.png", b"x")
    storage = open_store(direct.uri, object_timeout_s=2)
    assert storage.read("patient-name.png") == b"x"
    proxy.refuse_connections()
    calls = (
        lambda: storage.read("patient-name.png"),
        lambda: storage.create("patient-name.png", b"x"),
        lambda: list(storage.list()),
    )
    for call in calls:
        with pytest.raises(StorageFault, match="endpoint") as caught:
            call()
        assert f" at {proxy.url.removeprefix('http://')} " in str(caught.value)
        assert "patient-name" not in str(caught.value)
        assert caught.value.__cause__ is None and caught.value.__suppress_context__, "botocore's errors quote the key"
    proxy.accept_connections()
    assert storage.read("patient-name.png") == b"x"


def test_an_endpoint_away_for_a_moment_is_not_noticed(storage: Store, direct: Store, proxy: FaultProxy) -> None:
    direct.create("key", b"x")
    proxy.refuse_connections()
    threading.Timer(1.0, proxy.accept_connections).start()
    assert storage.read("key") == b"x"


def test_throttling_for_ever_is_a_fault_of_the_run_not_of_the_file(direct: Store, proxy: FaultProxy) -> None:
    direct.create("key", b"x")
    proxy.add(Fault(status=503, code="SlowDown"))
    with pytest.raises(StorageFault, match="SlowDown"):
        open_store(direct.uri, object_timeout_s=1).read("key")


def test_a_server_without_space(storage: Store, proxy: FaultProxy) -> None:
    proxy.add(Fault(method="PUT", status=507, code="XMinioStorageFull"))
    with pytest.raises(StorageFault, match="no space"):
        storage.create("key", b"x")


def test_a_server_that_ignores_the_condition_is_refused(storage: Store, direct: Store, proxy: FaultProxy) -> None:
    proxy.add(Fault(method="PUT", ignore_if_none_match=True))
    with pytest.raises(StorageFault, match="If-None-Match") as caught:
        check_create_if_absent(storage, "scores")
    assert f" at {proxy.url.removeprefix('http://')} " in str(caught.value)
    assert list(direct.list()) == []


def test_a_server_that_does_not_know_the_condition_is_refused(storage: Store, proxy: FaultProxy) -> None:
    proxy.add(Fault(method="PUT", status=501, code="NotImplemented"))
    with pytest.raises(StorageFault, match="conditional writes"):
        check_create_if_absent(storage, "scores")


def test_a_bucket_that_may_be_listed_but_not_read(storage: Store, direct: Store, proxy: FaultProxy) -> None:
    for number in range(3):
        direct.create(f"folder/{number}", b"x")
    proxy.add(Fault(method="GET", key_contains="/folder/", status=403, code="AccessDenied"))
    with pytest.raises(StorageFault, match="can be listed but not read"):
        check_readable(storage)
