"""Checks of a storage before work begins: better refused now than wrong, or stopped, at four in the morning."""

import itertools
import secrets

from diagchd_batch.errors import ItemError, StorageFault
from diagchd_batch.failures import FailureCode
from diagchd_batch.sources import Source
from diagchd_batch.storage import Store

SAMPLE = 20
"""Objects tried before reading is said to be refused altogether."""


def check_create_if_absent(storage: Store, key_prefix: str) -> None:
    """Prove that `storage` refuses a second create of one key, by trying it below `key_prefix` (a directory).

    Everything that is committed once rests on this. Raises StorageFault where the storage cannot be written to, or
    where it lets the second writer through.
    """
    key = f"{key_prefix.rstrip('/')}/preflight-{secrets.token_hex(8)}".lstrip("/")
    first, second = b"first", b"second"
    try:
        if not storage.create(key, first):
            raise StorageFault(f"{storage.place} refused to create a new object as if it existed; check the server")
        if storage.create(key, second) or storage.read(key) != first:
            raise StorageFault(
                f"{storage.place} lets a second writer overwrite the first: it ignores If-None-Match, so two workers "
                "could both commit one shard. Use a server that honours it (Amazon S3, MinIO, Ceph from Pacific on) "
                "or write the output to a directory"
            )
    except ItemError as error:
        raise StorageFault(f"{storage.place}: what was written cannot be read back ({error.code.value})") from None
    finally:
        storage.delete(key)


def check_readable(storage: Source) -> None:
    """Prove that `storage` is there, may be listed, and that not every object in it is refused.

    Raises StorageFault. An empty storage passes.
    """
    storage.probe()
    codes = []
    for info in itertools.islice(storage.list(), SAMPLE):
        try:
            storage.read_range(info.key, 0, 1)
            return
        except ItemError as error:
            codes.append(error.code)
    if codes and all(code is FailureCode.ACCESS_DENIED for code in codes):
        raise StorageFault(
            f"{storage.place} may be listed but not read ({len(codes)} of {len(codes)} files refused): "
            "grant read permission (on S3: s3:GetObject)"
        )
