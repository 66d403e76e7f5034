"""JSON records in a store: whatever damages a file, reading it names the file and what to do."""

from pathlib import Path
from typing import ClassVar

import pytest

from diagchd_batch.json_records import DamagedRecordError, JsonRecord
from diagchd_batch.storage import Store, open_store


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
