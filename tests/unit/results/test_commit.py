"""If several workers finish one shard, only one commits it. The sources of a shard are written before the commit."""

import errno
import hashlib
import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Never

import pyarrow.parquet as pq
import pytest

from diagchd_batch import output_layout
from diagchd_batch.errors import RunFault
from diagchd_batch.process import trusted_tmpdir
from diagchd_batch.process.scratch_files import scratch_faults
from diagchd_batch.results.columns import SOURCES
from diagchd_batch.results.commit import SCORES_DIGEST_KEY, commit_shard, file_sha256, record_sources
from diagchd_batch.results.datasets import committed_shards
from diagchd_batch.results.shard_writer import ShardWriter
from diagchd_batch.storage import open_store
from tests.unit.results.made_run import METADATA


def test_one_winner(tmp_path: Path) -> None:
    storage = open_store(str(tmp_path / "output"))
    contents = [bytes([attempt]) * 1000 for attempt in range(8)]
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda scores: commit_shard(storage, "r", 5, io.BytesIO(scores)), contents))
    assert sum(won) == 1
    assert storage.read(output_layout.shard_file("r", 5)) == contents[won.index(True)]
    assert committed_shards(storage, "r") == {5}
    assert commit_shard(storage, "r", 5, io.BytesIO(contents[won.index(True)])) is False


def test_sources_carry_the_digest_of_what_was_made_of_them(tmp_path: Path) -> None:
    private = open_store(str(tmp_path / "private"), owner_only=True)
    scores = io.BytesIO(b"0123456789" * 300_000)  # larger than one piece
    rows = [{"image_id": f"i-{k}", "uri": f"{k}.png", "sha256": "a" * 64} for k in range(300)]
    record_sources(private, "r", 5, "one", scores, iter(rows), {b"some": b"thing"})
    stored = pq.read_table(Path(private.uri) / output_layout.sources_file("r", 5, "one"))
    assert stored.schema.equals(SOURCES)
    assert stored.select(["image_id", "uri", "sha256"]).to_pylist() == rows
    digest = hashlib.sha256(scores.getvalue()).hexdigest()
    assert stored.schema.metadata == {b"some": b"thing", SCORES_DIGEST_KEY: digest.encode()}
    assert file_sha256(scores) == digest


def test_leftovers_are_not_shards(tmp_path: Path) -> None:
    storage = open_store(str(tmp_path))
    for name in ("shard-00001.parquet.tmp", ".shard-00002.parquet", "shard-3.parquet", "shard-00004.parquet"):
        storage.create(output_layout.scores_prefix("r") + name, b"")
    assert committed_shards(storage, "r") == {4}
    assert committed_shards(storage, "another") == set()


def test_a_full_temporary_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: Any, **named: Any) -> Never:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pq.ParquetWriter, "write_table", full)
    with (
        pytest.raises(RunFault, match=r"temporary directory .* No space left"),
        scratch_faults(),
        (tmp_path / "shard.parquet").open("w+b") as file,
        ShardWriter(file, METADATA) as writer,
    ):
        writer.write([{"image_id": "i"}])


def test_sources_never_lie_in_the_temporary_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sources can name patients, and a worker that is killed would leave them in the temporary directory."""
    monkeypatch.setenv("TMPDIR", str(tmp_path / "there is none"))
    monkeypatch.setattr(trusted_tmpdir, "SYSTEM_DIRECTORIES", ())
    private = open_store(str(tmp_path / "private"), owner_only=True)
    record_sources(private, "r", 5, "one", io.BytesIO(b"scores"), [{"image_id": "i", "uri": "u"}], {})
    assert private.read(output_layout.sources_file("r", 5, "one"))
