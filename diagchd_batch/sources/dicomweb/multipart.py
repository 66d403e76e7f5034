"""Reads multipart bodies (RFC 2046), and notices where one was cut."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from email.message import Message

from diagchd_batch.sources.dicomweb.errors import CutBodyError

_HEADERS_END = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a multipart body.

    Attributes:
        content_type: The part's own Content-Type; empty if it has none.
        content: Its bytes.
    """

    content_type: str
    content: bytes


def boundary_of(content_type: str) -> bytes | None:
    """Return the boundary of a multipart body, or None if the Content-Type is of another kind.

    Args:
        content_type: The header. Its parameters may be quoted and hold semicolons.
    """
    message = Message()
    message["Content-Type"] = content_type
    if message.get_content_maintype() != "multipart":
        return None
    boundary = message.get_boundary()
    return None if boundary is None else boundary.encode("latin-1")


def parameter_of(content_type: str, name: str) -> str | None:
    """Return a parameter of a Content-Type, without quotes, or None if it has none of that name.

    Args:
        content_type: The header.
        name: Name of the parameter, such as ``transfer-syntax``.
    """
    message = Message()
    message["Content-Type"] = content_type
    value = message.get_param(name)
    return value.strip() if isinstance(value, str) else None


def split_parts(body: bytes | bytearray, boundary: bytes) -> Iterator[Part]:
    """Yield the parts of a multipart body.

    Args:
        body: The whole body.
        boundary: The boundary between the parts.

    Raises:
        CutBodyError: The delimiter at the end is missing.
    """
    delimiter = b"--" + boundary
    position = body.find(delimiter)
    while True:
        if position < 0:
            raise CutBodyError("the multipart body has no end")
        position += len(delimiter)
        if body[position : position + 2] == b"--":
            return
        headers_end = body.find(_HEADERS_END, position)
        if headers_end < 0:
            raise CutBodyError("a part has no end of its headers")
        headers = _headers(bytes(body[position:headers_end]))
        start = headers_end + len(_HEADERS_END)
        # The stated length saves a search, and keeps a boundary that occurs in the pixels from ending the part.
        stated = headers.get("content-length", "")
        end = start + int(stated) if stated.isdecimal() else -1
        if end < 0 or body[end : end + 2 + len(delimiter)] != b"\r\n" + delimiter:
            end = body.find(b"\r\n" + delimiter, start)
        if end < 0:
            raise CutBodyError("a part has no end")
        with memoryview(body) as view:
            yield Part(headers.get("content-type", ""), bytes(view[start:end]))
        position = end + 2


def content_start(head: bytes | bytearray, boundary: bytes) -> int | None:
    """Return the offset of the first part's content, or None if more of the body is needed to tell.

    Args:
        head: The first bytes of a multipart body.
        boundary: The boundary between the parts.
    """
    position = head.find(b"--" + boundary)
    headers_end = -1 if position < 0 else head.find(_HEADERS_END, position)
    return None if headers_end < 0 else headers_end + len(_HEADERS_END)


def _headers(block: bytes) -> dict[str, str]:
    lines: Iterable[str] = block.decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in lines if ":" in line)
    return {name.strip().lower(): value.strip() for name, _, value in pairs}
