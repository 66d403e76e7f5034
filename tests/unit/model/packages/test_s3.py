"""Model packages on S3 are fetched once per machine into a private cache, and their digest is checked."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from diagchd_batch.errors import ConfigError, RunFault, WeightsError
from diagchd_batch.model.packages import s3
from diagchd_batch.model.packages.registry import find_package, load_card
from diagchd_batch.model.spec import refuse_replaced_weights, resolve_model, weights_path
from diagchd_batch.sources.local.source import LocalSource
from tests.unit.model.packages.made_package import CHECKPOINT, make_package

URI = "s3://models/own"


class Bucket(LocalSource):
    """A stand-in for the S3 prefix: a directory that counts how often each object is read."""

    def __init__(self, directory: Path) -> None:
        super().__init__(str(directory))
        self.reads: list[str] = []

    def read(self, key: str, max_bytes: int | None = None) -> bytes:
        self.reads.append(key)
        return super().read(key, max_bytes)


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    bucket = Bucket(make_package(tmp_path / "bucket"))
    monkeypatch.setattr(s3, "open_source", lambda uri: bucket)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return bucket


def test_the_weights_are_fetched_once_and_kept_private(bucket: Bucket, tmp_path: Path) -> None:
    spec = resolve_model(f"{URI}/", "bundled", "float32")
    assert (spec.name, spec.package, spec.weights) == ("own-model", URI, "bundled")
    path = weights_path(spec)
    refuse_replaced_weights(spec)
    resolve_model(URI, "bundled", "float32")
    assert path.read_bytes() == (tmp_path / "bucket" / CHECKPOINT).read_bytes()
    assert path.is_relative_to(tmp_path / "cache")
    assert bucket.reads.count(CHECKPOINT) == 1
    for directory in (path.parent, path.parent.parent):
        assert directory.stat().st_mode & 0o777 == 0o700
    assert path.stat().st_mode & 0o777 == 0o600


def test_of_workers_that_start_at_once_one_fetches(bucket: Bucket) -> None:
    spec = resolve_model(URI, "seed:0", "float32")
    spec = type(spec)(**{name: getattr(spec, name) for name in spec.__slots__} | {"weights": "bundled"})
    barrier = threading.Barrier(4)

    def start(_: int) -> Path:
        barrier.wait(20)
        return weights_path(spec)

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(start, range(4)))) == 1
    assert bucket.reads.count(CHECKPOINT) == 1


def test_a_damaged_file_in_the_cache_is_fetched_again(bucket: Bucket) -> None:
    spec = resolve_model(URI, "bundled", "float32")
    weights_path(spec).write_bytes(b"cut short")
    refuse_replaced_weights(spec)
    assert bucket.reads.count(CHECKPOINT) == 2


@pytest.mark.parametrize("content", [b"other weights", b"larger" * 10_000_000])
def test_weights_that_are_not_those_of_the_card_are_refused_and_not_kept(
    bucket: Bucket, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "bucket" / CHECKPOINT).write_bytes(content)
    with pytest.raises(WeightsError, match=r"weights/fold-0\.h5 of model s3://models/own are not those of its card"):
        resolve_model(URI, "bundled", "float32")
    assert [path.name for path in (tmp_path / "cache").rglob("*") if path.is_file()] == ["lock"]


def test_weights_that_are_missing_are_named(bucket: Bucket, tmp_path: Path) -> None:
    (tmp_path / "bucket" / CHECKPOINT).unlink()
    with pytest.raises(WeightsError, match=r"fold-0\.h5 of model s3://models/own cannot be read \(not_found\)"):
        resolve_model(URI, "bundled", "float32")


def test_a_prefix_without_a_card_is_no_package(bucket: Bucket, tmp_path: Path) -> None:
    (tmp_path / "bucket" / "card.json").unlink()
    with pytest.raises(ConfigError, match=r"s3://models/own is no model package: its card\.json cannot be read"):
        load_card(URI)


def test_a_cache_that_others_may_write_to_is_refused(bucket: Bucket, tmp_path: Path) -> None:
    spec = resolve_model(URI, "bundled", "float32")
    weights_path(spec).parent.chmod(0o770)
    with pytest.raises(RunFault, match="other users may write to it"):
        weights_path(spec)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a directory to another user")
def test_a_cache_of_another_user_is_refused(bucket: Bucket, tmp_path: Path) -> None:
    directory = tmp_path / "cache" / "diagchd-batch"
    directory.mkdir(parents=True, mode=0o700)
    os.chown(directory, 12345, 12345)
    with pytest.raises(RunFault, match="belongs to another user"):
        resolve_model(URI, "bundled", "float32")


def test_a_cache_that_cannot_be_made_is_a_fault_that_says_what_to_do(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(RunFault, match="set XDG_CACHE_HOME to another directory"):
        resolve_model(URI, "bundled", "float32")


def test_nothing_is_contacted_before_the_card_is_read(bucket: Bucket) -> None:
    assert find_package(URI).location == URI
    assert bucket.reads == []
