"""The time limit of one object, where a real server would make the test wait or depend on the machine's speed."""

import io
import time

import pytest
from botocore.exceptions import ClientError

from diagchd_batch.errors import ItemError
from diagchd_batch.failures import FailureCode
from diagchd_batch.storage.s3 import CHUNK_BYTES, S3Storage


class SlowBody(io.BytesIO):
    def read(self, size: int | None = -1) -> bytes:
        time.sleep(0.05)
        return super().read(size)


class SlowServer:
    """Stands for the clients and the client: serves `data`, each read of its body after 50 ms."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def get(self):
        return self

    def get_object(self, **request):
        start = int(request.get("Range", "bytes=0-").removeprefix("bytes=").split("-")[0])
        if start >= len(self.data):
            raise ClientError({"Error": {"Code": "InvalidRange"}, "ResponseMetadata": {"HTTPStatusCode": 416}}, "Get")
        part = self.data[start:]
        return {"Body": SlowBody(part), "ContentLength": len(part), "ContentRange": "given", "ETag": '"e"'}

    def list_objects_v2(self, **request):
        return {}


def slow_storage(data: bytes, timeout_s: float) -> S3Storage:
    storage = S3Storage("s3://bucket", object_timeout_s=timeout_s)
    storage._clients = SlowServer(data)
    return storage


def test_an_object_that_came_late_but_whole_is_good():
    assert slow_storage(b"x" * CHUNK_BYTES, timeout_s=0.01).read("key") == b"x" * CHUNK_BYTES


def test_an_object_of_which_more_is_to_come_when_time_is_up_is_unreadable():
    with pytest.raises(ItemError) as caught:
        slow_storage(b"x" * 20 * CHUNK_BYTES, timeout_s=0.01).read("key")
    assert caught.value.code is FailureCode.UNREADABLE
