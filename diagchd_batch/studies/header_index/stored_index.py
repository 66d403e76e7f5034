"""The index of headers as it lies in the private tree: heads, of which the newest counts, and the tables they name.

A head and its tables are never changed, except that a deletion takes rows out of tables. A build writes tables under
names of its own, then creates the next head only if it is absent. So a reader always sees a whole index, however many
builds work at once, and a build that is killed leaves tables that no head names, whose rows the next one takes over.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, ClassVar, Literal

import pyarrow as pa
import pyarrow.dataset as ds
from pydantic import BaseModel, ConfigDict

from diagchd_batch import output_layout
from diagchd_batch.json_records import JsonRecord
from diagchd_batch.storage import Store
from diagchd_batch.studies.header_index.header_columns import HEADERS, ObjectKind


class IndexCounts(BaseModel):
    """What one update of the index found.

    Attributes:
        n_objects: Objects of the listing, without hidden ones.
        n_new: Objects that the index did not have.
        n_changed: Objects with another size, entity tag or modification time than the index had.
        n_vanished: Objects that the index had and that are gone.
        n_read: Headers that this update read.
        n_taken_over: Headers that an interrupted update had read.
        kinds: Kind of object → its number.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    n_objects: int
    n_new: int
    n_changed: int
    n_vanished: int
    n_read: int
    n_taken_over: int
    kinds: Mapping[str, int]

    @property
    def n_failed(self) -> int:
        """The number of objects whose header cannot be read."""
        return sum(self.kinds.get(kind, 0) for kind in (ObjectKind.UNREADABLE, ObjectKind.NOT_READ))


class IndexHead(JsonRecord):
    """`header_index/head-NNNNN.json`: one state of the index.

    Attributes:
        updated_at: When the archive was listed for it, in UTC.
        seconds: How long the update took.
        parts: The keys of its tables.
        counts: What the update found.
    """

    remedy: ClassVar[str] = (
        f"remove {output_layout.HEADER_INDEX_PREFIX} from the private tree; the command `index` makes the index again"
    )

    index_version: Literal[1] = 1
    updated_at: datetime
    seconds: float
    parts: tuple[str, ...]
    counts: IndexCounts

    @property
    def headers_per_s(self) -> float | None:
        """The headers read per second of the whole update; None if none was read."""
        return self.counts.n_read / self.seconds if self.counts.n_read and self.seconds else None

    def summary(self) -> dict[str, Any]:
        """Return the numbers of the update as JSON has them. They name nobody."""
        speed = self.headers_per_s
        return {
            **self.counts.model_dump(),
            "updated_at": self.updated_at.isoformat(),
            "seconds": self.seconds,
            "headers_per_s": speed and round(speed, 1),
        }


def head_numbers(private: Store) -> list[int]:
    """Return the numbers of the heads that are there, in ascending order.

    Args:
        private: The private tree.
    """
    keys = (info.key for info in private.list(output_layout.HEADER_INDEX_PREFIX))
    return sorted(int(match["number"]) for match in map(output_layout.HEADER_INDEX_HEAD.fullmatch, keys) if match)


def newest_head(private: Store) -> tuple[int, IndexHead] | None:
    """Return the number and the contents of the head that counts, or None if there is no index.

    Args:
        private: The private tree.

    Raises:
        DamagedRecordError: The head cannot be read.
    """
    while numbers := head_numbers(private):
        head = IndexHead.read(private, output_layout.header_index_head(numbers[-1]))
        if head is not None:  # else a later build has removed it meanwhile
            return numbers[-1], head
    return None


def stored_headers(private: Store) -> ds.FileSystemDataset:
    """Return the rows of the index, with schema `HEADERS`. They are none if there is no index.

    Args:
        private: The private tree.

    Raises:
        DamagedRecordError: The index cannot be read.
    """
    found = newest_head(private)
    return _tables(private, found[1].parts if found else ())


def rows_of_part(private: Store, key: str) -> Iterator[pa.RecordBatch]:
    """Yield the rows of one table of the index. A table that is gone or damaged has no rows.

    Args:
        private: The private tree.
        key: The table's key.
    """
    try:
        yield from _tables(private, (key,)).to_batches()
    except (OSError, pa.ArrowException):
        return  # what is lost is read again from the archive


def _tables(private: Store, keys: tuple[str, ...]) -> ds.FileSystemDataset:
    filesystem, root = private.arrow()
    return ds.dataset([f"{root}/{key}" for key in keys], schema=HEADERS, format="parquet", filesystem=filesystem)
