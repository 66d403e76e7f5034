"""Reading a damaged JSON record in a store always names the file and says what to do."""

import json
from pathlib import Path
from typing import Any, ClassVar

import pytest

from diagchd_batch.json_records import DamagedRecordError, JsonRecord
from diagchd_batch.results.run_record import PrivateRunRecord, RunRecord
from diagchd_batch.scoring.driver.run_identity.identity import Identity
from diagchd_batch.scoring.liveness.heartbeats import DriverBeat, WorkerBeat
from diagchd_batch.scoring.liveness.shard_attempts import Attempt, ClosedAttempt
from diagchd_batch.storage import Store, open_store
from diagchd_batch.studies.identifier_key import KeyCheck
from diagchd_batch.studies.plan.stored_plan import PlanHead

KEPT = Path(__file__).parents[1] / "data" / "output_f4f89d0" / "output"


class Example(JsonRecord):
    remedy: ClassVar[str] = "make it again"
    name: str
    n_images: int


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path))


def test_a_record_is_written_read_and_replaced(store: Store) -> None:
    assert Example.read(store, "a/example.json") is None
    Example(name="first", n_images=1).write(store, "a/example.json")
    Example(name="second", n_images=2).write(store, "a/example.json")
    assert Example.read(store, "a/example.json") == Example(name="second", n_images=2)
    assert store.read("a/example.json").endswith(b"}\n")


def test_a_record_is_created_once(store: Store) -> None:
    assert Example(name="winner", n_images=1).create(store, "example.json")
    assert not Example(name="late", n_images=2).create(store, "example.json")
    assert Example.read(store, "example.json").name == "winner"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"\xff\xfe\x00",
        b"\x00" * 40,
        b'{"name": "x"}',
        b'{"name": "x", "n_images": "many"}',
        b'{"name": "x", "n_images": 1, "of_a_later_version": 2}',
    ],
)
def test_a_damaged_file_is_named_with_its_remedy(store: Store, content: bytes) -> None:
    store.replace("runs/example.json", content)
    with pytest.raises(DamagedRecordError, match=r"runs/example\.json is damaged .*; make it again$"):
        Example.read(store, "runs/example.json")


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 100_000,
        b'{"name": ' + b"[" * 100_000,
        b'{"name": "x", "n_images": ' + b"9" * 100_000 + b"}",
        b'{"' + b"k" * 100_000 + b'": 1}',
        b'{"name": "' + b"x" * 100_000 + b'", "n_images": "many"}',
        b'{"name": "x", "n_images": 1e999}',
        b'{"name": "\\ud800", "n_images": 1}',
    ],
    ids=["brackets", "brackets in a field", "a number", "a key", "a value", "infinity", "half a character"],
)
def test_a_hostile_file_ends_in_a_short_message(store: Store, content: bytes) -> None:
    store.replace("example.json", content)
    with pytest.raises(DamagedRecordError, match=r"^example\.json is damaged") as caught:
        Example.read(store, "example.json")
    assert len(str(caught.value)) < 600


def test_a_file_that_is_too_large_for_a_record_is_not_read(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diagchd_batch.json_records.MAX_RECORD_BYTES", 100)
    store.replace("example.json", b"x" * 101)
    with pytest.raises(DamagedRecordError, match="it has 101 bytes, more than 100"):
        Example.read(store, "example.json")


@pytest.mark.parametrize("value", [b"1e999", b"NaN", b"-Infinity"])
def test_fields_without_a_fingerprint_are_a_damaged_record(store: Store, value: Any) -> None:
    key = "runs/run_id=first/run.json"
    sound = (KEPT / key).read_bytes()
    store.replace(key, sound.replace(b'"height": 128', b'"height": ' + value, 1))
    with pytest.raises(DamagedRecordError, match="fingerprint_fields"):
        RunRecord.read(store, key)


@pytest.mark.parametrize(
    ("kind", "pattern"),
    [
        (RunRecord, "runs/run_id=*/run.json"),
        (PrivateRunRecord, "private/runs/run_id=*/run.json"),
        (Identity, "private/runs/run_id=*/identity.json"),
        (PlanHead, "private/runs/run_id=*/plan.json"),
        (Attempt, "private/runs/run_id=*/attempts/*/*.open.json"),
        (ClosedAttempt, "private/runs/run_id=*/attempts/*/*.closed.json"),
        (DriverBeat, "private/runs/run_id=*/heartbeats/driver-*.json"),
        (WorkerBeat, "private/runs/run_id=*/heartbeats/worker-*.json"),
        (KeyCheck, "private/id_key_check.json"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_records_of_an_earlier_version_are_read_without_loss(kind: Any, pattern: str) -> None:
    keys = [str(path.relative_to(KEPT)) for path in KEPT.glob(pattern)]
    assert keys
    for key in keys:
        record = kind.read(open_store(str(KEPT)), key)
        kept = json.loads((KEPT / key).read_bytes())
        assert _missing_or_changed(kept, json.loads(record.to_json())) == [], key


def _missing_or_changed(kept: Any, read: Any) -> list[str]:
    """Return the keys at all depths of `kept` that are absent or have another value in `read`, which may have more."""
    if not isinstance(kept, dict) or not isinstance(read, dict):
        return [] if kept == read else [repr(kept)]
    lost = [name for name in kept if name not in read]
    changed = [
        f"{name}: {at}" for name in kept.keys() & read.keys() for at in _missing_or_changed(kept[name], read[name])
    ]
    return lost + changed
