"""The cache of decoded training images: what it holds, that it is reused and repaired, and what reading it costs."""

import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from diagchd_batch.config.job_file import DicomwebConfig, InputConfig, LimitsConfig, ShardsConfig
from diagchd_batch.errors import RunFault
from diagchd_batch.images.limits import DecodeLimits
from diagchd_batch.storage import open_store
from diagchd_batch.studies.identifiers import Pseudonymizer
from diagchd_batch.studies.plan.make_plan import freeze_plan
from diagchd_batch.studies.plan.stored_plan import Plan
from diagchd_batch.training.image_cache import CacheSettings, ImageCache, open_cache
from diagchd_batch.training.image_cache import decode_part as decode_part_module
from diagchd_batch.training.image_cache.cached_part import PartRecord
from diagchd_batch.training.image_cache.decode_part import CachePlaces, decode_part
from tests.unit.scoring.made_inputs import HEIGHT, WIDTH, png, tiff

SETTINGS = CacheSettings(HEIGHT, WIDTH, "all", "whole", None, DecodeLimits())
FILES = {
    "IMAGE/0/a.png": png(10),
    "IMAGE/0/b.tif": tiff([50, 100]),
    "IMAGE/1/c.png": png(200),
    "IMAGE/1/d.png": png(0)[:40],
    "IMAGE/1/e.png": png(90),
    "MASK/0/a.png": png(1, mode="L"),
    "MASK/1/c.png": png(7, mode="L"),
}


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    inputs, private = open_store(str(tmp_path / "input")), open_store(str(tmp_path / "private"))
    for key, data in FILES.items():
        inputs.replace(key, data)
    key = Pseudonymizer(b"k" * 32)
    config = InputConfig(uri=inputs.uri, layout="diagchd")
    return freeze_plan(config, ShardsConfig(images_per_shard=3), inputs, private, "run", key)


@pytest.fixture
def places(tmp_path: Path, plan: Plan) -> CachePlaces:
    uris = str(tmp_path / "input"), str(tmp_path / "private")
    return CachePlaces("run", *uris, SETTINGS, LimitsConfig(), DicomwebConfig(), frozenset(), threads=2)


def _built(places: CachePlaces, plan: Plan, directory: Path) -> ImageCache:
    parts = [decode_part(places, shard) for shard in plan.shards()]
    return open_cache(places.open_private(), places.settings, parts, directory / "fetched")


def test_the_cache_has_every_frame_that_can_be_decoded(places: CachePlaces, plan: Plan, tmp_path: Path) -> None:
    cache = _built(places, plan, tmp_path)
    assert len(cache) == 5
    rows = np.arange(5)[::-1]
    images, masks = cache.images(rows), cache.masks(rows)
    assert (images.shape, masks.shape) == ((5, HEIGHT, WIDTH, 3), (5, HEIGHT, WIDTH))
    greys = images[:, 3, 3, 0]
    assert sorted(greys) == [10, 50, 90, 100, 200]
    assert (masks == np.where(greys == 10, 1, 0)[:, None, None]).all()
    assert cache.has_mask[rows].tolist() == (greys == 10).tolist()
    assert sorted(map(len, cache.frames_of_images().values())) == [0, 1, 1, 1, 2]
    assert sorted(code for codes in cache.failed.values() for code in codes) == ["decode_error", "mask_invalid_values"]
    assert len(set(cache.picture_digests)) == 5


def test_rows_can_be_taken_in_the_order_of_a_cohort(places: CachePlaces, plan: Plan, tmp_path: Path) -> None:
    cache = _built(places, plan, tmp_path)
    rows = np.array([4, 0, 2])
    taken = cache.take(cache.image_ids[rows], cache.frames[rows])
    assert (taken.images(np.arange(3)) == cache.images(rows)).all()
    assert (taken.picture_digests == cache.picture_digests[rows]).all()
    with pytest.raises(RunFault, match="no frame 9 of image"):
        cache.take(cache.image_ids[:1], np.array([9]))


def test_a_part_is_reused_unless_the_grid_or_a_file_differs(
    places: CachePlaces, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = next(plan.shards())
    name = decode_part(places, first)
    monkeypatch.setattr(decode_part_module, "_write_part", lambda *_: None)
    assert decode_part(places, first) == name
    others = [
        replace(places, settings=replace(SETTINGS, height=32)),
        replace(places, settings=replace(SETTINGS, region="found")),
        replace(places, excluded_studies=frozenset({plan.read_shard(first)[0].study_id})),
    ]
    assert len({name, *(decode_part(one, first) for one in others)}) == 4


def test_studies_that_are_excluded_are_never_read(places: CachePlaces, plan: Plan, tmp_path: Path) -> None:
    excluded = {image.study_id for shard in plan.shards() for image in plan.read_shard(shard) if "/1/" in image.uri}
    cache = _built(replace(places, excluded_studies=frozenset(excluded)), plan, tmp_path)
    assert sorted(cache.images(np.arange(len(cache)))[:, 0, 0, 0]) == [10, 50, 100]
    assert cache.failed == {}


def test_after_a_crash_files_are_decoded_in_a_process_of_their_own(
    places: CachePlaces, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = next(plan.shards())
    isolated: list[bool] = []

    def crash(*arguments: object) -> None:
        isolated.append(bool(arguments[4]))
        raise KeyboardInterrupt

    monkeypatch.setattr(decode_part_module, "_write_part", crash)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            decode_part(places, first)
    assert isolated == [False, True]


def test_a_part_that_is_gone_or_cut_off_is_named(places: CachePlaces, plan: Plan, tmp_path: Path) -> None:
    cache = _built(places, plan, tmp_path)
    for path in (tmp_path / "private").glob("training_cache/*/images.u8"):
        path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(RunFault, match=r"images\.u8 of the cache of training images is gone or cut off"):
        cache.images(np.arange(5))
    with pytest.raises(RunFault, match="gone"):
        open_cache(places.open_private(), SETTINGS, ["0" * 32], tmp_path)


def test_the_memory_of_reading_does_not_depend_on_the_number_of_images(tmp_path: Path) -> None:
    """100,000 images of 2 x 2 pixels: only tables of a few bytes an image are in memory."""
    n = 100_000
    settings = replace(SETTINGS, height=2, width=2)
    paths = tmp_path / "images.u8", tmp_path / "masks.u8"
    np.repeat(np.arange(n, dtype=np.uint32).view(np.uint8).reshape(n, 4), 3, axis=1).tofile(paths[0])
    np.zeros((n, 4), np.uint8).tofile(paths[1])
    record = PartRecord(image_ids=["i"] * n, frames=[0] * n, has_mask=[False] * n, picture_digests=["d"] * n, failed={})
    cache = ImageCache(settings, [record], [paths])
    tracemalloc.start()
    for start in range(0, n, 1000):
        rows = np.arange(start, start + 16)
        assert cache.images(rows)[3].ravel()[0] == (start + 3) % 256
    assert tracemalloc.get_traced_memory()[1] < 100_000
    tracemalloc.stop()
