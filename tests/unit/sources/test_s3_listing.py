"""Listings of simulated buckets are complete, have each key once, run in parallel and need bounded memory."""

import bisect
import multiprocessing
import threading
import time
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diagchd_batch.errors import StorageFault
from diagchd_batch.sources.s3.listing import PAGES_WAITING, WORKERS, list_objects
from tests.support import process_memory


class SimulatedBucket:
    """A bucket with `n` keys, which `key_of` computes in ascending order, so that they need no memory.

    `fetch` follows Amazon's description of `list_objects_v2`: keys are in binary order, StartAfter is exclusive, keys
    and common prefixes count together against `page_size`, and the next page continues where the last one ended.
    """

    def __init__(self, n: int, key_of: Callable[[int], str], page_size: int = 1000, latency_s: float = 0) -> None:
        self.n, self.key_of, self.page_size, self.latency_s = n, key_of, page_size, latency_s
        self.requests = 0
        self.at_once = self.most_at_once = 0
        self._lock = threading.Lock()

    def _first_from(self, key: str) -> int:
        return bisect.bisect_left(range(self.n), key, key=self.key_of)

    def fetch(self, **request: str) -> dict[str, Any]:
        prefix, delimiter = request["Prefix"], request.get("Delimiter", "")
        with self._lock:
            self.requests += 1
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        time.sleep(self.latency_s)
        if "ContinuationToken" in request:
            index = int(request["ContinuationToken"])
        else:
            index = max(self._first_from(prefix), self._first_from(request.get("StartAfter", "") + "\0"))
        contents: list[dict[str, Any]] = []
        prefixes: list[dict[str, str]] = []
        while index < self.n and len(contents) + len(prefixes) < self.page_size:
            key = self.key_of(index)
            if not key.startswith(prefix):
                index = self.n
                break
            rest = key[len(prefix) :]
            if delimiter and delimiter in rest:
                common = prefix + rest.split(delimiter)[0] + delimiter
                prefixes.append({"Prefix": common})
                index = self._first_from(common[:-1] + chr(ord(delimiter) + 1))
            else:
                contents.append({"Key": key, "Size": index, "ETag": '"e"'})
                index += 1
        with self._lock:
            self.at_once -= 1
        more = index < self.n and self.key_of(index).startswith(prefix)
        return {
            "Contents": contents,
            "CommonPrefixes": prefixes,
            "IsTruncated": more,
            "NextContinuationToken": str(index),
        }


def bucket_of(keys: list[str], page_size: int = 1000) -> SimulatedBucket:
    ordered = sorted(keys)
    return SimulatedBucket(len(ordered), ordered.__getitem__, page_size)


def keys_below(bucket: SimulatedBucket, prefix: str = "") -> list[str]:
    return [info.key for page in list_objects(bucket.fetch, prefix) for info in page]


part = st.sampled_from(["a", "b", "c", "a.b", "a-b", "é", "心", "\U0001f600", " ", "0", "z" * 3])


@given(
    keys=st.sets(st.lists(part, min_size=1, max_size=5).map("/".join), max_size=120),
    markers=st.sets(st.lists(part, min_size=1, max_size=3).map(lambda parts: "/".join(parts) + "/"), max_size=5),
    page_size=st.integers(1, 7),
    prefix=st.sampled_from(["", "a/", "a/b/", "nothing/"]),
)
@settings(max_examples=150, deadline=None)
def test_every_object_once_whatever_the_tree(keys: set[str], markers: set[str], page_size: int, prefix: str) -> None:
    bucket = bucket_of([*keys, *markers], page_size)
    expected = sorted(key for key in keys if key.startswith(prefix))
    assert sorted(keys_below(bucket, prefix)) == expected


@pytest.mark.parametrize("n_studies", [9, 40, 3000])
def test_ranges_between_many_directories(n_studies: int) -> None:
    """There are files beside directories, directories with a common prefix, and more prefixes than a page holds."""
    keys = [f"site/s{study}{tail}" for study in range(n_studies) for tail in ("/1.png", "/2.png", ".txt", "-b/1.png")]
    bucket = bucket_of(keys, 100)
    listed = keys_below(bucket)
    assert len(listed) == len(keys)
    assert set(listed) == set(keys)


def archive(n: int) -> SimulatedBucket:
    """Return a bucket with n images, five per study, such as ``site-3/study-0123456/4.png``."""
    per_site = n // 4
    return SimulatedBucket(n, lambda i: f"site-{i // per_site}/study-{i // 5:07}/{i % 5}.png")


def peak_bytes(bucket: SimulatedBucket) -> int:
    tracemalloc.start()
    seen = sum(len(page) for page in list_objects(bucket.fetch, ""))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert seen == bucket.n
    return peak


def test_memory_does_not_grow_with_the_bucket() -> None:
    assert peak_bytes(archive(40_000)) < 1.5 * peak_bytes(archive(10_000)) + 2e6


def _memory_growth_bytes(n: int) -> int:
    """Return by how much the largest memory of this process grows while it lists `n` objects."""
    bucket = archive(n)
    process_memory.forget_peak()
    before = process_memory.peak_bytes()
    assert sum(len(page) for page in list_objects(bucket.fetch, "")) == n
    return process_memory.peak_bytes() - before


@pytest.mark.slow
def test_a_million_keys_in_bounded_memory() -> None:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        assert pool.submit(_memory_growth_bytes, 1_000_000).result() < 30e6


def test_requests_grow_with_pages_not_with_directories() -> None:
    bucket = archive(100_000)  # 20,000 directories
    keys_below(bucket)
    assert bucket.requests < 2 * bucket.n / bucket.page_size


def test_sub_prefixes_are_listed_at_the_same_time() -> None:
    bucket = archive(40_000)
    bucket.latency_s = 0.02
    keys_below(bucket)
    assert bucket.most_at_once >= WORKERS // 2


def test_a_slow_reader_holds_the_listing_back() -> None:
    bucket = archive(100_000)
    listing = list_objects(bucket.fetch, "")
    next(listing)
    seen = -1
    while seen != bucket.requests:  # Wait until no further request is made.
        seen = bucket.requests
        time.sleep(0.3)
    discovery = 4 + bucket.n // 5 // bucket.page_size  # These requests look for directories and return no objects.
    assert seen <= PAGES_WAITING + 2 * WORKERS + discovery, (
        "only the pages in the queue and at most two for each worker may have been requested"
    )
    for _ in listing:
        pass
    assert bucket.requests > 2 * seen, "most of the bucket must be listed after the pause"


def test_a_fault_reaches_the_reader_and_ends_the_threads() -> None:
    bucket = archive(20_000)
    before = threading.active_count()

    def fetch(**arguments: Any) -> dict[str, Any]:
        if bucket.requests > 10:
            raise StorageFault("gone")
        return bucket.fetch(**arguments)

    with pytest.raises(StorageFault, match="gone"):
        for _ in list_objects(fetch, ""):
            pass
    assert threading.active_count() == before
