"""The check of a store before work begins."""

import secrets

from diagchd_batch.errors import ItemError, StorageFault
from diagchd_batch.storage.store import Store


def check_create_if_absent(store: Store, key_prefix: str) -> None:
    """Check that a store refuses to create a key twice, by trying it. A shard is committed only once because of this.

    Args:
        store: The store to try. The object that is created is deleted again.
        key_prefix: Directory below which the trial object is created.

    Raises:
        StorageFault: The store cannot be written to, or it lets a second writer overwrite the first.
    """
    key = f"{key_prefix.rstrip('/')}/preflight-{secrets.token_hex(8)}".lstrip("/")
    first, second = b"first", b"second"
    try:
        if not store.create(key, first):
            raise StorageFault(f"{store.place} answers that a new object already exists; check the server")
        if store.create(key, second) or store.read(key) != first:
            raise StorageFault(
                f"{store.place} lets a second writer overwrite the first: it ignores If-None-Match, so two workers "
                "could both commit one shard. Use a server that honours it (Amazon S3, MinIO, Ceph from Pacific on) "
                "or write the output to a directory"
            )
    except ItemError as error:
        raise StorageFault(f"{store.place}: a new object cannot be read back ({error.code.value})") from None
    finally:
        store.delete(key)
