"""What the first bytes of a compressed frame say: its size, and evidence of how its colours are stored."""

import struct
from dataclasses import dataclass

from diagchd_batch.errors import ItemError
from diagchd_batch.failure_codes import FailureCode

_JPEGLS_FRAME = 0xF7
_LOSSLESS_FRAMES = frozenset({0xC3, 0xC7, 0xCB, 0xCF, _JPEGLS_FRAME})
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC} | {_JPEGLS_FRAME}
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD8)})
_SCAN, _END, _APP0, _APP14 = 0xDA, 0xD9, 0xE0, 0xEE
_TRAILING_BYTES = 64  # room for padding behind the end of a JPEG

_JP2_BOX = b"\x00\x00\x00\x0cjP  "
_JPEG2000 = b"\xff\x4f\xff\x51"
_CODING_STYLE = b"\xff\x52"
_MAX_MARKER_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Codestream:
    """One compressed frame.

    Attributes:
        height: Rows.
        width: Columns.
        samples: Values of a pixel.
        bits: Bits of a value.
        is_ybr: Whether the data show that colours are stored as YCbCr (True) or as RGB (False); None if they show
            nothing. In JPEG 2000 the decoder undoes the conversion, so there it only says that there was one.
        is_lossless: Whether it is lossless JPEG or JPEG-LS, whose decoders leave colours as they are stored.
        is_jpegls: Whether it is JPEG-LS.
        is_jpeg2000: Whether it is JPEG 2000, high-throughput or not.
    """

    height: int
    width: int
    samples: int
    bits: int
    is_ybr: bool | None = None
    is_lossless: bool = False
    is_jpegls: bool = False
    is_jpeg2000: bool = False


def read_jpeg(data: bytes) -> Codestream:
    """Return what the markers of a JPEG or JPEG-LS say. The pixels are not read.

    Raises:
        ItemError: The data are not a whole JPEG (`decode_error`).
    """
    if not data.startswith(b"\xff\xd8"):
        raise _damaged("the data do not begin as JPEG does")
    # Decoders fill what is missing with grey, and say nothing.
    if b"\xff\xd9" not in data[-_TRAILING_BYTES:]:
        raise _damaged("the JPEG data are cut off")
    position, kind, frame, has_jfif, adobe = 2, 0, b"", False, None
    while position + 4 <= len(data):
        marker = data[position + 1]
        if data[position] != 0xFF:
            raise _damaged("the JPEG data have no marker where one must be")
        if marker == 0xFF or marker in _WITHOUT_LENGTH:
            position += 1 if marker == 0xFF else 2
            continue
        if marker in (_SCAN, _END):
            break
        length = int.from_bytes(data[position + 2 : position + 4], "big")
        segment = data[position + 4 : position + 2 + length]
        if marker in _FRAMES:
            kind, frame = marker, segment
        elif marker == _APP0 and segment.startswith(b"JFIF\0"):
            has_jfif = True
        elif marker == _APP14 and segment.startswith(b"Adobe") and len(segment) >= 12:
            adobe = segment[11]
        position += 2 + max(2, length)
    if len(frame) < 6 or len(frame) < 6 + 3 * frame[5]:
        raise _damaged("the JPEG data have no frame header")
    bits, height, width, samples = struct.unpack_from(">BHHB", frame)
    components = [frame[6 + 3 * number : 8 + 3 * number] for number in range(samples)]
    is_ybr = _is_ybr(components, has_jfif, adobe) if samples == 3 else None
    return Codestream(height, width, samples, bits, is_ybr, kind in _LOSSLESS_FRAMES, kind == _JPEGLS_FRAME)


def _is_ybr(components: list[bytes], has_jfif: bool, adobe: int | None) -> bool | None:
    """Return whether colours are YCbCr, by the strongest evidence that there is."""
    if adobe in (0, 1):
        return adobe == 1
    if has_jfif:
        return True
    if b"".join(component[:1] for component in components) in (b"RGB", b"rgb"):
        return False
    if len({component[1:] for component in components}) > 1:  # the samples of RGB are never thinned out
        return True
    return None


def read_jpeg2000(data: bytes) -> Codestream:
    """Return what the first markers of a JPEG 2000 codestream say, with or without a JP2 box around it.

    Raises:
        ItemError: The data are not JPEG 2000 (`decode_error`).
    """
    if data.startswith(_JP2_BOX):
        data = data[max(0, data.find(_JPEG2000)) :]
    if not data.startswith(_JPEG2000) or len(data) < 45:
        raise _damaged("the data do not begin as a codec of DICOM does")
    right, bottom, left, top, tile_width, tile_height = struct.unpack_from(">IIIIII", data, 8)
    samples, depth = struct.unpack_from(">HB", data, 40)
    height, width = bottom - top, right - left
    if height <= 0 or width <= 0 or tile_width == 0 or tile_height == 0:
        raise _damaged("the JPEG 2000 data have no size")
    style = data.find(_CODING_STYLE, 42 + 3 * samples, 42 + 3 * samples + _MAX_MARKER_BYTES)
    is_ybr = data[style + 8] == 1 if samples == 3 and 0 < style < len(data) - 8 else None
    return Codestream(height, width, samples, (depth & 0x7F) + 1, is_ybr, is_jpeg2000=True)


def _damaged(detail: str) -> ItemError:
    return ItemError(FailureCode.DECODE_ERROR, detail)
