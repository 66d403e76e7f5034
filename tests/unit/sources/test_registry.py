"""The registries of sources and stores: what a URI opens, and that another kind of source needs one registration."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from diagchd_batch.errors import ConfigError, ItemError
from diagchd_batch.failures import FailureCode
from diagchd_batch.sources import ObjectInfo, Source, SourceOptions, open_source
from diagchd_batch.sources.checks import check_readable
from diagchd_batch.sources.registry import SOURCES
from diagchd_batch.storage import Store, open_store
from diagchd_batch.storage.registry import STORES
from diagchd_batch.uris import check_key, check_prefix, join_uri, normalize_uri
from tests.unit.images.pictures import encoded


class ArchiveServer:
    """A source as a DICOMweb server would be one: read only, and without sizes, entity tags or times."""

    objects: dict[str, bytes] = {}

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


def test_a_source_of_another_scheme_is_one_module_and_one_registration(server_uri, monkeypatch):
    png = encoded(np.zeros((4, 5), np.uint8))
    monkeypatch.setattr(ArchiveServer, "objects", {"study-1/a.png": png, "study-2/b.png": png})
    source: Source = open_source(server_uri + "/", object_timeout_s=7)
    assert isinstance(source, ArchiveServer)
    assert (source.uri, source.options.object_timeout_s) == (server_uri, 7)
    check_readable(source)
    assert join_uri(server_uri, "study-1") == f"{server_uri}/study-1"


def test_it_is_not_a_store(server_uri):
    with pytest.raises(ConfigError, match=r"archive\+https:// is not supported here; .*file://, s3://"):
        open_store(server_uri)


def test_the_known_schemes_are_sources_and_stores(tmp_path):
    assert set(STORES) <= set(SOURCES)
    for uri in (str(tmp_path), "s3://bucket/prefix"):
        source: Source = open_source(uri)
        store: Store = open_store(uri)
        assert source.uri == store.uri == normalize_uri(uri)
        assert not hasattr(source, "create"), "a source cannot write"


@pytest.mark.parametrize("uri", ["gs://bucket", "s3a://bucket", "https://example.org/archive"])
def test_other_schemes_are_refused_with_those_that_are_known(uri):
    for open_uri in (open_source, open_store):
        with pytest.raises(ConfigError, match="write a path, or a URI with file://, s3://"):
            open_uri(uri)
