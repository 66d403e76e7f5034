"""Strings that must not occur outside the private tree, and a search that also decodes the contents of files."""

import base64
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

MARK = "qzv7canary"
"""The mark of every canary. It has only lower-case letters and digits, so it can be part of any name."""

SECRET = "qzv7secret"
"""The mark of every credential. It must not occur anywhere, not even in the private tree."""


def canary(kind: str, number: int | str = "") -> str:
    """Return a distinct string for each kind and number of thing that could leak."""
    return f"{MARK}{kind}{number}"


class Search:
    """A search for marks as UTF-8, UTF-16, base64 at any alignment and hexadecimal, and in the columns of Parquet."""

    def __init__(self, marks: Iterable[str]) -> None:
        self._patterns = [re.compile(re.escape(form), re.IGNORECASE) for mark in marks for form in _forms(mark)]

    def in_bytes(self, data: bytes) -> list[str]:
        """Return each match with the bytes around it."""
        found = (match for pattern in self._patterns for match in pattern.finditer(data))
        return [repr(data[max(0, match.start() - 60) : match.end() + 40]) for match in found]

    def in_tree(self, root: Path, apart_from: Path | None = None) -> Iterator[str]:
        """Yield a line for each match in the contents of a file, and in the name of a file or directory."""
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
    """Return the decoded columns and the metadata of a Parquet file.

    Other files, and Parquet files that were truncated, give no bytes.
    """
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
    for shift in range(3):  # Only those characters of base64 that depend on the mark alone are compared.
        encoded = base64.b64encode(b"\0" * shift + plain)
        first, last = -(-8 * shift // 6), 8 * (shift + len(plain)) // 6
        yield encoded[first:last]
