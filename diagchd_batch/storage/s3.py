"""Writing to a prefix of an S3 bucket."""

import os
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pyarrow.fs

from diagchd_batch.sources.s3.errors import REQUEST_ERRORS, Kind, classify
from diagchd_batch.sources.s3.prefix import RequestFailedError
from diagchd_batch.sources.s3.source import S3Source
from diagchd_batch.storage.registry import StoreOptions
from diagchd_batch.storage.store import Contents

LARGEST_PUT_BYTES = 5 << 30
"""Largest object that S3 accepts in one request."""

_COMPARE_BYTES = 8 << 20


class S3Store(S3Source):
    """The `Store` for ``s3://bucket[/prefix]``. `open_store` makes it."""

    def __init__(self, uri: str, options: StoreOptions | None = None) -> None:
        super().__init__(uri, options)

    def create(self, key: str, data: Contents) -> bool:
        """See `Store.create`."""
        location = self._prefix.locate(key)
        may_be_ours = False  # whether an earlier attempt may have succeeded although its answer was lost

        def put(client: Any) -> None:
            nonlocal may_be_ours
            try:
                _put(client, data, **location, IfNoneMatch="*")
            except REQUEST_ERRORS as error:
                failure = classify(error)
                may_be_ours |= failure.kind is Kind.TRANSIENT and failure.code != "ConditionalRequestConflict"
                raise

        try:
            self._prefix.request(put)
        except RequestFailedError as error:
            if error.failure.kind is Kind.EXISTS:
                return may_be_ours and self._holds(key, data)
            self._prefix.raise_fault(error.failure)
        return True

    def replace(self, key: str, data: Contents) -> None:
        """See `Store.replace`."""
        location = self._prefix.locate(key)
        try:
            self._prefix.request(lambda client: _put(client, data, **location))
        except RequestFailedError as error:
            self._prefix.raise_fault(error.failure)

    def delete(self, key: str) -> None:
        """See `Store.delete`."""
        location = self._prefix.locate(key)
        try:
            self._prefix.request(lambda client: client.delete_object(**location))
        except RequestFailedError as error:
            if error.failure.kind is not Kind.NOT_FOUND:
                self._prefix.raise_fault(error.failure)

    def leftovers(self) -> list[str]:
        """See `Store.leftovers`. Objects appear when they are complete, so there are none."""
        return []

    def arrow(self) -> tuple[pyarrow.fs.FileSystem, str]:
        """See `Store.arrow`."""
        try:
            file_system = self._prefix.request(lambda _: self._prefix.clients.arrow_file_system())
        except RequestFailedError as error:
            self._prefix.raise_fault(error.failure)
        return file_system, f"{self._prefix.bucket}/{self._prefix.root}".rstrip("/")

    def _holds(self, key: str, data: Contents) -> bool:
        """Return whether the stored object equals `data`, byte for byte."""
        size_bytes = _size_bytes(data)
        info = self.stat(key)
        if info is None or info.size_bytes != size_bytes:
            return False
        return all(
            self.read_range(key, start, _COMPARE_BYTES) == _part(data, start, _COMPARE_BYTES)
            for start in range(0, size_bytes, _COMPARE_BYTES)
        )


def _put(client: Any, data: Contents, **arguments: Any) -> None:
    if _size_bytes(data) > LARGEST_PUT_BYTES:
        raise ValueError("the object has more than 5 GiB, the limit of S3 for one request")
    if isinstance(data, Path):
        with data.open("rb") as file:
            client.put_object(Body=file, **arguments)
    else:
        if not isinstance(data, bytes):
            data.seek(0)
        client.put_object(Body=data, **arguments)


def _size_bytes(data: Contents) -> int:
    if isinstance(data, Path):
        return data.stat().st_size
    return len(data) if isinstance(data, bytes) else data.seek(0, os.SEEK_END)


def _part(data: Contents, start: int, length: int) -> bytes:
    if isinstance(data, bytes):
        return data[start : start + length]
    with data.open("rb") if isinstance(data, Path) else nullcontext(data) as file:
        file.seek(start)
        return file.read(length)
