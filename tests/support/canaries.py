"""Strings that must not be found outside the private tree, and a search that looks into files as a reader would."""

import base64
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

MARK = "qzv7canary"
"""In lower case and only of letters and digits, so that names of anything can hold it."""

SECRET = "qzv7secret"
"""Of credentials: not even in the private tree."""


def canary(kind: str, number: int | str = "") -> str:
    """A string of its own for everything that could leak."""
    return f"{MARK}{kind}{number}"


class Search:
    """Finds marks as text, in UTF-16, in base64 at any alignment, in hexadecimal and in Parquet's columns."""

    def __init__(self, marks: Iterable[str]) -> None:
        self._patterns = [re.compile(re.escape(form), re.IGNORECASE) for mark in marks for form in _forms(mark)]

    def in_bytes(self, data: bytes) -> list[str]:
        """What was found, with what stands around it."""
        found = (match for pattern in self._patterns for match in pattern.finditer(data))
        return [repr(data[max(0, match.start() - 60) : match.end() + 40]) for match in found]

    def in_tree(self, root: Path, apart_from: Path | None = None) -> Iterator[str]:
        """File: what was found in it or its name; directories' names, too."""
        for path in sorted(root.rglob("*")):
            if apart_from and (path == apart_from or apart_from in path.parents):
                continue
            relative = path.relative_to(root)
            if self.in_bytes(str(relative).encode()):
                yield f"the name {relative}"
            if path.is_file() and not path.is_symlink():
                for found in self.in_bytes(path.read_bytes() + _decoded(path)):
                    yield f"{relative}: {found}"


def _decoded(path: Path) -> bytes:
    """Compressed columns and the metadata of a Parquet file; nothing for others, or of one that was cut short."""
    if path.suffix != ".parquet":
        return b""
    try:
        table = pq.ParquetFile(path).read()
    except pa.ArrowInvalid:
        return b""
    cells = (repr(value).encode() for column in table.columns for value in column.to_pylist())
    metadata = json.dumps({key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()})
    return b"\n".join([*cells, metadata.encode()])


def _forms(mark: str) -> Iterator[bytes]:
    plain = mark.encode()
    yield plain
    yield mark.encode("utf-16-le")
    yield mark.encode("utf-16-be")
    yield plain.hex().encode()
    for shift in range(3):  # the letters of base64 that the mark alone decides
        encoded = base64.b64encode(b"\0" * shift + plain)
        first, last = -(-8 * shift // 6), 8 * (shift + len(plain)) // 6
        yield encoded[first:last]
