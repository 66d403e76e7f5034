"""The registry of image readers: another format is one class and one entry, whatever its files are used for."""

import io

import numpy as np
import pytest
from PIL import Image

from diagchd_batch.errors import ItemError
from diagchd_batch.images.formats import FrameGeometry, open_image, registry
from diagchd_batch.images.limits import DecodeLimits
from diagchd_batch.images.masks import read_label_mask
from tests.unit.images.pictures import encoded, noise_hwc_u8

LIMITS = DecodeLimits()


class WebpFile:
    """A still or animated WebP file, as somebody would add it."""

    def __init__(self, data: bytes) -> None:
        self._file = Image.open(io.BytesIO(data))
        self.n_frames: int = self._file.n_frames

    def geometry(self, index: int) -> FrameGeometry:
        return FrameGeometry(self._file.height, self._file.width)

    def frame(self, index: int) -> np.ndarray:
        self._file.seek(index)
        return np.asarray(self._file.convert("RGB"))

    def grey_values(self, index: int) -> np.ndarray:
        return self.frame(index)[:, :, 0]


class WebpReader:
    formats: tuple[str, ...] = ("WebP",)

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
    with pytest.raises(ItemError, match="not that of a PNG, JPEG, TIFF, BMP or WebP file"):
        open_image(b"study_id,uri\n", LIMITS)


def test_the_geometry_is_known_before_anything_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    file = open_image(encoded(noise_hwc_u8(7, 5)), LIMITS)
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("decoded"))
    geometry = file.geometry(0)
    assert (geometry.height, geometry.width, geometry.decoded_bytes) == (7, 5, 3 * 7 * 5)
