"""Selects the images that a run plans if it builds on earlier runs, or on the folds of a training.

A selection reduces table `images` to the images to plan. It reduces table `studies` to the studies of these images and
those that differ from the earlier plans. The evaluation reads the studies of all plans of a lineage and uses the latest
row of each.
"""

from collections.abc import Callable, Mapping, Sequence

import pyarrow as pa

from diagchd_batch.studies import passes
from diagchd_batch.studies.plan.stored_plan import PLAN_STUDIES, Plan
from diagchd_batch.studies.scratch_database import ScratchDatabase

Select = Callable[[ScratchDatabase], None]
"""Reduces the tables `images` and `studies` of an inventory in place."""

# Versions are hashes because DuckDB can spill aggregates of numbers to disk, but not aggregates of text. A hash is
# never null, not even that of nulls, so `arg_max` does not skip any version.
_FILE_COLUMNS = (
    "study_id", "size_bytes", "etag", "modified_ns", "mask_uri", "mask_size_bytes", "mask_etag", "mask_modified_ns"
)  # fmt: skip
_FILE_VERSION = f"hash({', '.join(_FILE_COLUMNS)})"
_STUDY_COLUMNS = [name for name in PLAN_STUDIES.names if name not in ("study_id", "n_images")]
_STUDY_VERSION = f"hash({', '.join(_STUDY_COLUMNS)}, coalesce(n_images, 0))"

_EMPTY_TABLES = f"""
CREATE TABLE planned_before (image_id VARCHAR, frames INTEGER[], version UBIGINT, generation INTEGER);
CREATE TABLE files AS SELECT image_id, frames, {_FILE_VERSION} AS version FROM images;
CREATE TABLE wanted (image_id VARCHAR, frames INTEGER[]);
"""

_WANTED = """
CREATE OR REPLACE TEMP TABLE some_files AS SELECT * FROM files WHERE {these};
CREATE OR REPLACE TEMP TABLE some_before AS SELECT * FROM planned_before WHERE {these};
CREATE OR REPLACE TEMP TABLE done AS
-- frames of files that have not changed since they were planned; null: the run's frame rule
WITH changed AS (  -- the last plan of another version of the file; its scores replace those of earlier plans
    SELECT image_id, max(generation) AS generation
    FROM some_before JOIN some_files USING (image_id) WHERE some_before.version <> some_files.version
    GROUP BY image_id
)
SELECT DISTINCT image_id, frame FROM (
    SELECT image_id, unnest(coalesce(some_before.frames, [NULL])) AS frame
    FROM some_before SEMI JOIN some_files USING (image_id) LEFT JOIN changed USING (image_id)
    WHERE some_before.generation > coalesce(changed.generation, -1)
);
INSERT INTO wanted BY NAME
SELECT image_id, frames FROM some_files
WHERE frames IS NULL AND NOT EXISTS (SELECT 1 FROM done WHERE done.image_id = some_files.image_id AND frame IS NULL)
UNION ALL
SELECT image_id, list(frame ORDER BY frame) AS frames
FROM (SELECT image_id, unnest(frames) AS frame FROM some_files WHERE frames IS NOT NULL)
ANTI JOIN done USING (image_id, frame)
GROUP BY image_id;
"""

_SELECTED = """
DROP TABLE some_files;
DROP TABLE some_before;
DROP TABLE done;
DROP TABLE planned_before;
DROP TABLE files;
CREATE TABLE selected AS SELECT images.* REPLACE (wanted.frames AS frames) FROM images JOIN wanted USING (image_id);
"""

_CHANGED_STUDIES = f"""
CREATE TABLE selected_studies AS
SELECT studies.* FROM studies
LEFT JOIN (
        SELECT study_id, arg_max_null(version, generation) AS version FROM studies_before GROUP BY study_id
    ) AS before
    USING (study_id)
LEFT JOIN included_studies USING (study_id)
WHERE study_id IN (SELECT study_id FROM selected) OR before.version IS DISTINCT FROM {_STUDY_VERSION};
DROP TABLE studies;
ALTER TABLE selected_studies RENAME TO studies;
DROP TABLE images;
ALTER TABLE selected RENAME TO images;
"""


_HELD_OUT = """
CREATE TABLE selected AS SELECT images.* REPLACE (folds.fold AS fold) FROM images JOIN folds USING (study_id);
CREATE TABLE selected_studies AS SELECT * FROM studies SEMI JOIN selected USING (study_id);
DROP TABLE studies;
ALTER TABLE selected_studies RENAME TO studies;
DROP TABLE images;
ALTER TABLE selected RENAME TO images;
"""


def new_since(plans: Sequence[Plan]) -> Select:
    """Return a selection of the files that are new or changed since `plans`.

    A file is changed if its size, ETag, modification time, mask or study is another. If the manifest asks for further
    frames of an unchanged file, only these frames are planned.

    Args:
        plans: The plans of a lineage, the oldest first.
    """

    def select(database: ScratchDatabase) -> None:
        database.execute(_EMPTY_TABLES)
        for generation, plan in enumerate(plans):
            query = f"SELECT image_id, frames, {_FILE_VERSION} AS version, {generation} AS generation"
            for batch in plan.images(["image_id", "frames", *_FILE_COLUMNS]):
                database.insert("planned_before", batch, query)
        n_rows = max(database.count("files"), database.count("planned_before"))
        for these in passes.by_token("image_id", "i", n_rows):
            database.execute(_WANTED.format(these=these))
        database.execute(_SELECTED)
        keep_selected(database, plans)

    return select


def held_out_by(fold_of_study: Mapping[str, int]) -> Select:
    """Return a selection of the studies that a training's folds hold out. Each image gets the fold of its study.

    Args:
        fold_of_study: Token of a study → the number of the fold that holds it out, from 0.
    """

    def select(database: ScratchDatabase) -> None:
        database.execute("CREATE TABLE folds (study_id VARCHAR, fold INTEGER)")
        folds = pa.record_batch({"study_id": list(fold_of_study), "fold": list(fold_of_study.values())})
        database.insert("folds", folds, "SELECT study_id, fold")
        database.execute(_HELD_OUT)

    return select


def keep_selected(database: ScratchDatabase, plans: Sequence[Plan]) -> None:
    """Reduce table `images` to table `selected`, and `studies` to theirs and those that differ from the earlier plans.

    Args:
        database: The inventory, with a table `selected` of rows of `images`.
        plans: The plans of the lineage, the oldest first.
    """
    database.execute("CREATE TABLE studies_before (study_id VARCHAR, version UBIGINT, generation INTEGER)")
    for generation, plan in enumerate(plans):
        query = f"SELECT study_id, {_STUDY_VERSION} AS version, {generation} AS generation"
        for batch in plan.studies():
            database.insert("studies_before", batch, query)
    database.execute(_CHANGED_STUDIES)
