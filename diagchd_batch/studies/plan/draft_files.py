"""Turns an inventory into the files of a plan in a local directory, and into the plan's head."""

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from diagchd_batch import __version__, output_layout
from diagchd_batch.studies import passes
from diagchd_batch.studies.inventory import count_skipped, count_unlisted
from diagchd_batch.studies.layouts.object_counts import ObjectCounts
from diagchd_batch.studies.plan.digest import TableDigest
from diagchd_batch.studies.plan.sharding import ShardSize, images_per_shard, pack_studies
from diagchd_batch.studies.plan.stored_plan import PLAN_IMAGES, PLAN_STUDIES, SHARDS_PER_PART, PlanHead
from diagchd_batch.studies.scratch_database import ScratchDatabase

STUDIES_PER_ROW_GROUP = 65_536
_IMAGE_COLUMNS = ", ".join(name for name in PLAN_IMAGES.names if name not in ("shard", "position"))

_STUDY_IMAGES = """
CREATE TABLE study_images AS
SELECT study_id, count(*) AS n_images, coalesce(sum(size_bytes), 0)::BIGINT AS size_bytes, any_value(fold) AS fold
FROM images GROUP BY study_id
"""
_FOLDS = "SELECT DISTINCT fold FROM study_images ORDER BY fold NULLS LAST"
_STUDY_SIZES = "SELECT fold, n_images, size_bytes FROM study_images WHERE {these} ORDER BY fold NULLS LAST, study_id"
_IMAGES = f"SELECT {_IMAGE_COLUMNS} FROM images WHERE {{these}} ORDER BY fold NULLS LAST, study_id, uri"
_STUDIES = """
SELECT studies.*, coalesce(included_studies.n_images, 0) AS n_images
FROM studies LEFT JOIN (SELECT * FROM included_studies WHERE {these}) AS included_studies USING (study_id)
WHERE {these} ORDER BY study_id
"""
_COUNTS = {
    "n_studies": "SELECT count(*) FROM study_images",
    "n_subjects": """
        SELECT count(*) FROM (SELECT DISTINCT subject_id FROM studies SEMI JOIN study_images USING (study_id))""",
    "n_images": "SELECT count(*) FROM images",
    "n_masks": "SELECT count(mask_uri) FROM images",
    "size_bytes": "SELECT coalesce(sum(size_bytes), 0)::BIGINT FROM images",
    "n_excluded": "SELECT count(excluded_because) FROM entries",
    "n_excluded_studies": "SELECT count(*) FROM studies ANTI JOIN included_studies USING (study_id)",
    "n_studies_without_subject": """
        SELECT count(*) FROM studies SEMI JOIN study_images USING (study_id) WHERE source_subject_id IS NULL""",
    "n_studies_by_mother": """
        SELECT count(*) FROM studies SEMI JOIN study_images USING (study_id) WHERE subject_from = 'mother'""",
    "n_missing": "SELECT count(*) FROM images WHERE is_missing",
    "n_missing_masks": "SELECT count(*) FROM images WHERE mask_is_missing",
}


def part_file(directory: Path, part: int) -> Path:
    """Return the path of one part of a draft.

    Args:
        directory: The draft's directory.
        part: The part's number, from 0.
    """
    return directory / output_layout.plan_part_name(part)


def write_draft(
    database: ScratchDatabase,
    frames: str,
    shard_setting: int | Literal["auto"],
    directory: Path,
    objects: ObjectCounts | None = None,
    not_listed: dict[str, int] | None = None,
) -> PlanHead:
    """Write the plan's parts and its studies to `directory`.

    Images are in the order of their study's token and then of their URI, so that the order of studies does not reveal
    their dates. If they have folds, the images of each fold come together, and no shard holds two folds. The digest is
    made of the rows, so it does not depend on the version of the Parquet writer.

    Args:
        database: An inventory, as `open_inventory` gives it.
        frames: The rule for files whose frames the manifest does not name (`images.frames.FrameRule`).
        shard_setting: The images per shard that the job file asks for.
        directory: An empty local directory.
        objects: What became of the archive's objects, in layout `dicom`.
        not_listed: What the listing of the archive left out.

    Returns:
        The head of the plan.

    Raises:
        OSError: The files cannot be written.
    """
    database.execute(_STUDY_IMAGES)
    counts = {name: row[0] for name, sql in _COUNTS.items() if (row := database.row(sql))}
    limit = images_per_shard(counts["n_images"], shard_setting)
    shards = [
        shard
        for _, sizes in groupby(_study_sizes(database), key=lambda study: study[0])
        for shard in pack_studies((size[1:] for size in sizes), limit)
    ]
    digest = TableDigest()
    _write_images(database, shards, directory, digest)
    _write_studies(database, database.count("studies"), directory / output_layout.PLAN_STUDIES_NAME, digest)
    return PlanHead(
        digest=digest.hexdigest(),
        created_by=__version__,
        frames=frames,
        images_per_shard=limit,
        n_unlisted=count_unlisted(database),
        skipped_files={} if objects else count_skipped(database),
        objects=objects,
        not_listed=not_listed or {},
        shards=tuple(shards),
        **counts,
    )


def _study_sizes(database: ScratchDatabase) -> Iterator[tuple[int | None, int, int]]:
    """Yield fold, number of images and bytes of each study."""
    for batch in _in_order_of_folds(database, _STUDY_SIZES, "study_images"):
        columns = (batch[name].to_pylist() for name in ("fold", "n_images", "size_bytes"))
        yield from zip(*columns, strict=True)


def _write_images(database: ScratchDatabase, shards: list[ShardSize], directory: Path, digest: TableDigest) -> None:
    rows = _Rows(_in_order_of_folds(database, _IMAGES, "images"))
    for part, first in enumerate(range(0, len(shards), SHARDS_PER_PART)):
        # The footer is read again for each shard, and it is much smaller without statistics.
        file = part_file(directory, part)
        with pq.ParquetWriter(file, PLAN_IMAGES, compression="zstd", write_statistics=False) as writer:
            for shard in range(first, min(first + SHARDS_PER_PART, len(shards))):
                table = rows.take(shards[shard].n_images)
                table = table.append_column("shard", pa.repeat(pa.scalar(shard, pa.int32()), table.num_rows))
                table = table.append_column("position", pa.array(np.arange(table.num_rows, dtype=np.int32)))
                table = table.select(PLAN_IMAGES.names).cast(PLAN_IMAGES)
                digest.update(table)
                writer.write_table(table, row_group_size=table.num_rows)


def _write_studies(database: ScratchDatabase, n_studies: int, file: Path, digest: TableDigest) -> None:
    ranges = passes.by_token("study_id", "s", n_studies)
    rows = _Rows(batch for these in ranges for batch in database.stream(_STUDIES.format(these=these)))
    with pq.ParquetWriter(file, PLAN_STUDIES, compression="zstd") as writer:
        for first in range(0, n_studies, STUDIES_PER_ROW_GROUP):
            table = rows.take(min(STUDIES_PER_ROW_GROUP, n_studies - first))
            table = table.select(PLAN_STUDIES.names).cast(PLAN_STUDIES)
            digest.update(table)
            writer.write_table(table)


def _in_order_of_folds(database: ScratchDatabase, sql: str, table: str) -> Iterator[pa.RecordBatch]:
    """Stream rows in the order of folds and of studies' tokens, sorted in passes if there are many."""
    ranges = passes.by_token("study_id", "s", database.count(table))
    if len(ranges) == 1:  # one statement sorts the folds, too
        yield from database.stream(sql.format(these="true"))
        return
    for (fold,) in database.rows(_FOLDS):
        of_fold = "fold IS NULL" if fold is None else f"fold = {fold}"
        for these in ranges:
            yield from database.stream(sql.format(these=f"{of_fold} AND {these}"))


class _Rows:
    """Takes any number of consecutive rows from a stream of batches."""

    def __init__(self, batches: Iterator[pa.RecordBatch]) -> None:
        self._batches = batches
        self._waiting: list[pa.RecordBatch] = []
        self._n_waiting = 0

    def take(self, n_rows: int) -> pa.Table:
        while self._n_waiting < n_rows:
            batch = next(self._batches)
            self._waiting.append(batch)
            self._n_waiting += batch.num_rows
        waiting = pa.Table.from_batches(self._waiting)
        self._waiting = waiting.slice(n_rows).to_batches()
        self._n_waiting -= n_rows
        return waiting.slice(0, n_rows)
