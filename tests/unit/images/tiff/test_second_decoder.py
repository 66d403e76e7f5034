"""JPEG and CCITT inside TIFF, compared with Pillow, which reads these kinds through libtiff."""

import io
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from diagchd_batch.errors import ItemError
from diagchd_batch.images.formats import open_image
from diagchd_batch.images.limits import DecodeLimits
from tests.unit.images.pictures import encoded, noise_hw_u8, noise_hwc_u8
from tests.unit.images.tiff.tiff_files import Kind, Page, page_of, tiff

SMOOTH = noise_hwc_u8(9, 11).repeat(8, 0).repeat(8, 1)

THINNED = [(1, 1), (2, 1), (2, 2)]


def read(data: bytes) -> np.ndarray:
    return open_image(data, DecodeLimits()).frame(0)


def pillow(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "CMYK", "YCbCr"])
@pytest.mark.parametrize("tags", [{}, {278: 16}, {278: 24}, {274: 6}, {317: 2}], ids=str)
def test_jpeg_of_pillow(mode: str, tags: dict[int, int]) -> None:
    data = encoded(Image.fromarray(SMOOTH).convert(mode), "TIFF", compression="jpeg", tiffinfo=tags)
    np.testing.assert_array_equal(read(data), pillow(data))


@pytest.mark.parametrize(
    ("photometric", "subsampling"),
    [("rgb", None), ("minisblack", None), ("miniswhite", None)] + [("ycbcr", thinned) for thinned in THINNED],
)
@pytest.mark.parametrize("options", [{"tile": (32, 48)}, {"rowsperstrip": 16}, {"rowsperstrip": 72}], ids=str)
def test_jpeg_of_tifffile(photometric: str, options: dict[str, Any], subsampling: tuple[int, int] | None) -> None:
    buffer = io.BytesIO()
    pixels = SMOOTH if photometric in ("rgb", "ycbcr") else SMOOTH[:, :, 0]
    tifffile.imwrite(buffer, pixels, photometric=photometric, compression="jpeg", subsampling=subsampling, **options)
    np.testing.assert_array_equal(read(buffer.getvalue()), pillow(buffer.getvalue()))


@pytest.mark.parametrize("compression", ["tiff_ccitt", "group3", "group4"])
@pytest.mark.parametrize("tags", [{}, {278: 8}, {262: 0}, {266: 2}, {292: 1}, {292: 4}, {292: 5}], ids=str)
def test_ccitt(compression: str, tags: dict[int, int]) -> None:
    bits = noise_hw_u8(40, 61).repeat(2, 1) > 127
    data = encoded(Image.fromarray(bits), "TIFF", compression=compression, tiffinfo=tags)
    np.testing.assert_array_equal(read(data), pillow(data))
    mask = open_image(data, DecodeLimits()).grey_values(0)
    np.testing.assert_array_equal(mask, np.where(bits == (tags.get(262) != 0), 255, 0))


def whole_jpeg(photometric: int, jpeg: bytes) -> bytes:
    kind = Kind(samples=3, photometric=photometric, compression=7)
    tags = page_of(np.zeros((*SMOOTH.shape[:2], 3), np.uint8), kind).tags
    return tiff([Page(tags, [jpeg])])


def test_jpeg_that_contradicts_its_page_is_refused() -> None:
    """Decoders disagree about RGB pages whose JPEG data say that they hold YCbCr."""
    jpeg = encoded(SMOOTH, "JPEG")
    np.testing.assert_array_equal(read(whole_jpeg(6, jpeg)), pillow(jpeg))
    with pytest.raises(ItemError) as caught:
        read(whole_jpeg(2, jpeg))
    assert caught.value.code == "unsupported_format"


def test_the_fill_order_does_not_concern_jpeg() -> None:
    jpeg = encoded(SMOOTH, "JPEG")
    kind = Kind(samples=3, photometric=6, compression=1, fill_order=2)
    tags = page_of(np.zeros((*SMOOTH.shape[:2], 3), np.uint8), kind).tags | {259: (3, [7])}
    np.testing.assert_array_equal(read(tiff([Page(tags, [jpeg])])), pillow(jpeg))


@pytest.mark.parametrize("kept", [0.3, 0.6, 0.95])
@pytest.mark.parametrize("compression", ["jpeg", "tiff_lzw", "tiff_adobe_deflate", "packbits", "zstd", "lzma", None])
def test_cut_off_data_are_damaged(compression: str | None, kept: float) -> None:
    """The strip keeps its place and its length, but its end is missing."""
    buffer = io.BytesIO(encoded(SMOOTH, "TIFF", compression=compression))
    with tifffile.TiffFile(buffer) as file:
        page = file.pages[0]
        size = page.databytecounts[0]
        place = page.tags[279].valueoffset
    data = bytearray(buffer.getvalue())
    width = 4 if page.tags[279].dtype == 4 else 2
    assert len(page.dataoffsets) == 1
    data[place : place + width] = int(size * kept).to_bytes(width, "little")
    with pytest.raises(ItemError) as caught:
        read(bytes(data))
    assert caught.value.code == "decode_error"
