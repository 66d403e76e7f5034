"""Small sound TIFF, PNG, BMP and JPEG files of every kind that is read, from which damaged ones are made."""

import itertools
from collections.abc import Iterator

import numpy as np
from PIL import Image

from tests.unit.images.pictures import encoded, handmade_png, noise_hw_u8, noise_hwc_u8, png_chunk
from tests.unit.images.tiff.combinations import read_kinds, samples_of
from tests.unit.images.tiff.tiff_files import page_of, tiff

CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
PNG_BITS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}


def sound_rasters() -> dict[str, list[bytes]]:
    """Return the name of each format → its files."""
    return {
        "TIFF": [tiff([page_of(samples_of(kind), kind)] * 2, kind.order, big=kind.big) for kind in read_kinds()],
        "PNG": [*_pngs()],
        "BMP": [*_bmps()],
        "JPEG": [*_jpegs()],
    }


def _pngs() -> Iterator[bytes]:
    height, width = 9, 13
    for colour_type, depths in PNG_BITS.items():
        for bits in depths:
            row_bytes = -(-width * bits * CHANNELS[colour_type] // 8)
            rows = noise_hw_u8(height, row_bytes + 1)
            rows[:, 0] = np.arange(height) % 5  # every filter
            chunks = b""
            if colour_type == 3:
                chunks = png_chunk(b"PLTE", noise_hw_u8(2**bits, 3).tobytes()) + png_chunk(b"tRNS", bytes(2))
            yield handmade_png(width, height, bits, colour_type, rows.tobytes(), chunks)
    exif = Image.Exif()
    exif[0x0112] = 6
    yield encoded(noise_hwc_u8(height, width), exif=exif, dpi=(72, 72))


def _bmps() -> Iterator[bytes]:
    for mode in ("1", "L", "P", "RGB", "RGBA"):
        yield encoded(Image.fromarray(noise_hwc_u8(9, 13)).convert(mode), "BMP")


def _jpegs() -> Iterator[bytes]:
    colour = Image.fromarray(noise_hwc_u8(24, 40))
    for mode, progressive, subsampling in itertools.product(("L", "RGB", "CMYK"), (False, True), (0, 1, 2)):
        if mode == "RGB" or subsampling == 0:
            options = {"progressive": progressive, "subsampling": subsampling, "restart_marker_blocks": 2 * progressive}
            yield encoded(colour.convert(mode), "JPEG", **options)
