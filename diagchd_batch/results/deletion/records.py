"""The note that a deletion leaves in the public tree, and the journal that exists while it is under way."""

from collections.abc import Iterator
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from diagchd_batch import output_layout
from diagchd_batch.errors import ItemError, RunFault
from diagchd_batch.failure_codes import FailureCode
from diagchd_batch.json_records import JsonRecord
from diagchd_batch.storage import Store

Tree = Literal["output", "private"]
"""The tree that a file lies in: that of the pseudonymised tables, or the private one."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ShardChange(_Part):
    """A score file that was written again without some of its rows, by the SHA-256 of its bytes before and after."""

    run_id: str
    shard: int
    old_sha256: str
    new_sha256: str


class DeletionNote(JsonRecord):
    """`deletions/deletion-NNNNN.json`: what was removed, without naming anybody.

    Attributes:
        deleted_on: The day, in UTC, as an ISO date.
        kind: What was removed: a whole run, or the rows of one subject.
        run_ids: The runs that were removed or that lost rows.
        n_rows: Rows of score files that were removed.
        shards: The score files that were written again.
    """

    note_version: Literal[1] = 1
    deleted_on: str
    kind: Literal["run", "subject"]
    run_ids: tuple[str, ...]
    n_rows: int
    shards: tuple[ShardChange, ...] = ()


class Replacement(_Part):
    """A file whose new contents are ready under `staged` in the private tree."""

    tree: Tree
    key: str
    staged: str


class Removal(_Part):
    """A file that is deleted."""

    tree: Tree
    key: str


class DeletionJournal(JsonRecord):
    """What a deletion has decided: the files that it replaces and removes, and the note that it leaves."""

    remedy: ClassVar[str] = "restore the output and its private tree from a backup, then give the delete command again"
    indent: ClassVar[int | None] = None

    number: int
    note: DeletionNote
    replaced: tuple[Replacement, ...]
    removed: tuple[Removal, ...]


def read_notes(storage: Store) -> Iterator[tuple[str, DeletionNote]]:
    """Yield the key and the contents of every note of an output, the oldest first.

    Args:
        storage: The output.

    Raises:
        DamagedRecordError: A note cannot be read.
    """
    keys = (info.key for info in storage.list(output_layout.DELETIONS_PREFIX))
    for key in sorted(filter(output_layout.DELETION_NOTE.fullmatch, keys), key=lambda key: (len(key), key)):
        yield key, DeletionNote.from_json(storage.read(key), key)


def has_unfinished_deletion(private: Store) -> bool:
    """Return whether a deletion of an output has begun to change files and has not ended.

    Args:
        private: The private tree.
    """
    return private.stat(output_layout.DELETION_JOURNAL) is not None


def refuse_unfinished_deletion(private: Store) -> None:
    """Refuse an output of which a deletion is not finished, because its tables do not fit together.

    Whoever may read the tables but not the private tree cannot know of it and is not refused.

    Args:
        private: The private tree.

    Raises:
        RunFault: A deletion is not finished.
    """
    try:
        is_unfinished = has_unfinished_deletion(private)
    except ItemError as error:
        if error.code is not FailureCode.ACCESS_DENIED:
            raise
        return
    if is_unfinished:
        raise RunFault(
            "a deletion of this output is not finished, so its tables do not fit together; finish it with the "
            "command `delete` and --yes"
        )
