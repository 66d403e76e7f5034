"""The contract of every storage, tested on a local directory and on a real S3 server."""

import hashlib
import multiprocessing
import os
import pickle
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.fs
import pyarrow.parquet as pq
import pytest

from diagchd_batch.errors import ItemError, StorageFault
from diagchd_batch.failure_codes import FailureCode
from diagchd_batch.sources import VersionedRanges
from diagchd_batch.sources.checks import check_readable
from diagchd_batch.storage import Store, open_store
from diagchd_batch.storage.checks import check_create_if_absent
from diagchd_batch.uris import join_uri
from tests.support.servers_and_hosts.radosgw import S3Server

KEYS = [
    "top.png",
    "a/b/c/deep.png",
    "a/b.png",
    "a-b/x.png",
    "a!/x.png",
    "space and ünïcode/心臓 +%&=#?.png",
    "empty.bin",
    ".hidden/file",
    ".tmp-not-ours",
]


@pytest.fixture(params=["local", pytest.param("s3", marks=pytest.mark.s3)])
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the root of an empty storage. Beside it are other files or objects that must never be seen."""
    if request.param == "local":
        (tmp_path / "output-2").mkdir()
        (tmp_path / "output-2" / "foreign").touch()
        (tmp_path / "output").mkdir()
        return str(tmp_path / "output")
    bucket_uri = request.getfixturevalue("s3_uri")
    server = request.getfixturevalue("s3_server")
    for key in ("foreign", "output-2/foreign", "output"):
        server.client.put_object(Bucket=bucket_uri.removeprefix("s3://"), Key=key, Body=b"")
    return f"{bucket_uri}/output"


@pytest.fixture
def storage(uri: str) -> Store:
    return open_store(uri, object_timeout_s=20)


def contents(key: str) -> bytes:
    return b"" if key == "empty.bin" else hashlib.sha256(key.encode()).digest() * 3


def fill(storage: Store) -> None:
    for key in KEYS:
        assert storage.create(key, contents(key))


def error_of(call: Callable[..., Any], *arguments: Any) -> FailureCode:
    with pytest.raises(ItemError) as caught:
        call(*arguments)
    return caught.value.code


def test_what_is_created_is_listed_and_read_back(storage: Store) -> None:
    fill(storage)
    counts: list[int] = []
    listed = {info.key: info for info in storage.list(progress=counts.append)}
    assert sorted(listed) == sorted(KEYS)
    assert counts[-1] == len(KEYS) and counts == sorted(counts)
    for key in KEYS:
        data, info = storage.read_versioned(key)
        assert data == storage.read(key) == contents(key)
        assert info == listed[key] == storage.stat(key)
        assert info.size_bytes == len(data)
        assert (info.etag is None) != (info.modified_ns is None)


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        ("a/", ["a/b.png", "a/b/c/deep.png"]),
        ("a", ["a/b.png", "a/b/c/deep.png"]),
        ("a/b/", ["a/b/c/deep.png"]),
        ("nothing/", []),
        ("a/b.png", []),
    ],
)
def test_a_prefix_is_a_directory(storage: Store, prefix: str, expected: list[str]) -> None:
    fill(storage)
    assert sorted(info.key for info in storage.list(prefix)) == expected


def test_an_empty_storage_lists_nothing(storage: Store) -> None:
    assert list(storage.list()) == []


def test_a_listing_may_be_left_half_read(storage: Store) -> None:
    for number in range(30):
        storage.create(f"{number % 12}/{number}", b"")
    before = threading.active_count()
    listing = storage.list()
    next(listing)
    listing.close()  # type: ignore[attr-defined]
    assert threading.active_count() <= before


def test_ranges(storage: Store) -> None:
    storage.create("object", bytes(range(200)))
    assert storage.read_range("object", 0, 5) == bytes(range(5))
    assert storage.read_range("object", 190, 100) == bytes(range(190, 200))
    assert storage.read_range("object", 200, 10) == b""
    assert storage.read_range("object", 5, 0) == b""
    storage.create("empty", b"")
    assert storage.read_range("empty", 0, 10) == b""


def test_ranges_tell_which_version_they_are_from(storage: Store) -> None:
    assert isinstance(storage, VersionedRanges)
    storage.create("object", bytes(range(200)))
    planned = storage.stat("object")
    assert storage.read_range_versioned("object", 190, 100) == (bytes(range(190, 200)), planned)
    assert storage.read_range_versioned("object", 0, 5) == (bytes(range(5)), planned)
    storage.delete("object")
    storage.create("object", bytes(100))
    data, found = storage.read_range_versioned("object", 0, 5)
    assert data == bytes(5) and found == storage.stat("object") != planned
    assert storage.read_range_versioned("object", 150, 5)[1] != planned, "the object is shorter than planned"
    assert error_of(storage.read_range_versioned, "missing", 0, 1) is FailureCode.NOT_FOUND


def test_too_large_objects_are_refused(storage: Store) -> None:
    storage.create("object", bytes(1000))
    assert error_of(storage.read, "object", 999) is FailureCode.TOO_LARGE
    assert len(storage.read("object", 1000)) == 1000


def test_missing_objects(storage: Store) -> None:
    fill(storage)
    assert error_of(storage.read, "missing") is FailureCode.NOT_FOUND
    assert error_of(storage.read, "top.png/below-a-file") is FailureCode.NOT_FOUND
    assert error_of(storage.read_range, "missing", 0, 1) is FailureCode.NOT_FOUND
    assert storage.stat("missing") is None
    assert storage.stat("a/b") is None, "a directory is no object"
    storage.delete("missing")


def test_create_never_overwrites(storage: Store, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"second")
    assert storage.create("key", b"first") is True
    assert storage.create("key", b"first") is False, "not even with the same bytes"
    assert storage.create("key", source) is False
    assert storage.read("key") == b"first"


def test_of_many_creators_one_wins(storage: Store) -> None:
    """24 threads and processes write at once. The object then has the whole content of one writer."""
    won: list[int] = []
    start = threading.Barrier(16)

    def create(number: int) -> None:
        start.wait()
        if storage.create("contested/key", bytes([number]) * 300_000):
            won.append(number)

    with multiprocessing.get_context("fork").Pool(8) as pool:
        from_processes = pool.map_async(_create_pickled, [(pickle.dumps(storage), 100 + n) for n in range(8)])
        threads = [threading.Thread(target=create, args=(number,)) for number in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        won += [number for number in from_processes.get(60) if number is not None]
    assert len(won) == 1
    assert storage.read("contested/key") == bytes([won[0]]) * 300_000
    assert [info.key for info in storage.list()] == ["contested/key"], "losers leave nothing behind"


def _create_pickled(job: tuple[bytes, int]) -> int | None:
    pickled, number = job
    created = pickle.loads(pickled).create("contested/key", bytes([number]) * 300_000)
    return number if created else None


def test_replace_is_atomic_for_readers(storage: Store) -> None:
    """A reader sees one version or another while a writer replaces the object, but never a mixture."""
    storage.replace("key", b"0" * 200_000)
    stopped = threading.Event()
    mixed: list[bytes] = []

    def read() -> None:
        while not stopped.is_set():
            data = storage.read("key")
            if len(set(data)) != 1 or len(data) != 200_000:
                mixed.append(data)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for number in range(20):
        storage.replace("key", b"%d" % (number % 10) * 200_000)
    stopped.set()
    for reader in readers:
        reader.join()
    assert mixed == []
    assert storage.read("key") == b"9" * 200_000


def test_a_file_is_written_from_its_path(storage: Store, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(os.urandom(3_000_000))
    assert storage.create("created", source)
    storage.replace("replaced", source)
    assert storage.read("created") == storage.read("replaced") == source.read_bytes()
    assert source.exists()


def test_versions_tell_changed_objects(storage: Store) -> None:
    storage.replace("key", b"one")
    _, before = storage.read_versioned("key")
    storage.replace("key", b"two")
    _, after = storage.read_versioned("key")
    assert before != after


def test_delete(storage: Store) -> None:
    storage.create("a/key", b"x")
    storage.delete("a/key")
    assert storage.stat("a/key") is None
    assert storage.create("a/key", b"y"), "the name is free again"


@pytest.mark.parametrize("key", ["", "/absolute", "../above", "a/../../above", "a/./b", "a/", "..", "nul\0"])
def test_keys_that_could_leave_the_root_are_refused(storage: Store, key: str) -> None:
    calls = (storage.read, storage.stat, storage.delete, lambda k: storage.create(k, b""))
    for call in (*calls, lambda k: storage.replace(k, b"")):
        with pytest.raises(ValueError, match="relative key"):
            call(key)


@pytest.mark.parametrize("n_bytes", [0, 3, 3 << 20])
def test_an_open_file_is_stored_whole_wherever_it_was_read_to(storage: Store, n_bytes: int) -> None:
    data = os.urandom(n_bytes)
    with tempfile.TemporaryFile() as file:
        file.write(data)  # not flushed
        assert storage.create("created", file)
        assert not storage.create("created", file)
        file.seek(1)
        storage.replace("replaced", file)
        assert storage.read("created") == storage.read("replaced") == data
        assert file.read() == b""  # The file is still open.


def test_a_pickle_holds_no_credentials_and_opens_the_same_storage(storage: Store, s3_server: S3Server) -> None:
    storage.create("key", b"x")
    pickled = pickle.dumps(storage)
    assert s3_server.environ["AWS_SECRET_ACCESS_KEY"].encode() not in pickled
    again = pickle.loads(pickled)
    assert (again.uri, again.read("key")) == (storage.uri, b"x")


def test_arrow_scans_what_was_committed(storage: Store, tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": [1, 2, 3]}), tmp_path / "t.parquet")
    storage.create("scores/run_id=r/part-0.parquet", tmp_path / "t.parquet")
    storage.create("scores/run_id=r/part-1.parquet", tmp_path / "t.parquet")
    file_system, root = storage.arrow()
    dataset = ds.dataset(f"{root}/scores", filesystem=file_system, partitioning="hive")
    assert dataset.to_table().to_pydict() == {"x": [1, 2, 3] * 2, "run_id": ["r"] * 6}
    found = file_system.get_file_info(pyarrow.fs.FileSelector(f"{root}/scores", recursive=True))
    assert sum(info.is_file for info in found) == 2


def test_join_uri_names_a_storage_below(uri: str, storage: Store) -> None:
    open_store(join_uri(uri, "private/")).create("key", b"x")
    assert storage.read("private/key") == b"x"


def test_preflight_passes_and_leaves_nothing(storage: Store) -> None:
    check_create_if_absent(storage, "scores")
    check_readable(storage)
    assert list(storage.list()) == []


def test_a_missing_root_is_a_fault_with_its_name(uri: str) -> None:
    missing = open_store("s3://no-such-bucket/x" if uri.startswith("s3") else f"{uri}/missing", object_timeout_s=2)
    for call in (lambda: check_readable(missing), lambda: missing.read("patient-name.png")):
        with pytest.raises(StorageFault) as caught:
            call()
        assert missing.uri in str(caught.value)
        assert "patient-name" not in str(caught.value)
