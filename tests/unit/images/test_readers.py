"""The registry of image readers: a new format needs one class and one entry, for images and masks alike."""

import io
import re
from pathlib import Path

import duckdb
import numpy as np
import pytest
from PIL import Image

import diagchd_batch
from diagchd_batch.errors import ItemError
from diagchd_batch.failure_codes import REMEDIES
from diagchd_batch.images.formats import FrameGeometry, FrameMetadata, open_image, registry
from diagchd_batch.images.limits import DecodeLimits
from diagchd_batch.images.masks import read_label_mask
from diagchd_batch.studies.layouts.names import is_image_sql
from tests.unit.images.pictures import encoded, noise_hwc_u8

LIMITS = DecodeLimits()


class WebpFile:
    """A reader of still or animated WebP files, as a contributor would add it."""

    concurrent_frames = False

    def __init__(self, data: bytes) -> None:
        self._file = Image.open(io.BytesIO(data))
        self.n_frames: int = self._file.n_frames  # type: ignore[attr-defined]

    def geometry(self, index: int) -> FrameGeometry:
        return FrameGeometry(self._file.height, self._file.width)

    def metadata(self, index: int) -> FrameMetadata:
        return FrameMetadata()

    def frame(self, index: int) -> np.ndarray:
        self._file.seek(index)
        return np.asarray(self._file.convert("RGB"))

    def grey_values(self, index: int) -> np.ndarray:
        return self.frame(index)[:, :, 0]


class WebpReader:
    formats: tuple[str, ...] = ("WebP",)
    suffixes: tuple[str, ...] = (".webp",)

    def recognizes(self, data: bytes) -> bool:
        return data[:4] == b"RIFF" and data[8:12] == b"WEBP"

    def open(self, data: bytes, limits: DecodeLimits) -> WebpFile:
        return WebpFile(data)


@pytest.fixture
def webp_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "READERS", (*registry.READERS, WebpReader()))


def test_a_file_is_opened_by_the_reader_that_recognises_it(webp_registered: None) -> None:
    first, second = noise_hwc_u8(12, 9, seed=1), noise_hwc_u8(12, 9, seed=2)
    clip = encoded(first, "WEBP", save_all=True, append_images=[Image.fromarray(second)], lossless=True)
    file = open_image(clip, LIMITS)
    assert (file.n_frames, file.geometry(1)) == (2, FrameGeometry(12, 9))
    np.testing.assert_array_equal(file.frame(1), second)
    np.testing.assert_array_equal(open_image(encoded(first), LIMITS).frame(0), first)


def test_its_files_can_be_masks(webp_registered: None) -> None:
    labels = np.array([[0, 1, 2], [2, 2, 0]], np.uint8)
    data = encoded(Image.fromarray(labels).convert("RGB"), "WEBP", lossless=True)
    np.testing.assert_array_equal(read_label_mask(data, None, LIMITS), labels)


def test_the_limits_hold_for_every_reader(webp_registered: None) -> None:
    data = encoded(noise_hwc_u8(40, 40), "WEBP", lossless=True)
    with pytest.raises(ItemError) as caught:
        open_image(data, DecodeLimits(max_file_bytes=100))
    assert caught.value.code == "too_large"


def test_the_message_about_other_content_names_every_format(webp_registered: None) -> None:
    with pytest.raises(ItemError, match="not that of a DICOM, PNG, JPEG, TIFF, BMP or WebP file"):
        open_image(b"study_id,uri\n", LIMITS)


def test_layouts_find_its_files_by_suffix(webp_registered: None) -> None:
    keys = ["a/1.webp", "a/2.WebP", "a/3.png", "a/webp", "a/4.webp.txt", "a/5.JPEG", "a/xpng"]
    found = duckdb.sql(f"SELECT key FROM (SELECT unnest($keys) AS key) WHERE {is_image_sql()}", params={"keys": keys})
    assert [key for (key,) in found.fetchall()] == ["a/1.webp", "a/2.WebP", "a/3.png", "a/5.JPEG"]


def test_formats_are_named_by_their_readers_only() -> None:
    package = Path(diagchd_batch.__file__).parent
    ends = [end[1:] for end in registry.image_suffixes() if end != ".png"]
    # Without its dot, `dicom` is also the name of a layout and of an export.
    suffix = re.compile("|".join(rf"[\"'|(]\.{'' if end == 'dicom' else '?'}{end}[\"'|)]" for end in ends))
    named = [path for path in package.rglob("*.py") if suffix.search(path.read_text(encoding="utf-8"))]
    assert all(path.is_relative_to(package / "images" / "formats") for path in named)
    assert not any(name in text for name in ("JPEG", "TIFF", "BMP") for text in REMEDIES.values())


def test_the_geometry_is_known_before_anything_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    file = open_image(encoded(noise_hwc_u8(7, 5)), LIMITS)
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("decoded"))
    geometry = file.geometry(0)
    assert (geometry.height, geometry.width, geometry.decoded_bytes) == (7, 5, 3 * 7 * 5)
