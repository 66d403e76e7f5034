"""Removes what killed writers left below a store."""

import contextlib
import os
from pathlib import Path

from diagchd_batch.sources.local.walk import TEMPORARY_NAME
from diagchd_batch.storage.local import LocalStore
from diagchd_batch.storage.store import Store


def remove_leftovers_below(store: Store) -> None:
    """Delete every temporary file below a store, however young. Nobody may be writing to the store.

    On S3 there is nothing to delete, because an object appears only when it is whole.

    Args:
        store: The store.
    """
    if not isinstance(store, LocalStore):
        return
    for directory, _, names in os.walk(store.uri):
        for name in names:
            if TEMPORARY_NAME.fullmatch(name):
                with contextlib.suppress(FileNotFoundError):
                    (Path(directory) / name).unlink()
