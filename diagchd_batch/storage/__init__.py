"""Where results are written to: `open_store(uri)` returns a `Store`, whatever the scheme of the URI."""

from diagchd_batch.storage.store import Store
from diagchd_batch.uris import S3_SCHEME, normalize_uri

__all__ = ["Store", "open_store"]


def open_store(
    uri: str, *, object_timeout_s: float = 300.0, max_connections: int = 32, owner_only: bool = False
) -> Store:
    uri = normalize_uri(uri)
    if uri.startswith(S3_SCHEME):
        from diagchd_batch.storage.s3 import S3Storage  # boto3 takes a while to import; local runs do without

        return S3Storage(uri, object_timeout_s=object_timeout_s, max_connections=max_connections)
    from diagchd_batch.storage.local import LocalStorage

    return LocalStorage(uri, object_timeout_s=object_timeout_s, owner_only=owner_only)
