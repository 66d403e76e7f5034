"""Local disks and S3 behind one small protocol: `open_storage(uri)` gives a `Storage`."""

from diagchd_batch.storage.base import ObjectInfo, Storage
from diagchd_batch.storage.uris import S3_SCHEME, join_uri, normalize_uri

__all__ = ["S3_SCHEME", "ObjectInfo", "Storage", "join_uri", "normalize_uri", "open_storage"]


def open_storage(
    uri: str, *, object_timeout_s: float = 300.0, max_connections: int = 32, owner_only: bool = False
) -> Storage:
    """The storage at `uri`: a path, ``file:///…`` or ``s3://bucket/prefix``. Nothing is contacted or created yet.

    `object_timeout_s`: how long one object is retried before it is given up. `max_connections`: requests at the same
    time, per process (S3). `owner_only`: directories and files that this storage makes on a local disk are closed to
    group and others; on S3 the bucket's policy decides. Raises ConfigError for a URI that names no storage we know.
    """
    uri = normalize_uri(uri)
    if uri.startswith(S3_SCHEME):
        from diagchd_batch.storage.s3 import S3Storage  # boto3 takes a while to import; local runs do without

        return S3Storage(uri, object_timeout_s=object_timeout_s, max_connections=max_connections)
    from diagchd_batch.storage.local import LocalStorage

    return LocalStorage(uri, object_timeout_s=object_timeout_s, owner_only=owner_only)
