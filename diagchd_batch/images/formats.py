"""Which of the formats that are read a file is, by its first bytes; a file's name says nothing."""

import struct

from PIL.BmpImagePlugin import BmpImageFile
from PIL.ImageFile import ImageFile as PilImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile

# Pillow's readers are called directly, not through Image.open: so no other format is ever tried, a JPEG with further
# pictures behind it (MPO) stays one JPEG, and our limits stand alone instead of beside Pillow's process-wide one.
_READERS: dict[str, type[PilImageFile]] = {
    "PNG": PngImageFile,
    "JPEG": JpegImageFile,
    "TIFF": TiffImageFile,
    "BMP": BmpImageFile,
}

_SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),  # BigTIFF
    (b"MM\0+", "TIFF"),
)

_BMP_HEADER_SIZES = frozenset({12, 16, 40, 52, 56, 64, 108, 124})


def sniff(data: bytes) -> type[PilImageFile] | None:
    """Pillow's reader for the file, or None where it is none of PNG, JPEG, TIFF and BMP."""
    for signature, name in _SIGNATURES:
        if data.startswith(signature):
            return _READERS[name]
    # Two letters are little to go by (a table may begin with "BMI"), so the size of BMP's second header is asked too.
    if data.startswith(b"BM") and len(data) >= 18 and struct.unpack_from("<I", data, 14)[0] in _BMP_HEADER_SIZES:
        return _READERS["BMP"]
    return None


def declares_no_pixels(data: bytes) -> bool:
    """Whether a PNG's or BMP's header gives a width or height of 0; Pillow takes such a file for a damaged one."""
    if data.startswith(b"\x89PNG") and data[12:16] == b"IHDR" and len(data) >= 24:
        return 0 in struct.unpack_from(">II", data, 16)
    if data.startswith(b"BM") and len(data) >= 26:
        wide = struct.unpack_from("<I", data, 14)[0] > 12
        return 0 in struct.unpack_from("<ii" if wide else "<HH", data, 18)
    return False
