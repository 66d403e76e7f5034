"""PNG, BMP and JPEG of every kind: labels as stored, and the codes of sound files that are not read."""

import random
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from diagchd_batch.errors import ItemError
from diagchd_batch.images.formats import open_image
from diagchd_batch.images.limits import DecodeLimits
from tests.unit.images.pictures import encoded, handmade_png, noise_hwc_u8, png_chunk

_READABLE = bytes(32 + value % 64 for value in range(256))
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


@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt", b"iCCP", b"tEXt"])
@pytest.mark.parametrize("behind", [False, True])
def test_long_texts_and_profiles_do_not_concern_the_pixels(kind: bytes, behind: bool) -> None:
    text = random.Random(1).randbytes(3 << 20).translate(_READABLE)
    fields = {b"zTXt": b"\0", b"iTXt": b"\1\0\0\0", b"iCCP": b"\0", b"tEXt": b""}[kind]
    long = png_chunk(kind, b"name\0" + fields + (text if kind == b"tEXt" else zlib.compress(text, 1)))
    data = png_of([0, 7, 200, 255], 0, 8)
    place = 33 if not behind else len(data) - 12  # behind the header, or before the last chunk
    file = open_image(data[:place] + long + data[place:], DecodeLimits())
    assert file.frame(0)[0, :, 0].tolist() == file.grey_values(0)[0].tolist() == [0, 7, 200, 255]


def test_png_of_iphone_programs_is_refused_by_name() -> None:
    """These files begin with a chunk of their own. Blue comes first, and colours are multiplied by alpha."""
    rows = zlib.compressobj(wbits=-15)
    pixels = rows.compress(b"\0" + bytes(16)) + rows.flush()
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 1, 8, 6, 0, 0, 0))
    chunks = [png_chunk(b"CgBI", b"P\0 \6"), header, png_chunk(b"IDAT", pixels), png_chunk(b"IEND", b"")]
    with pytest.raises(ItemError, match="CgBI") as caught:
        open_image(b"\x89PNG\r\n\x1a\n" + b"".join(chunks), DecodeLimits())
    assert caught.value.code == "unsupported_format"
