"""Small image files of every kind, made in memory."""

import io
import struct
import zlib

import numpy as np
from PIL import Image


def noise_hw_u8(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8)


def noise_hwc_u8(height: int, width: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)


def encoded(picture: Image.Image | np.ndarray, file_format: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    picture = Image.fromarray(picture) if isinstance(picture, np.ndarray) else picture
    picture.save(buffer, file_format, **options)
    return buffer.getvalue()


def tiff_of(pages: list[np.ndarray], **options: object) -> bytes:
    first, *rest = [Image.fromarray(page) for page in pages]
    return encoded(first, "TIFF", save_all=True, append_images=rest, **options)


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def handmade_png(
    width: int, height: int, bits: int, colour_type: int, rows: bytes, extra: bytes = b"", *, interlaced: bool = False
) -> bytes:
    """Return a PNG that no encoder has changed. `rows` has its scan lines with their filter bytes."""
    header = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, interlaced)
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", header)
        + extra
        + png_chunk(b"IDAT", zlib.compress(rows))
        + png_chunk(b"IEND", b"")
    )
