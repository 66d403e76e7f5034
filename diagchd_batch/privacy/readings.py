"""Reads a text in every way in which a value can be written in it: as it is, unescaped, and decoded."""

import base64
import binascii
import html
import re
from collections.abc import Callable, Iterator
from urllib.parse import unquote

_HEX = "[0-9a-fA-F]"
_JSON_ESCAPE = re.compile(rf"\\(?:u({_HEX}{{4}})(?:\\u([dD][c-fC-F]{_HEX}{{2}}))?|x({_HEX}{{2}})|([\"\\/bfnrt]))")
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{8,}={0,2}")
_HEXADECIMAL = re.compile(r"(?<![0-9A-Za-z])(?:[0-9a-f]{2}){4,}(?![0-9A-Za-z])|(?<![0-9A-Za-z])(?:[0-9A-F]{2}){4,}\b")
_PRINTED = re.compile(rb"[\x20-\x7e]{4,}")
_PRINTED_IN_UTF16 = re.compile(rb"(?:[\x20-\x7e\xc0-\xff]\0){4,}")
_WITH_UTF8 = re.compile(rb"[\x20-\x7e]*(?:[\xc3-\xf4][\x80-\xbf]{1,3}[\x20-\x7e]*)+")
_NO_LETTERS = re.compile(r"[^\x20-\x7e\w]+")
_SHORTEST_PRINTED = 4
_PLAIN_BYTES = re.compile(rb"[\x20-\x7e\t\r\n\x80-\xff]*")
_MARKS = {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}


def lines_of(data: bytes) -> list[str]:
    """Return the lines of a text file, in UTF-8 or UTF-16. Other bytes count as Latin-1."""
    encoding = _MARKS.get(data[:2])
    if encoding:
        text = data[2:].decode(encoding, errors="replace")
    else:
        try:
            text = data.decode()
        except UnicodeDecodeError:
            text = data.decode("latin-1")
    return text.split("\n")


def is_text(data: bytes) -> bool:
    """Return whether bytes are text and not binary data.

    Args:
        data: The first bytes of a file or value.
    """
    return data[:2] in _MARKS or _PLAIN_BYTES.fullmatch(data) is not None


def printed_texts(data: bytes) -> list[str]:
    """Return the runs of printable characters in binary data, as ASCII, as UTF-8 and as UTF-16.

    A run in UTF-8 has letters beyond ASCII, such as an umlaut. Its parts before and after them are also runs of ASCII.
    """
    found = [match.decode("ascii") for match in _PRINTED.findall(data)]
    for match in filter(_is_long, _WITH_UTF8.findall(data)):
        parts = _NO_LETTERS.split(match.decode("utf-8", errors="replace"))
        found += [part for part in parts if len(part) >= _SHORTEST_PRINTED and not part.isascii()]
    return found + [match.decode("utf-16-le") for match in _PRINTED_IN_UTF16.findall(data)]


def _is_long(match: bytes) -> bool:
    return len(match) > _SHORTEST_PRINTED


def unescaped(lines: list[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield the lines that change when escapes are undone. Other lines are empty, so that numbers of lines stay.

    Args:
        lines: The lines of a text.

    Yields:
        The name of the escapes, and the lines: JSON's, HTML's and those of URLs, each by itself and all together.
    """
    for name, undo in _ESCAPES.items():
        changed = [undo(line) if _may_be_escaped(line) else "" for line in lines]
        changed = [new if new != line else "" for new, line in zip(changed, lines, strict=True)]
        if any(changed):
            yield name, changed


def decoded(line: str) -> Iterator[tuple[str, bytes]]:
    """Yield the bytes that a line holds in base64 or in hexadecimal digits.

    Args:
        line: The line.

    Yields:
        The name of the form, and the bytes.
    """
    for match in _BASE64.finditer(line):
        text = match[0].rstrip("=").replace("-", "+").replace("_", "/")
        if len(text) % 4 != 1:
            yield "base64", base64.b64decode(text + "=" * (-len(text) % 4))
    for match in _HEXADECIMAL.finditer(line):
        yield "hexadecimal", binascii.unhexlify(match[0])


def _may_be_escaped(line: str) -> bool:
    return "\\" in line or "&" in line or "%" in line


def _json(line: str) -> str:
    return _JSON_ESCAPE.sub(_character, line)


def _character(match: re.Match[str]) -> str:
    first, second, short, letter = match.groups()
    if letter:
        return letter if letter in '"\\/' else " "
    if second:
        pair = int(first, 16).to_bytes(2, "big") + int(second, 16).to_bytes(2, "big")
        return pair.decode("utf-16-be", errors="replace")
    return chr(int(first or short, 16))


def _html(line: str) -> str:
    return html.unescape(line).replace("\n", " ")


def _url(line: str) -> str:
    return unquote(line).replace("\n", " ")


def _all(line: str) -> str:
    for _ in range(2):
        line = _html(_url(_json(line)))
    return line


_ESCAPES: dict[str, Callable[[str], str]] = {"JSON": _json, "HTML": _html, "URL": _url, "several": _all}
