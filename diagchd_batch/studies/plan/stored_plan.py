"""The frozen plan of a run: which image files it scores, and in which shards. A plan is written once and only read."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ConfigDict, Field, field_validator

from diagchd_batch import output_layout
from diagchd_batch.errors import ItemError, RunFault
from diagchd_batch.json_records import JsonRecord
from diagchd_batch.sources.seekable_file import SeekableFile
from diagchd_batch.sources.source import LINKS_NOT_FOLLOWED
from diagchd_batch.storage import Store
from diagchd_batch.studies.layouts.object_counts import ObjectCounts
from diagchd_batch.studies.plan.digest import TableDigest
from diagchd_batch.studies.plan.plan_columns import PLAN_IMAGES as PLAN_IMAGES
from diagchd_batch.studies.plan.plan_columns import PLAN_STUDIES as PLAN_STUDIES
from diagchd_batch.studies.plan.planned_images import PlannedImage, ShardReference
from diagchd_batch.studies.plan.sharding import ShardSize

SHARDS_PER_PART = 256
PLAN_FORMAT = 2
_TABLE_SUFFIXES = {1: output_layout.PRIVATE_TABLE_SUFFIX_V1, PLAN_FORMAT: output_layout.PRIVATE_TABLE_SUFFIX}
"""The suffix of a plan's tables, for each format of plans that this version reads."""
READ_AHEAD_BYTES = 65_536
WHOLE_READ_AHEAD_BYTES = 8 << 20
"""The buffer for reading a part from beginning to end. It is large so that few requests are needed."""


class PlanHead(JsonRecord):
    """The numbers of a plan. They are stored as JSON, whose size depends on the number of shards, not of images."""

    model_config = ConfigDict(extra="ignore")  # whether this version can read a plan is what its format says
    remedy: ClassVar[str] = (
        "restore it from a backup, resume the run with the version that started it, or begin another run with --new-run"
    )
    indent: ClassVar[int | None] = None

    format: int = PLAN_FORMAT
    digest: str  # SHA-256 over all rows of images and studies
    created_by: str  # version of the package
    frames: str  # the rule for files whose frames the manifest does not name (images.frames.FrameRule)
    images_per_shard: int
    n_studies: int  # with at least one planned image
    n_subjects: int
    n_images: int  # planned image files
    n_masks: int  # planned images with a reference mask
    size_bytes: int  # sum over the image files that were listed
    n_excluded: int  # rows that the manifest excludes
    n_excluded_studies: int  # studies without any planned image
    n_studies_without_subject: int  # each of these is its own subject
    n_missing: int  # planned images that were not listed
    n_missing_masks: int  # planned masks that were not listed
    n_unlisted: int  # image files below input.uri that no row names
    n_studies_by_mother: int = 0  # planned studies without a PatientID, whose subject is the mother
    not_listed: dict[str, int] = Field(
        default_factory=dict
    )  # what the listing of the archive left out (sources.ListingGaps)
    skipped_files: dict[str, int] = Field(
        default_factory=dict
    )  # ending of a name → files below input.uri that are no images by name; '' for other names; empty in layout dicom
    objects: ObjectCounts | None = None  # what became of the archive's objects, in layout dicom
    shards: tuple[ShardSize, ...]

    @property
    def subjects_given(self) -> bool:
        """Whether the manifest names the subject of every planned study."""
        return self.n_studies_without_subject == 0

    @property
    def n_frames(self) -> int | None:
        """The number of frames that will be scored, as the index of headers has it; None without an index."""
        return self.objects.n_frames if self.objects else None

    @property
    def n_left_out(self) -> int:
        """How many files, directories or objects the listing left out, besides links to what is listed elsewhere."""
        return sum(n for kind, n in self.not_listed.items() if kind != LINKS_NOT_FOLLOWED)

    @property
    def requests_per_image(self) -> float:
        """How often a PACS is asked for an image on average, as far as the index of headers tells."""
        n_second = self.objects.n_frame_requests if self.objects else None
        return 1 + n_second / self.n_images if n_second and self.n_images else 1.0

    @property
    def n_shards(self) -> int:
        """The number of shards."""
        return len(self.shards)

    @property
    def n_parts(self) -> int:
        """The number of files that the plan's images are stored in."""
        return -(-len(self.shards) // SHARDS_PER_PART)

    @property
    def table_suffix(self) -> str:
        """The suffix of the names of the plan's tables."""
        return _TABLE_SUFFIXES[self.format]

    @field_validator("format")
    @classmethod
    def _is_read_by_this_version(cls, number: int) -> int:
        if number not in _TABLE_SUFFIXES:
            raise ValueError(f"the plan has format {number}, this version reads {', '.join(map(str, _TABLE_SUFFIXES))}")
        return number


class Plan:
    """A frozen plan in the private storage. It holds only the head, so it can be pickled and sent to workers."""

    def __init__(self, private: Store, run_id: str, head: PlanHead) -> None:
        self.run_id = run_id
        self.head = head
        self._private = private

    def shards(self) -> Iterator[ShardReference]:
        """Yield every shard in order. They come from the head, so no rows are read."""
        for shard, size in enumerate(self.head.shards):
            part, row_group = divmod(shard, SHARDS_PER_PART)
            yield ShardReference(shard, part, row_group, size.n_images, size.n_studies, size.size_bytes)

    def read_shard(self, reference: ShardReference) -> list[PlannedImage]:
        """Return the images of a shard in the order of their positions.

        Raises:
            RunFault: The part of the plan that holds the shard is missing or damaged.
        """
        with self._open(self._part_key(reference.part), fetched_row_group=reference.row_group) as file:
            columns = [name for name in PLAN_IMAGES.names if name in file.schema_arrow.names]
            table = file.read_row_group(reference.row_group, columns=columns, use_threads=False)
        if table.num_rows != reference.n_images:
            raise RunFault(f"shard {reference.shard} has {table.num_rows} rows, but its plan says {reference.n_images}")
        return [
            PlannedImage(**{**row, "frames": None if row["frames"] is None else tuple(row["frames"])})
            for row in table.to_pylist()
        ]

    def images(self, columns: list[str]) -> Iterator[pa.RecordBatch]:
        """Stream all planned images in the order of shards and positions.

        Args:
            columns: The names of the columns to read, from `PLAN_IMAGES`.

        Raises:
            RunFault: A part of the plan is missing or damaged.
        """
        for part in range(self.head.n_parts):
            with self._open(self._part_key(part), WHOLE_READ_AHEAD_BYTES) as file:
                yield from file.iter_batches(columns=columns, use_threads=False)

    def is_intact(self) -> bool:
        """Return whether the rows of images and studies still have the digest that the plan was frozen with.

        Raises:
            RunFault: A file of the plan is missing or cannot be read.
        """
        digest = TableDigest()
        for key in (*map(self._part_key, range(self.head.n_parts)), self._studies_key()):
            with self._open(key, WHOLE_READ_AHEAD_BYTES) as file:
                for row_group in range(file.num_row_groups):  # the digest was made of the same row groups
                    digest.update(file.read_row_group(row_group, use_threads=False))
        return digest.hexdigest() == self.head.digest

    def studies(self) -> pa.RecordBatchReader:
        """Stream all studies of the plan, including excluded ones, with the schema `PLAN_STUDIES`."""
        return pa.RecordBatchReader.from_batches(PLAN_STUDIES, self._study_batches())

    def _study_batches(self) -> Iterator[pa.RecordBatch]:
        with self._open(self._studies_key(), WHOLE_READ_AHEAD_BYTES) as file:
            for batch in file.iter_batches(columns=PLAN_STUDIES.names, use_threads=False):
                yield _with_later_columns(batch)

    def _part_key(self, part: int) -> str:
        return output_layout.plan_part(self.run_id, self.head.digest, part, self.head.table_suffix)

    def _studies_key(self) -> str:
        return output_layout.plan_studies(self.run_id, self.head.digest, self.head.table_suffix)

    @contextmanager
    def _open(
        self, key: str, read_ahead_bytes: int = READ_AHEAD_BYTES, *, fetched_row_group: int | None = None
    ) -> Iterator[pq.ParquetFile]:
        """Open a file of the plan, and fetch `fetched_row_group` in one request if it is given.

        Arrow neither pre-buffers the file nor reads it with threads. Its threads release the Python file late, which
        aborts a process that ends at that moment.
        """
        info = self._private.stat(key)
        if info is None:
            raise RunFault(f"the plan of run {self.run_id} is incomplete: {key} is gone from the private tree")
        try:
            stored = SeekableFile(self._private, key, info.size_bytes)
            with pq.ParquetFile(io.BufferedReader(stored, read_ahead_bytes), pre_buffer=False) as file:
                if fetched_row_group is not None:
                    stored.fetch(*_extent(file.metadata.row_group(fetched_row_group)))
                yield file
        except (pa.ArrowException, ItemError) as error:
            raise RunFault(f"the plan of run {self.run_id} cannot be read: {key}: {error}") from error


def _with_later_columns(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return rows of studies with nulls in the columns that the plan's version did not have."""
    columns = [
        batch[field.name] if field.name in batch.schema.names else pa.nulls(batch.num_rows, field.type)
        for field in PLAN_STUDIES
    ]
    return pa.record_batch(columns, schema=PLAN_STUDIES)


def _extent(row_group: pq.RowGroupMetaData) -> tuple[int, int]:
    """Return the first byte and the length of a row group's column chunks, including their dictionaries."""
    columns = [row_group.column(number) for number in range(row_group.num_columns)]
    starts = [
        min(filter(None, (column.dictionary_page_offset, column.data_page_offset)), default=0) for column in columns
    ]
    ends = [start + column.total_compressed_size for start, column in zip(starts, columns, strict=True)]
    return min(starts), max(ends) - min(starts)


def open_plan(private: Store, run_id: str) -> Plan:
    """Open the plan of an existing run.

    Args:
        private: The private tree of the output.
        run_id: The run.

    Returns:
        The plan. Its head is read; its images are read as they are asked for.

    Raises:
        RunFault: The run has no plan.
        DamagedRecordError: The plan's head is damaged or has a format that this version does not read.
    """
    head = PlanHead.read(private, output_layout.plan_head(run_id))
    if head is None:
        raise RunFault(
            f"run {run_id} has no plan in the private tree; name that tree with --private-uri if it lies elsewhere, or "
            "submit the run's job file to make one"
        )
    return Plan(private, run_id, head)
