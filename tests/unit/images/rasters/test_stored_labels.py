"""Label masks in PNG, BMP and JPEG of every kind have the values that were stored, or are refused."""

import itertools
from typing import Any

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from diagchd_batch.errors import ItemError
from diagchd_batch.images.limits import DecodeLimits
from diagchd_batch.images.masks import read_label_mask
from tests.unit.images.pictures import encoded, handmade_png, noise_hw_u8, noise_hwc_u8, png_chunk
from tests.unit.images.rasters.sound_rasters import CHANNELS, PNG_BITS
from tests.unit.images.rasters.test_second_decoder import MASKS_555, MASKS_565, MASKS_8888, MASKS_RGBX, PALETTE, bmp

HEIGHT, WIDTH = 5, 11
LIMITS = DecodeLimits()
ADAM7 = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
"""First row, first column, step of rows and step of columns of each pass of an interlaced PNG."""

GREY_PALETTE = np.repeat(np.random.default_rng(5).permutation(256).astype(np.uint8)[:, np.newaxis], 3, axis=1)


def labels_of(data: bytes, stored: np.ndarray) -> None:
    """Require that a mask has exactly the stored values, each of which gets a class."""
    label_map = {int(value): index % 3 for index, value in enumerate(np.unique(stored))}
    expected = np.vectorize(label_map.__getitem__)(stored)
    np.testing.assert_array_equal(read_label_mask(data, label_map, LIMITS), expected)
    with pytest.raises(ItemError) as caught:  # a value that is stored and has no class is never taken for another
        read_label_mask(data, {value: 0 for value in label_map if value != int(stored[0, 0])} or {300: 0}, LIMITS)
    assert caught.value.code == "mask_invalid_values"


def refused(data: bytes) -> None:
    with pytest.raises(ItemError) as caught:
        read_label_mask(data, {value: 0 for value in range(1 << 16)}, LIMITS)
    assert caught.value.code == "mask_invalid_values"


def packed(values: np.ndarray, bits: int) -> bytes:
    """Return a row of samples with the given number of bits each, the highest bit first."""
    shifts = np.arange(bits - 1, -1, -1)
    return np.packbits((values.reshape(-1, 1) >> shifts & 1).astype(np.uint8)).tobytes()


def png(samples_hwc: np.ndarray, colour_type: int, bits: int, extra: bytes, interlaced: bool) -> bytes:
    passes = ADAM7 if interlaced else [(0, 0, 1, 1)]
    parts = [samples_hwc[row::rows, column::columns] for row, column, rows, columns in passes]
    rows = b"".join(b"\0" + packed(row, bits) for part in parts if part.size for row in part)
    height, width, _ = samples_hwc.shape
    return handmade_png(width, height, bits, colour_type, rows, extra, interlaced=interlaced)


PNG_KINDS = [
    (colour_type, bits, transparent, interlaced)
    for colour_type, depths in PNG_BITS.items()
    for bits in depths
    for transparent in ([False, True] if colour_type in (0, 2, 3) else [False])
    for interlaced in (False, True)
]


@pytest.mark.parametrize(("colour_type", "bits", "transparent", "interlaced"), PNG_KINDS)
def test_png(colour_type: int, bits: int, transparent: bool, interlaced: bool) -> None:
    generator = np.random.default_rng(bits + colour_type)
    samples = generator.integers(0, 1 << bits, (HEIGHT, WIDTH, CHANNELS[colour_type]), np.uint16)
    samples[0, 0], samples[0, 1] = 0, (1 << bits) - 1
    extra = png_chunk(b"PLTE", GREY_PALETTE[: 1 << bits].tobytes()) if colour_type == 3 else b""
    if transparent:
        extra += png_chunk(b"tRNS", {0: b"\0\1", 2: bytes(6), 3: b"\0\x80"}[colour_type])
    if colour_type in (2, 6):
        refused(png(samples, colour_type, bits, extra, interlaced))
        samples[:, :, 1] = samples[:, :, 2] = samples[:, :, 0]
    stored = samples[:, :, 0]
    if colour_type == 3:
        stored = GREY_PALETTE[stored, 0]
        coloured = png_chunk(b"PLTE", PALETTE[: 1 << bits].tobytes())
        refused(png(samples, colour_type, bits, coloured, interlaced))
    elif bits == 1:
        stored = stored * 255
    labels_of(png(samples, colour_type, bits, extra, interlaced), stored)


@pytest.mark.parametrize("header_bytes", [12, 40, 56, 108, 124])
@pytest.mark.parametrize("top_down", [False, True])
@pytest.mark.parametrize("bits", [1, 4, 8])
def test_bmp_with_a_palette(bits: int, top_down: bool, header_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    if header_bytes == 12 and top_down:
        return  # this header has no negative height
    values = noise_hw_u8(HEIGHT, WIDTH, seed=bits) & (2**bits - 1)
    rows = [packed(row, bits) for row in values]
    options: Any = {"top_down": top_down, "header_bytes": header_bytes}
    refused(bmp(bits, rows, WIDTH, **options))
    monkeypatch.setattr("tests.unit.images.rasters.test_second_decoder.PALETTE", GREY_PALETTE)
    labels_of(bmp(bits, rows, WIDTH, **options), GREY_PALETTE[values, 0])


@pytest.mark.parametrize("header_bytes", [40, 108, 124])
@pytest.mark.parametrize(
    ("bits", "masks"),
    [(16, ()), (16, MASKS_555), (16, MASKS_565), (24, ()), (32, ()), (32, MASKS_8888), (32, MASKS_RGBX)],
)
def test_bmp_of_colours(bits: int, masks: tuple[int, ...], header_bytes: int) -> None:
    stored = noise_hw_u8(HEIGHT, WIDTH, seed=bits)
    if bits == 24:
        pixels = np.repeat(stored[:, :, np.newaxis], 3, axis=2)
    else:
        lowest = [mask & -mask for mask in masks or (MASKS_555 if bits == 16 else MASKS_8888)]
        grey = stored.astype(np.uint32) & (31 if bits == 16 else 255)
        pixels = sum(grey * np.uint32(bit) for bit in lowest).astype(f"<u{bits // 8}")
    options: Any = {"masks": masks, "compression": 3 if masks else 0, "header_bytes": header_bytes}
    data = bmp(bits, [row.tobytes() for row in pixels], WIDTH, **options)
    if bits == 16:
        refused(data)
    else:
        labels_of(data, stored)
    refused(bmp(bits, [row.tobytes() for row in noise_hw_u8(HEIGHT, WIDTH * bits // 8)], WIDTH, **options))


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize(
    ("progressive", "subsampling", "quality"), itertools.product([False, True], [0, 1, 2], [35, 95])
)
def test_jpeg(mode: str, progressive: bool, subsampling: int, quality: int) -> None:
    """The values of a grey JPEG are those that a second decoder finds; they are not rounded to the labels drawn."""
    options: Any = {"progressive": progressive, "quality": quality}
    if mode == "RGB":
        options["subsampling"] = subsampling
    grey = Image.fromarray(noise_hw_u8(17, 23) % 3 * 100).convert(mode)
    second = imagecodecs.jpeg8_decode(encoded(grey, "JPEG", **options))
    labels_of(encoded(grey, "JPEG", **options), second if second.ndim == 2 else second[:, :, 0])
    for colour in ("RGB", "CMYK"):
        refused(encoded(Image.fromarray(noise_hwc_u8(17, 23)).convert(colour), "JPEG", quality=quality))
