"""What kind of JPEG a file is: sound files that are not read are told from damaged ones, and those without pixels."""

import struct

from diagchd_batch.errors import ItemError
from diagchd_batch.failure_codes import FailureCode

_FRAMES = frozenset({*range(0xC0, 0xD0), 0xF7}) - {0xC4, 0xC8, 0xCC}
_SIZE_FOLLOWS = b"\xff\xdc"
_KINDS = {
    0xC3: "lossless JPEG",
    0xF7: "JPEG-LS",
    **dict.fromkeys((0xC5, 0xC6, 0xC7, 0xCD, 0xCE, 0xCF), "hierarchical JPEG"),
    0xCB: "lossless JPEG with arithmetic coding",
}
"""By the marker of their frame: the kinds that are not read."""


def check_jpeg_kind(data: bytes) -> None:
    """Raise an error if the header of a JPEG says that it cannot be read. Damage is left to the decoder.

    Args:
        data: The whole file, or its beginning.

    Raises:
        ItemError: It is of a kind that is not read (`unsupported_format`), or has no pixels (`empty_image`).
    """
    position = 2
    while position + 9 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF or marker == 0x01 or 0xD0 <= marker <= 0xD7:
            position += 1 if marker == 0xFF else 2
            continue
        if marker in (0xDA, 0xD9):
            return
        if marker in _FRAMES:
            _check_frame(marker, data, position)
            return
        position += 2 + max(2, int.from_bytes(data[position + 2 : position + 4], "big"))


def _check_frame(marker: int, data: bytes, position: int) -> None:
    bits, height, width = struct.unpack_from(">BHH", data, position + 4)
    if kind := _KINDS.get(marker):
        raise ItemError(FailureCode.UNSUPPORTED_FORMAT, f"{kind} is not read; export it as PNG or ordinary JPEG")
    if height == 0 and width and _SIZE_FOLLOWS in data:
        raise ItemError(FailureCode.UNSUPPORTED_FORMAT, "a JPEG whose height follows its pixels is not read")
    if height == 0 or width == 0:
        raise ItemError(FailureCode.EMPTY_IMAGE, "the header gives a width or height of 0")
    if bits != 8:
        raise ItemError(FailureCode.UNSUPPORTED_FORMAT, f"JPEG of {bits} bits is not read; export it with 8 bits")
