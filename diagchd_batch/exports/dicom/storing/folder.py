"""A folder as the place for objects: one file each, which only its owner can read."""

import re
from collections.abc import Sequence

from diagchd_batch.exports.destinations import (
    ExportKind,
    check_outside_shareable_trees,
    check_private,
    claim_growing,
)
from diagchd_batch.exports.dicom.storing.destination import NewObject, ObjectIdentity, Outcome, Stored
from diagchd_batch.results.output import Output
from diagchd_batch.storage import open_store

_OWN_NAME = re.compile(r"[^/]+/s-[0-9a-f]{16}/i-[0-9a-f]{16}(-\d{5,})?-(seg|sr|sc)\.dcm")


class FolderDestination:
    """A folder. See `Destination`."""

    max_batch = 1

    def __init__(self, path: str, output: Output, *, dry_run: bool) -> None:
        """Check the folder, and mark it as an export.

        Args:
            path: The folder, which need not exist.
            output: The output that is exported.
            dry_run: Write nothing.

        Raises:
            UsageError: It lies where others may read, or holds anything but an export of this kind.
        """
        self._store = open_store(path, owner_only=True)
        self.uri = self._store.uri
        check_private(self._store, output.storage, output.private)
        check_outside_shareable_trees(self._store)
        claim_growing(self._store, ExportKind.DICOM, _OWN_NAME, write=not dry_run)

    def has(self, identity: ObjectIdentity) -> bool:
        """See `Destination.has`. The answer is False, because `store` compares contents."""
        return False

    def store(self, objects: Sequence[NewObject], *, dry_run: bool) -> list[Stored]:
        """See `Destination.store`. Each file is created unless it is there."""
        return [self._store_one(new, dry_run) for new in objects]

    def _store_one(self, new: NewObject, dry_run: bool) -> Stored:
        name = new.identity.file_name
        is_new = self._store.stat(name) is None if dry_run else self._store.create(name, new.data)
        if is_new:
            return Stored(new.identity, Outcome.STORED)
        if self._store.read(name) == new.data:
            return Stored(new.identity, Outcome.THERE)
        reason = f"the folder has a {name} with other contents; move it away, or export to another folder"
        return Stored(new.identity, Outcome.FAILED, reason)
