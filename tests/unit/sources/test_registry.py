"""The registries of sources and stores: what a URI opens, and that a new kind of source needs one registration."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from diagchd_batch.config.job_file import InputConfig
from diagchd_batch.errors import ConfigError, ItemError
from diagchd_batch.failure_codes import FailureCode
from diagchd_batch.images.limits import DecodeLimits
from diagchd_batch.scoring.decoding.byte_budget import ByteBudget
from diagchd_batch.scoring.decoding.file_reader import FileReader
from diagchd_batch.scoring.decoding.in_process import DecodeSettings, InProcessDecoder
from diagchd_batch.sources import ObjectInfo, Source, SourceOptions, open_source
from diagchd_batch.sources.checks import check_readable
from diagchd_batch.sources.registry import SOURCES
from diagchd_batch.sources.seekable_file import SeekableFile
from diagchd_batch.storage import Store, open_store
from diagchd_batch.storage.registry import STORES
from diagchd_batch.studies.identifiers import Pseudonymizer
from diagchd_batch.studies.inventory import open_inventory
from diagchd_batch.studies.plan.planned_images import PlannedImage
from diagchd_batch.uris import check_key, check_prefix, join_uri, normalize_uri
from tests.unit.images.pictures import encoded


class ArchiveServer:
    """A source like a DICOMweb server, which is read-only and has no sizes, entity tags or times."""

    objects: ClassVar[dict[str, bytes]] = {}

    def __init__(self, uri: str, options: SourceOptions) -> None:
        self.uri = uri
        self.options = options

    @property
    def place(self) -> str:
        return self.uri

    def probe(self) -> None:
        pass

    def list(self, prefix: str = "", progress: Callable[[int], None] | None = None) -> Iterator[ObjectInfo]:
        yield from (ObjectInfo(key) for key in self.objects if key.startswith(check_prefix(prefix)))

    def stat(self, key: str) -> ObjectInfo | None:
        return ObjectInfo(key) if check_key(key) in self.objects else None

    def read(self, key: str, max_bytes: int | None = None) -> bytes:
        return self.read_versioned(key, max_bytes)[0]

    def read_versioned(self, key: str, max_bytes: int | None = None) -> tuple[bytes, ObjectInfo]:
        if check_key(key) not in self.objects:
            raise ItemError(FailureCode.NOT_FOUND, key)
        return self.objects[key], ObjectInfo(key)

    def read_range(self, key: str, start: int, length: int) -> bytes:
        return self.read(key)[start : start + length]


@pytest.fixture
def server_uri(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setitem(SOURCES, "archive+https", f"{__name__}:ArchiveServer")
    return "archive+https://pacs.example.org:8042/studies"


def test_a_source_of_another_scheme_is_one_module_and_one_registration(
    server_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    png = encoded(np.zeros((4, 5), np.uint8))
    monkeypatch.setattr(ArchiveServer, "objects", {"study-1/a.png": png, "study-2/b.png": png})
    source: Source = open_source(server_uri + "/", object_timeout_s=7)
    assert isinstance(source, ArchiveServer)
    assert (source.uri, source.options.object_timeout_s) == (server_uri, 7)
    check_readable(source)
    assert join_uri(server_uri, "study-1") == f"{server_uri}/study-1"


def test_it_is_not_a_store(server_uri: str) -> None:
    with pytest.raises(ConfigError, match=r"archive\+https:// is not supported here; .*file://, s3://"):
        open_store(server_uri)


def test_the_known_schemes_are_sources_and_stores(tmp_path: Path) -> None:
    assert set(STORES) <= set(SOURCES)
    for uri in (str(tmp_path), "s3://bucket/prefix"):
        source: Source = open_source(uri)
        store: Store = open_store(uri)
        assert source.uri == store.uri == normalize_uri(uri)
        assert not hasattr(source, "create"), "a source cannot write"


@pytest.mark.parametrize("uri", ["gs://bucket", "s3a://bucket", "https://example.org/archive"])
def test_other_schemes_are_refused_with_those_that_are_known(uri: str) -> None:
    for open_uri in (open_source, open_store):
        with pytest.raises(ConfigError, match="write a path, or a URI with file://, s3://"):
            open_uri(uri)


def test_files_without_a_size_or_a_version_are_planned_and_read(
    server_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An archive whose server has no versions can be listed, planned and decoded."""
    images = {f"study-{n}/a.png": encoded(np.full((4, 5), n, np.uint8)) for n in (1, 2)}
    monkeypatch.setattr(ArchiveServer, "objects", images)
    source = open_source(server_uri)
    config = InputConfig(uri=server_uri, layout="tree")
    with open_inventory(
        config, source, Pseudonymizer(b"k" * 32), progress=None, max_memory_bytes=100_000_000
    ) as database:
        assert database.row("SELECT count(*), count(size_bytes), bool_or(is_missing) FROM images") == (2, 0, False)
    reader = FileReader(source, "all", 10_000)
    decoder = InProcessDecoder(DecodeSettings(DecodeLimits(), 4, 5, None), ByteBudget(10_000))
    unversioned = dict.fromkeys(
        ["frames", "size_bytes", "etag", "modified_ns", "mask_uri", "mask_size_bytes", "mask_etag", "mask_modified_ns"]
    )
    planned = PlannedImage(0, 0, "subject", "study", "image", "study-2/a.png", **unversioned)
    row = next(iter(reader.read(planned, decoder)))
    assert row.decoded is not None
    assert (row.decoded.image_hwc_u8 == 2).all()


def test_a_table_without_a_size_is_read_whole(server_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    table = b"study_id,label\na,1\n" * 100
    monkeypatch.setattr(ArchiveServer, "objects", {"table.csv": table})
    assert io.BufferedReader(SeekableFile(open_source(server_uri), "table.csv", None)).read() == table
