"""The time limit of one object. A real server would make these tests slow, or dependent on the machine's speed."""

import io
import time
from typing import Any, Self

import pytest
from botocore.exceptions import ClientError

from diagchd_batch.errors import ItemError
from diagchd_batch.failure_codes import FailureCode
from diagchd_batch.sources import SourceOptions
from diagchd_batch.sources.s3.download import CHUNK_BYTES
from diagchd_batch.sources.s3.source import S3Source


class SlowBody(io.BytesIO):
    def read(self, size: int | None = -1) -> bytes:
        time.sleep(0.05)
        return super().read(size)


class SlowServer:
    """Stands in for the clients and for the client. It serves `data`; each read of the body takes 50 ms."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def get(self) -> Self:
        return self

    def get_object(self, **request: Any) -> dict[str, Any]:
        start = int(request.get("Range", "bytes=0-").removeprefix("bytes=").split("-")[0])
        if start >= len(self.data):
            raise ClientError({"Error": {"Code": "InvalidRange"}, "ResponseMetadata": {"HTTPStatusCode": 416}}, "Get")
        part = self.data[start:]
        return {"Body": SlowBody(part), "ContentLength": len(part), "ContentRange": "given", "ETag": '"e"'}

    def list_objects_v2(self, **request: Any) -> dict[str, Any]:
        return {}


def slow_source(data: bytes, timeout_s: float) -> S3Source:
    source = S3Source("s3://bucket", SourceOptions(object_timeout_s=timeout_s))
    source._prefix.clients = SlowServer(data)  # type: ignore[assignment]
    return source


def test_an_object_that_arrives_late_but_complete_is_returned() -> None:
    assert slow_source(b"x" * CHUNK_BYTES, timeout_s=0.01).read("key") == b"x" * CHUNK_BYTES


def test_an_object_that_is_incomplete_at_the_time_limit_is_unreadable() -> None:
    with pytest.raises(ItemError) as caught:
        slow_source(b"x" * 20 * CHUNK_BYTES, timeout_s=0.01).read("key")
    assert caught.value.code is FailureCode.UNREADABLE
