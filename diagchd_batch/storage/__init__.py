"""Where results are written to: `open_store(uri)` returns a `Store`, whatever the scheme of the URI."""

from diagchd_batch.storage.registry import StoreOptions, open_store
from diagchd_batch.storage.store import Store

__all__ = ["Store", "StoreOptions", "open_store"]
