"""PNG, BMP and JPEG of every kind: labels as stored, and the codes of sound files that are not read."""

import numpy as np
import pytest
from PIL import Image

from diagchd_batch.errors import ItemError
from diagchd_batch.images.formats import open_image
from diagchd_batch.images.limits import DecodeLimits
from tests.unit.images.pictures import encoded, handmade_png, noise_hwc_u8

CHANNELS = {0: 1, 2: 3, 4: 2, 6: 4}
PNG_KINDS = [(0, 1), (0, 2), (0, 4), (0, 8), (0, 16), (2, 8), (2, 16), (4, 8), (4, 16), (6, 8), (6, 16)]


def png_of(values: list[int], colour_type: int, bits: int) -> bytes:
    """Return a PNG of one row, in which colours are equal and alpha is a value of its own."""
    channels = CHANNELS[colour_type]
    samples = np.repeat(np.array(values)[:, np.newaxis], channels, axis=1)
    if channels in (2, 4):
        samples[:, -1] = 9
    shifts = np.arange(bits - 1, -1, -1)
    row = np.packbits((samples.reshape(-1, 1) >> shifts & 1).astype(np.uint8).reshape(-1)).tobytes()
    return handmade_png(len(values), 1, bits, colour_type, b"\0" + row)


@pytest.mark.parametrize(("colour_type", "bits"), PNG_KINDS)
def test_png_labels_are_those_stored(colour_type: int, bits: int) -> None:
    values = [0, 1, 0, 1] if bits == 1 else [0, 1, 2, 2**bits - 1, 2 ** (bits - 1)]
    file = open_image(png_of(values, colour_type, bits), DecodeLimits())
    expected = [255 * value for value in values] if bits == 1 else values
    assert file.grey_values(0)[0].tolist() == expected
    eight = [value * 255 // (2**bits - 1) if bits < 8 else value >> (bits - 8) for value in values]
    assert file.frame(0)[0, :, 0].tolist() == eight


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "P"])
def test_bmp_labels_are_those_stored(mode: str) -> None:
    grey = Image.fromarray(np.array([[0, 255, 255, 0]], np.uint8))
    file = open_image(encoded(grey.convert(mode), "BMP"), DecodeLimits())
    assert file.grey_values(0)[0].tolist() == [0, 255, 255, 0]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_labels_and_colours_of_16_bits_are_turned_alike(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    values = np.arange(12, dtype=np.uint16).reshape(3, 4) * 257
    file = open_image(encoded(values, exif=exif), DecodeLimits())
    np.testing.assert_array_equal(file.grey_values(0) >> 8, file.frame(0)[:, :, 0])


def test_cmyk_is_no_label_map() -> None:
    data = encoded(Image.new("CMYK", (8, 8), (0, 0, 0, 255)), "JPEG")
    with pytest.raises(ItemError) as caught:
        open_image(data, DecodeLimits()).grey_values(0)
    assert caught.value.code == "unsupported_format"


@pytest.mark.parametrize(
    ("marker", "bits", "height", "code"),
    [
        *((marker, 8, 16, "unsupported_format") for marker in (0xC3, 0xC5, 0xC6, 0xC7, 0xCB, 0xCD, 0xCE, 0xCF, 0xF7)),
        (0xC1, 12, 16, "unsupported_format"),
        (0xC0, 8, 0, "empty_image"),
    ],
)
def test_jpeg_of_kinds_that_are_not_read(marker: int, bits: int, height: int, code: str) -> None:
    data = bytearray(encoded(noise_hwc_u8(16, 16), "JPEG"))
    frame = data.index(b"\xff\xc0")
    data[frame + 1], data[frame + 4] = marker, bits
    data[frame + 5 : frame + 7] = height.to_bytes(2, "big")
    with pytest.raises(ItemError) as caught:
        open_image(bytes(data), DecodeLimits())
    assert caught.value.code == code
