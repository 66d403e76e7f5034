"""A DuckDB database in memory with the tables of a lineage, which aggregates frames to studies.

Millions of rows never become Python objects: tokens stay in the database, and statistics get arrays of numbers in the
order of the studies' tokens. Sums are taken over decimals, which are exact, so that they do not depend on the order
in which threads add and the same run gives the same bytes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.dataset

from diagchd_batch.errors import RunFault
from diagchd_batch.evaluation.study_score import ScoreDefinition
from diagchd_batch.process.memory_database import memory_database
from diagchd_batch.results.columns import PREDICTIONS
from diagchd_batch.results.lineage import latest_rows_sql

MEMORY_LIMIT_BYTES = 1_200_000_000
"""Memory limit of the database, which writes the rest to a private directory. Arrays and tables are not included."""

_BATCH_ROWS = 65_536

_NOT_LOADED = {
    *("subject_id", "study_id", "frame_time_ms", "shard", "chd_call", "quality_flags"),
    *("region_top", "region_left", "region_height", "region_width", "region_source"),
    *("pixel_height_mm", "pixel_width_mm"),
}
_FRAME_COLUMNS = ", ".join(name for name in PREDICTIONS.names if name not in _NOT_LOADED)
_READ_COLUMNS = f"study_id, len(quality_flags) > 0 AS flagged, {_FRAME_COLUMNS}"


@dataclass(frozen=True)
class RunTables:
    """The predictions of one run and the studies of its plan (schema PLAN_STUDIES)."""

    run_id: str
    predictions: pyarrow.dataset.Dataset
    studies: pa.RecordBatchReader


class CohortDatabase:
    """A temporary database with the tables `planned` and `frames`. Use it as a context manager.

    `planned` has one row for each study of the inventory: `study`, its number from 0 in the order of tokens; `subject`,
    likewise; `study_id`, `subject_id`, `source_study_id`, `accession_number`, `manifest_label`, `included`,
    `exclude_reasons` and `planned_images`.

    `frames` has one row for each frame or failed file: the columns of `predictions` with `study` and `subject` in place
    of their tokens, and `flagged`, whether it has a quality flag.

    Args:
        memory_limit_bytes: Memory limit of the database.

    Attributes:
        has_clips: Whether any file has several frames. Without clips a row of `frames` is an image, and the costly
            grouping of frames by image is left out.
    """

    has_clips: bool = False

    def __init__(self, memory_limit_bytes: int = MEMORY_LIMIT_BYTES) -> None:
        self._database = memory_database(spills=True, max_memory_bytes=memory_limit_bytes)

    def __enter__(self) -> Self:
        self.connection = self._database.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._database.__exit__(kind, error, trace)

    def execute(self, sql: str) -> None:
        """Run a statement that has no result."""
        self.connection.execute(sql)

    def table(self, sql: str, parameters: Sequence[Any] = ()) -> pa.Table:
        """Return a result as an Arrow table.

        Args:
            sql: One SELECT.
            parameters: Values of the placeholders ``?``.
        """
        return self.connection.sql(sql, params=list(parameters)).to_arrow_table()

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[dict[str, Any]]:
        """Return a small result as dictionaries.

        Args:
            sql: One SELECT.
            parameters: Values of the placeholders ``?``.

        Returns:
            One dictionary a row, by column name.
        """
        return self.table(sql, parameters).to_pylist()

    def scalar(self, sql: str, parameters: Sequence[Any] = ()) -> Any:
        """Return the first value of a result.

        Args:
            sql: One SELECT of at least one row.
            parameters: Values of the placeholders ``?``.
        """
        return self.table(sql, parameters).column(0)[0].as_py()

    def arrays(self, sql: str, parameters: Sequence[Any] = ()) -> dict[str, np.ndarray]:
        """Return a result's columns as arrays.

        Args:
            sql: One SELECT.
            parameters: Values of the placeholders ``?``.

        Returns:
            Column name → array of shape (n_rows,). Numbers are float64 with NaN for null; text is object with None for
            null.
        """
        table = self.table(sql, parameters)
        return {name: _to_numpy(table.column(name)) for name in table.column_names}

    def stream(self, sql: str) -> pa.RecordBatchReader:
        """Return a large result, batch by batch."""
        return self.connection.sql(sql).to_arrow_reader(_BATCH_ROWS)

    def register(self, name: str, table: pa.Table | pa.RecordBatchReader | pyarrow.dataset.Dataset) -> None:
        """Make Arrow data readable under a name.

        Args:
            name: The name in SQL.
            table: A table, a dataset, or a reader, which can be read only once.
        """
        self.connection.register(name, table)

    def load(self, lineage: Sequence[RunTables]) -> None:
        """Fill the tables.

        The latest row of each frame with status `ok` counts, and so does the latest plan that has the study.

        Args:
            lineage: The runs of a lineage, oldest first.

        Raises:
            RunFault: Scores and plan do not belong together.
        """
        self._one_run = len(lineage) == 1
        self._load_planned(lineage)
        self._load_frames(lineage)
        self.has_clips = bool(self.scalar("SELECT coalesce(max(source_frames) > 1, false) FROM frames"))
        pa.default_memory_pool().release_unused()  # leave the memory to the statistics' arrays

    def scored_images(self, definition: ScoreDefinition) -> str:
        """Return SQL for the image files with the columns `study`, `subject`, `image_id`, `score` and `evaluable`.

        The score is float64, and null if no frame of the file was scored. An image is evaluable if any of its frames
        is, or if the model has no view check.

        Args:
            definition: How frames make an image's score.
        """
        if not self.has_clips:
            return (
                "(SELECT study, subject, image_id, CAST(chd_probability AS DOUBLE) AS score, "
                "coalesce(evaluable, true) AS evaluable FROM frames)"
            )
        return (
            f"(SELECT study, min(subject) AS subject, image_id, {definition.image_sql} AS score, "
            "coalesce(bool_or(coalesce(evaluable, true)) FILTER (status = 'ok'), true) AS evaluable "
            "FROM frames GROUP BY study, image_id)"
        )

    def scored_studies(self, definition: ScoreDefinition) -> str:
        """Return SQL for `planned` with the counts, the score and the source resolution of each study's frames.

        Args:
            definition: How frames make a study's score.
        """
        # Counting distinct images is slow, and for one run the plan has the number.
        images = "CAST(NULL AS BIGINT)" if self._one_run else "count(DISTINCT image_id)"
        return f"""(
            SELECT study, subject, study_id, subject_id, included, exclude_reasons,
                   coalesce(n_counted_images, planned_images) AS n_images, coalesce(n_frames_ok, 0) AS n_frames_ok,
                   coalesce(n_frames_failed, 0) AS n_frames_failed, coalesce(n_frames_flagged, 0) AS n_frames_flagged,
                   coalesce(n_frames_evaluable, 0) AS n_frames_evaluable, fold,
                   score, error_code, source.height || '×' || source.width AS source_resolution,
                   source.pixels AS source_pixels
            FROM planned LEFT JOIN (
                SELECT study,
                       {images} AS n_counted_images,
                       count(*) FILTER (status = 'ok') AS n_frames_ok,
                       count(*) FILTER (status <> 'ok') AS n_frames_failed,
                       count(*) FILTER (flagged) AS n_frames_flagged,
                       count(*) FILTER (status = 'ok' AND coalesce(evaluable, true)) AS n_frames_evaluable,
                       min(error_code) AS error_code, max(fold) AS fold,
                       max({{pixels: CAST(source_height AS BIGINT) * source_width, height: source_height,
                             width: source_width}}) FILTER (status = 'ok') AS source
                FROM frames GROUP BY study
            ) USING (study) LEFT JOIN (
                SELECT study, {definition.study_sql} AS score FROM {self.scored_images(definition)} GROUP BY study
            ) USING (study)
        )"""

    def _load_planned(self, lineage: Sequence[RunTables]) -> None:
        def latest(column: str) -> str:
            # Not arg_max, which skips nulls: a label that a later manifest withdraws would stay.
            return f"arg_max_null({column}, generation)"

        parts = []
        for generation, run in enumerate(lineage):
            self.register(f"plan_{generation}", run.studies)
            parts.append(
                f"SELECT {generation} AS generation, study_id, subject_id, source_study_id, accession_number, label, "
                f"n_images, exclude_reasons FROM plan_{generation}"
            )
        self.execute(
            f"""
            CREATE TABLE planned AS
            SELECT row_number() OVER (ORDER BY study_id) - 1 AS study,
                   dense_rank() OVER (ORDER BY subject_id) - 1 AS subject, *
            FROM (
                SELECT study_id, {latest("subject_id")} AS subject_id, {latest("source_study_id")} AS source_study_id,
                       {latest("accession_number")} AS accession_number, {latest("label")} AS manifest_label,
                       {latest("n_images")} AS planned_images,
                       {latest("n_images")} > 0 AS included, {latest("exclude_reasons")} AS exclude_reasons
                FROM ({" UNION ALL ".join(parts)}) GROUP BY study_id
            )
            """
        )

    def _load_frames(self, lineage: Sequence[RunTables]) -> None:
        n_rows = 0
        for generation, run in enumerate(lineage):
            self.register(f"run_{generation}", run.predictions)
            n_rows += run.predictions.count_rows()
        if self._one_run:
            self._create_frames("frames", f"SELECT {_READ_COLUMNS} FROM run_0", n_rows, lineage)
            return
        parts = [f"SELECT {place} AS generation, {_READ_COLUMNS} FROM run_{place}" for place in range(len(lineage))]
        self._create_frames("all_frames", " UNION ALL ".join(parts), n_rows, lineage)
        self.execute(f"CREATE TABLE frames AS {latest_rows_sql('all_frames')}")
        self.execute("DROP TABLE all_frames")

    def _create_frames(self, table: str, source: str, n_rows: int, lineage: Sequence[RunTables]) -> None:
        self.execute(
            f"CREATE TABLE {table} AS SELECT study, subject, source.* EXCLUDE (study_id) "
            f"FROM ({source}) AS source JOIN planned USING (study_id)"
        )
        found = self.scalar(f"SELECT count(*) FROM {table}")
        if found != n_rows:
            runs = ", ".join(run.run_id for run in lineage)
            raise RunFault(
                f"{n_rows - found} score rows of {runs} belong to studies that the plan does not have; "
                "run the command `verify` on this output"
            )


def _to_numpy(column: pa.ChunkedArray) -> np.ndarray:
    if pa.types.is_string(column.type) or pa.types.is_dictionary(column.type) or pa.types.is_boolean(column.type):
        return column.to_numpy()
    if column.null_count:
        return column.cast(pa.float64()).to_numpy()
    return column.to_numpy()
