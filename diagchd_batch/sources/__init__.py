"""Where images are read from: `open_source(uri)` returns a `Source`, whatever the scheme of the URI."""

from diagchd_batch.sources.source import ObjectInfo, Source

__all__ = ["ObjectInfo", "Source", "open_source"]


def open_source(uri: str, *, object_timeout_s: float = 300.0, max_connections: int = 32) -> Source:
    from diagchd_batch.storage import open_store

    return open_store(uri, object_timeout_s=object_timeout_s, max_connections=max_connections)
