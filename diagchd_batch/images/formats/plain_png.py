"""A faster decoder for the commonest PNG files: 8 bits of grey or of red, green and blue, not interlaced.

It takes a file only if all its chunks are known to say nothing about the pixels. Every other file, and every damaged
one, is left to Pillow, so that its failures have the same codes and messages.
"""

import struct
import zlib

import imagecodecs
import numpy as np

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEADER_END = 33
_CHANNELS = {0: 1, 2: 3}  # by colour type: grey, and red, green and blue
_HARMLESS = frozenset((b"pHYs", b"tIME", b"gAMA", b"cHRM", b"sRGB", b"bKGD", b"tEXt"))
_PROFILE = b"Raw profile"  # a text that can hold EXIF, whose orientation turns the picture
_STORED_BYTES = 0xFFFF  # the most that one block without compression holds


def plain_png_colours(data: bytes) -> np.ndarray | None:
    """Return the colours of a PNG file, or None if it is not one of the plain kind, or damaged.

    The pixels equal those of Pillow. The interpreter lock is free meanwhile.

    Args:
        data: The file.

    Returns:
        uint8 [height, width, 3], read-only. The three channels of a grey file share their memory.
    """
    if len(data) < _HEADER_END or data[:16] != _SIGNATURE + b"\0\0\0\rIHDR":
        return None
    if struct.pack(">I", zlib.crc32(data[12:29])) != data[29:_HEADER_END]:
        return None
    width, height, bits, colour_type, *rest = struct.unpack_from(">IIBBBBB", data, 16)
    channels = _CHANNELS.get(colour_type)
    compressed = _pixel_data(data)
    if bits != 8 or channels is None or any(rest) or compressed is None:
        return None
    n_bytes = height * (1 + width * channels)
    try:
        lines = imagecodecs.deflate_decode(compressed, out=n_bytes)
        if len(lines) != n_bytes:
            return None
        samples = imagecodecs.png_decode(_without_compression(data, lines, compressed[-4:]))
    except (ValueError, RuntimeError):
        return None
    return np.broadcast_to(samples.reshape(height, width, channels), (height, width, 3))


def _pixel_data(data: bytes) -> bytes | None:
    """Return the compressed pixels, or None if a chunk may change what the pixels mean, or is damaged."""
    parts: list[memoryview] = []
    view, place = memoryview(data), _HEADER_END
    while place + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, place)
        body = view[place + 8 : place + 8 + length]
        if kind == b"IDAT":
            parts.append(body)
        elif kind == b"IEND":
            return b"".join(parts) if parts else None
        elif parts or kind not in _HARMLESS or (kind == b"tEXt" and bytes(body[: len(_PROFILE)]) == _PROFILE):
            return None
        place += length + 12
    return None


def _without_compression(data: bytes, lines: bytes | bytearray, checksum: bytes | bytearray) -> bytes:
    """Return a PNG file with the same header, whose filtered lines are stored without compression.

    libpng undoes the filters of lines. Its zlib takes several times as long as libdeflate to decompress them.
    """
    blocks: list[bytes | memoryview] = [b"IDAT", b"\x78\x01"]
    for start in range(0, len(lines), _STORED_BYTES):
        block = memoryview(lines)[start : start + _STORED_BYTES]
        is_last = start + _STORED_BYTES >= len(lines)
        blocks += [struct.pack("<BHH", is_last, len(block), len(block) ^ 0xFFFF), block]
    chunk = b"".join([*blocks, checksum])
    end = struct.pack(">I4sI", 0, b"IEND", zlib.crc32(b"IEND"))
    return b"".join(
        (data[:_HEADER_END], struct.pack(">I", len(chunk) - 4), chunk, struct.pack(">I", zlib.crc32(chunk)), end)
    )
