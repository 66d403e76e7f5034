"""PNG, BMP and JPEG of every kind equal a second decoder or values worked out by hand, or are refused."""

import itertools
import struct
from collections.abc import Sequence

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from diagchd_batch.errors import ItemError
from diagchd_batch.images.formats import open_image
from diagchd_batch.images.limits import DecodeLimits
from tests.unit.images.pictures import encoded, handmade_png, noise_hw_u8, noise_hwc_u8, png_chunk
from tests.unit.images.rasters.sound_rasters import CHANNELS, PNG_BITS

PALETTE = noise_hw_u8(256, 3, seed=3)
"""Red, green and blue of each entry."""

MASKS_565, MASKS_555 = (0xF800, 0x07E0, 0x001F), (0x7C00, 0x03E0, 0x001F)
MASKS_8888, MASKS_RGBX = (0xFF0000, 0xFF00, 0xFF), (0xFF000000, 0xFF0000, 0xFF00)


def refused(data: bytes) -> str:
    with pytest.raises(ItemError) as caught:
        open_image(data, DecodeLimits()).frame(0)
    return caught.value.code.value


def png(colour_type: int, bits: int, filter_type: int, transparent: bytes = b"") -> bytes:
    row_bytes = -(-13 * bits * CHANNELS[colour_type] // 8)
    rows = noise_hw_u8(9, row_bytes + 1, seed=bits + colour_type)
    rows[:, 0] = filter_type
    extra = png_chunk(b"PLTE", PALETTE[: 2**bits].tobytes()) if colour_type == 3 else b""
    return handmade_png(13, 9, bits, colour_type, rows.tobytes(), extra + transparent)


PNG_KINDS = [
    (colour_type, bits, kind) for colour_type, depths in PNG_BITS.items() for bits in depths for kind in range(5)
]


@pytest.mark.parametrize(("colour_type", "bits", "filter_type"), PNG_KINDS)
def test_png(colour_type: int, bits: int, filter_type: int) -> None:
    data = png(colour_type, bits, filter_type)
    second = imagecodecs.png_decode(data)
    second = second.reshape(9, 13, -1)
    colours = second[..., :1].repeat(3, 2) if second.shape[2] < 3 else second[..., :3]
    eight = (colours >> 8).astype(np.uint8) if bits == 16 else colours
    np.testing.assert_array_equal(open_image(data, DecodeLimits()).frame(0), eight)


@pytest.mark.parametrize(("colour_type", "transparent"), [(0, b"\0\7"), (2, b"\0\7\0\7\0\7"), (3, bytes(range(200)))])
def test_transparency_of_png_changes_no_pixel(colour_type: int, transparent: bytes) -> None:
    plain, marked = png(colour_type, 8, 0), png(colour_type, 8, 0, png_chunk(b"tRNS", transparent))
    first, second = (open_image(data, DecodeLimits()).frame(0) for data in (plain, marked))
    np.testing.assert_array_equal(first, second)


JPEG_KINDS = list(itertools.product(["L", "RGB"], [0, 1, 2], [False, True], [0, 3], [35, 95]))


@pytest.mark.parametrize(("mode", "subsampling", "progressive", "restart", "quality"), JPEG_KINDS)
@pytest.mark.parametrize("size", [(24, 40), (17, 23)])
def test_jpeg(
    mode: str, subsampling: int, progressive: bool, restart: int, quality: int, size: tuple[int, int]
) -> None:
    options = {"progressive": progressive, "quality": quality, "restart_marker_blocks": restart}
    if mode == "RGB":
        options["subsampling"] = subsampling
    data = encoded(Image.fromarray(noise_hwc_u8(*size)).convert(mode), "JPEG", **options)
    second = imagecodecs.jpeg8_decode(data)
    colours = second[..., np.newaxis].repeat(3, 2) if second.ndim == 2 else second
    np.testing.assert_array_equal(open_image(data, DecodeLimits()).frame(0), colours)


def bmp(
    bits: int,
    rows: Sequence[bytes],
    width: int,
    *,
    masks: Sequence[int] = (),
    compression: int = 0,
    header_bytes: int = 40,
    top_down: bool = False,
) -> bytes:
    """Return a BMP. The rows are given from the top."""
    stored = rows if top_down else rows[::-1]
    body = b"".join(stored) if compression in (1, 2) else b"".join(row + bytes(-len(row) % 4) for row in stored)
    n_colours = 2**bits if bits <= 8 else 0
    if header_bytes == 12:
        info = struct.pack("<IHHHH", 12, width, len(rows), 1, bits)
        table = b"".join(bytes(entry[::-1]) for entry in PALETTE[:n_colours])
    else:
        height = -len(rows) if top_down else len(rows)
        info = struct.pack(
            "<IiiHHIIiiII", header_bytes, width, height, 1, bits, compression, len(body), 0, 0, n_colours, 0
        )
        wide = struct.pack(f"<{len(masks)}I", *masks)
        info += wide + bytes(max(0, header_bytes - 40 - len(wide)))
        table = b"".join(bytes(entry[::-1]) + b"\0" for entry in PALETTE[:n_colours])
    offset = 14 + len(info) + len(table)
    return b"BM" + struct.pack("<IHHI", offset + len(body), 0, 0, offset) + info + table + body


@pytest.mark.parametrize(
    ("header_bytes", "top_down"),
    [(12, False), *itertools.product([40, 56, 108, 124], [False, True])],  # the oldest header knows no negative height
)
@pytest.mark.parametrize("bits", [1, 4, 8])
@pytest.mark.parametrize("width", [5, 8])
def test_bmp_with_a_palette(bits: int, width: int, top_down: bool, header_bytes: int) -> None:
    values = noise_hw_u8(4, width) & (2**bits - 1)
    shifts = np.arange(bits - 1, -1, -1)
    rows = [np.packbits(((row[:, np.newaxis] >> shifts) & 1).reshape(-1)).tobytes() for row in values]
    data = bmp(bits, rows, width, top_down=top_down, header_bytes=header_bytes)
    np.testing.assert_array_equal(open_image(data, DecodeLimits()).frame(0), PALETTE[values])


@pytest.mark.parametrize("header_bytes", [40, 108, 124])
@pytest.mark.parametrize(
    ("bits", "masks"),
    [
        (16, ()),
        (16, MASKS_555),
        (16, MASKS_565),
        (24, ()),
        (32, ()),
        (32, MASKS_8888),
        (32, MASKS_RGBX),
    ],
)
def test_bmp_of_colours(bits: int, masks: tuple[int, ...], header_bytes: int) -> None:
    stored = noise_hw_u8(4, 5 * bits // 8)
    rows = [row.tobytes() for row in stored]
    data = bmp(bits, rows, 5, masks=masks, compression=3 if masks else 0, header_bytes=header_bytes)
    if bits == 24:
        expected = stored.reshape(4, 5, 3)[..., ::-1]
    else:
        pixels = stored.view(f"<u{bits // 8}").astype(np.int64)
        chosen = masks or (MASKS_555 if bits == 16 else MASKS_8888)
        channels = [(pixels & mask) // (mask & -mask) * 255 // (mask // (mask & -mask)) for mask in chosen]
        expected = np.stack(channels, axis=2).astype(np.uint8)
    frame = open_image(data, DecodeLimits()).frame(0)
    np.testing.assert_array_equal(frame, expected)


def test_bmp_of_masks_that_no_program_writes() -> None:
    data = bmp(32, [bytes(20)] * 4, 5, masks=(0xFF0, 0xFF000, 0xFF00000), compression=3)
    assert refused(data) == "unsupported_format"


@pytest.mark.parametrize("bits", [4, 8])
def test_bmp_with_runs(bits: int) -> None:
    """Each row has a run, values as they are, and the mark of its end; the last row ends the picture."""
    values = np.array([[3, 3, 3, 3, 3, 1, 2, 7], [5, 5, 5, 5, 5, 4, 9, 6]], np.uint8)
    rows = []
    for row in values:
        run, single = int(row[0]), [int(value) for value in row[5:]]
        if bits == 8:
            rows.append(bytes([5, run, 0, 3, *single, 0, 0, 0]))
        else:
            rows.append(bytes([5, run << 4 | run, 0, 3, single[0] << 4 | single[1], single[2] << 4, 0, 0]))
    rows[0] = rows[0][:-1] + b"\1"  # the first row is stored last
    data = bmp(bits, rows, 8, compression=3 - bits // 4)
    np.testing.assert_array_equal(open_image(data, DecodeLimits()).frame(0), PALETTE[values])


@pytest.mark.parametrize(
    ("bits", "compression"), [(2, 0), (24, 4), (24, 5), (64, 0), (0, 4), (0, 5), (24, 11), (16, 9)]
)
def test_bmp_of_kinds_that_are_not_read(bits: int, compression: int) -> None:
    assert refused(bmp(bits, [bytes(40)] * 4, 5, compression=compression)) == "unsupported_format"
