"""Which class writes to which URI scheme. A new kind of store is one module and one line in `STORES`."""

from dataclasses import dataclass

from diagchd_batch.sources.registry import SourceOptions, class_for
from diagchd_batch.storage.store import Store
from diagchd_batch.uris import normalize_uri

STORES: dict[str, str] = {
    "file": "diagchd_batch.storage.local:LocalStore",
    "s3": "diagchd_batch.storage.s3:S3Store",
}
"""The class of each scheme, as ``module:class``.

A class is imported when its scheme is first opened. It is called with the normalised URI and `StoreOptions`, and must
implement `Store`.
"""


@dataclass(frozen=True, slots=True)
class StoreOptions(SourceOptions):
    """How a store is read and written.

    Attributes:
        owner_only: Whether new directories and files on a local disk are closed to the group and to others. S3 ignores
            it; there the bucket's policy decides.
    """

    owner_only: bool = False


def open_store(
    uri: str, *, object_timeout_s: float = 300.0, max_connections: int = 32, owner_only: bool = False
) -> Store:
    """Return the store at `uri`. Nothing is contacted or created before the store is used.

    Args:
        uri: A path, ``file:///directory`` or ``s3://bucket/prefix``.
        object_timeout_s: Seconds for which the transient failures of one object are retried.
        max_connections: Largest number of requests at the same time from one process. Local disks ignore it.
        owner_only: Whether new directories and files on a local disk are closed to the group and to others. S3 ignores
            it; there the bucket's policy decides.

    Raises:
        ConfigError: The URI is malformed, or no store is registered for its scheme.
    """
    uri = normalize_uri(uri)
    return class_for(uri, STORES)(uri, StoreOptions(object_timeout_s, max_connections, owner_only=owner_only))
