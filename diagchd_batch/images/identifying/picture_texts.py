"""Texts in PNG, JPEG, TIFF and BMP files: PNG text chunks, comments, EXIF, XMP and IPTC."""

import html
import re
import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import Any

from PIL import ExifTags, Image, TiffTags
from PIL.ImageFile import ImageFile as PilImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.TiffImagePlugin import TiffImageFile

from diagchd_batch.images.identifying.values import IdentifyingValue

MAX_TEXT_BYTES = 65_536
"""What is read of one text. A compressed one is not decompressed any further."""

MAX_PAGES = 100
"""The pages of a TIFF whose tags are read."""

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_KEYWORDS = frozenset(
    ("Author", "Comment", "Copyright", "Creation Time", "Description", "Disclaimer", "Software", "Source", "Title")
)
_XMP_KEYWORD = "XML:com.adobe.xmp"
_XMP_SEGMENT = b"http://ns.adobe.com/xap/1.0/\0"
_XMP_EXTENSION = b"http://ns.adobe.com/xmp/extension/\0"
_TIFF_XMP, _TIFF_IPTC, _TIFF_PHOTOSHOP = 700, 33_723, 34_377
_EXIF_DIRECTORIES = (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo, ExifTags.IFD.Interop)
_WINDOWS_TEXTS = range(0x9C9B, 0x9CA0)  # tags that Windows writes, in UTF-16
_CHARACTER_CODES = {b"ASCII\0\0\0": "ascii", b"UNICODE\0": "utf-16", b"JIS\0\0\0\0\0": "shift_jis"}
_PRINTED_BYTES = re.compile(rb"[\x20-\x7e\x80-\xff]{4,}")
_LABELLED = re.compile(r"(?=[^:=]*[^\W\d_])[^:=]{1,40}[:=]\s*(\S.*)")  # no dates and times
_XML_TEXT = re.compile(r">([^<>]+)<|=\s*\"([^\"]*)\"|=\s*'([^']*)'")


def texts_of_png(data: bytes) -> Iterator[IdentifyingValue]:
    """Yield the texts in the chunks of a PNG file, also of one that is cut off.

    Args:
        data: The file. If it is no PNG file, it has no texts.

    Yields:
        Texts and their keywords, lines of EXIF and XMP.
    """
    if not data.startswith(_PNG_SIGNATURE):
        return
    place = len(_PNG_SIGNATURE)
    while place + 8 <= len(data):
        (length,) = struct.unpack_from(">I", data, place)
        kind, body = data[place + 4 : place + 8], place + 8
        place = body + length + 4
        if kind in (b"tEXt", b"zTXt", b"iTXt"):
            yield from _png_text(kind, data[body : body + min(length, MAX_TEXT_BYTES)])
        elif kind == b"eXIf":
            yield from texts_of_exif(data[body : body + length])


def texts_of_picture(file: PilImageFile) -> Iterator[IdentifyingValue]:
    """Yield the texts of a JPEG or TIFF file that Pillow has opened. Nothing is decoded.

    Args:
        file: The file. A TIFF is left at another page.

    Yields:
        Comments, and texts of tags, EXIF, XMP and IPTC.
    """
    if isinstance(file, JpegImageFile):
        for name, segment in file.applist:
            if name == "COM":
                yield from _lines("JPEG comment", _decoded(segment))
            elif name == "APP1" and segment.startswith(b"Exif\0\0"):
                yield from texts_of_exif(segment)
            elif name == "APP1" and segment.startswith((_XMP_SEGMENT, _XMP_EXTENSION)):
                yield from _texts_of_xml(_decoded(segment))
            elif name == "APP13":
                yield from _printed("IPTC", segment)
    elif isinstance(file, TiffImageFile):
        for page in range(MAX_PAGES):
            try:
                file.seek(page)
            except EOFError:
                break
            yield from _texts_of_tags("TIFF", file.tag_v2.items())
        yield from _texts_of_directories(file.getexif())


def texts_of_exif(block: bytes) -> Iterator[IdentifyingValue]:
    """Yield the texts in a block of EXIF, with or without its six-byte header."""
    exif = Image.Exif()
    exif.load(block)
    yield from _texts_of_tags("EXIF", exif.items())
    yield from _texts_of_directories(exif)


def _png_text(kind: bytes, chunk: bytes) -> Iterator[IdentifyingValue]:
    keyword_bytes, _, rest = chunk.partition(b"\0")
    keyword = keyword_bytes.decode("latin-1")
    if kind == b"tEXt":
        text = rest.decode("latin-1")
    elif kind == b"zTXt":
        text = _inflated(rest[1:]).decode("latin-1")
    else:
        compressed, tail = rest[:1] == b"\1", rest[2:]
        _, _, tail = tail.partition(b"\0")  # language
        translated, _, tail = tail.partition(b"\0")
        yield from _lines("PNG keyword", _decoded(translated))
        text = _decoded(_inflated(tail) if compressed else tail)
    if keyword == _XMP_KEYWORD:
        yield from _texts_of_xml(text)
        return
    if keyword not in _PNG_KEYWORDS:
        yield IdentifyingValue("PNG keyword", keyword)
    yield from _lines(f"PNG {keyword}" if keyword in _PNG_KEYWORDS else "PNG text", text)


def _inflated(data: bytes) -> bytes:
    return zlib.decompressobj().decompress(data, MAX_TEXT_BYTES)


def _texts_of_directories(exif: Image.Exif) -> Iterator[IdentifyingValue]:
    for directory in _EXIF_DIRECTORIES:
        names = ExifTags.GPSTAGS if directory == ExifTags.IFD.GPSInfo else ExifTags.TAGS
        yield from _texts_of_tags("EXIF", exif.get_ifd(directory).items(), names)


def _texts_of_tags(
    family: str, tags: Iterable[tuple[int, Any]], names: dict[int, str] | None = None
) -> Iterator[IdentifyingValue]:
    for tag, value in list(tags):
        name = (names or ExifTags.TAGS).get(tag) or TiffTags.lookup(tag).name
        kind = f"{family} {name}" if name != "unknown" else f"{family} tag {tag}"
        for item in value if isinstance(value, tuple) else (value,):
            if isinstance(item, str):
                yield from _lines(kind, item)
            elif isinstance(item, bytes) and len(item) <= MAX_TEXT_BYTES:
                yield from _texts_of_bytes(kind, tag, item)


def _texts_of_bytes(kind: str, tag: int, value: bytes) -> Iterator[IdentifyingValue]:
    if tag in _WINDOWS_TEXTS:
        yield from _lines(kind, value.decode("utf-16-le", errors="replace"))
    elif tag == _TIFF_XMP:
        yield from _texts_of_xml(_decoded(value))
    elif tag in (_TIFF_IPTC, _TIFF_PHOTOSHOP):
        yield from _printed("IPTC", value)
    elif encoding := _CHARACTER_CODES.get(value[:8]):
        yield from _lines(kind, value[8:].decode(encoding, errors="replace"))
    else:
        yield from _printed(kind, value)


def _texts_of_xml(text: str) -> Iterator[IdentifyingValue]:
    for match in _XML_TEXT.finditer(text[:MAX_TEXT_BYTES]):
        yield from _lines("XMP", html.unescape(next(group for group in match.groups() if group is not None)))


def _printed(kind: str, data: bytes) -> Iterator[IdentifyingValue]:
    """Yield the runs of printable characters in binary data."""
    for match in _PRINTED_BYTES.finditer(data[:MAX_TEXT_BYTES]):
        yield from _lines(kind, _decoded(match[0]))


def _lines(kind: str, text: str) -> Iterator[IdentifyingValue]:
    """Yield each line of a text and, of a line such as "Patient: Jane Doe", also what stands after the colon."""
    for line in text[:MAX_TEXT_BYTES].splitlines():
        yield IdentifyingValue(kind, line)
        if match := _LABELLED.fullmatch(line):
            yield IdentifyingValue(kind, match[1])


def _decoded(data: bytes) -> str:
    try:
        return data[:MAX_TEXT_BYTES].decode()
    except UnicodeDecodeError:
        return data[:MAX_TEXT_BYTES].decode("latin-1")
