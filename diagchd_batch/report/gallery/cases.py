"""Chooses the frames that a gallery shows: the worst, the best and the flagged ones, and those of single studies."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import duckdb
import pyarrow.dataset as ds

from diagchd_batch.process.memory_database import memory_database
from diagchd_batch.report.report_data import Row, matching
from diagchd_batch.results.lineage import latest_rows_sql

_DICE = "CASE WHEN {0}_px + reference_px_{0} > 0 THEN 2.0 * intersection_px_{0} / ({0}_px + reference_px_{0}) END"
_HAS_MASK = "dice IS NOT NULL"
_HIGHEST_FIRST = "probability DESC"

_SCORED_FRAMES = f"""
SELECT run_id, shard, study_id, image_id, frame, source_height, source_width,
       CAST(chd_probability AS DOUBLE) AS probability, quality_flags AS flags,
       CASE WHEN reference_status = 'ok' THEN {_DICE.format("septum")} END AS septum,
       CASE WHEN reference_status = 'ok' THEN {_DICE.format("heart")} END AS heart,
       status, list_position($runs, run_id) AS generation
FROM predictions WHERE status = 'ok' AND list_contains($runs, run_id)
"""


_STUDY_ROWS = """
SELECT image_id, frame, status, error_code, list_position($runs, run_id) AS generation
FROM predictions WHERE study_id = $study AND list_contains($runs, run_id)
"""
_FAILED_ROWS = f"""
SELECT error_code, count(*) FROM ({latest_rows_sql(f"({_STUDY_ROWS})")})
WHERE status <> 'ok' GROUP BY error_code ORDER BY error_code
"""


@dataclass(frozen=True)
class Case:
    """A scored frame.

    Attributes:
        run_id: The run that scored it.
        shard: The shard that holds its row.
        study_id: The token of its study.
        image_id: The token of its image.
        frame: Its number within the image, from 0.
        source_height: Height of the source frame in pixels.
        source_width: Width of the source frame in pixels.
        probability: The probability of CHD.
        flags: Its quality flags.
        dice: Mean Dice of septum and heart. None without a reference mask, or where both masks are empty.
    """

    run_id: str
    shard: int
    study_id: str
    image_id: str
    frame: int
    source_height: int
    source_width: int
    probability: float
    flags: tuple[str, ...]
    dice: float | None


class LineageFrames:
    """The scored frames of a lineage. `lineage_frames` returns it."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, lineage: Sequence[str]) -> None:
        self._connection = connection
        self._lineage = list(lineage)

    def remarkable(self, worst_cases: Sequence[Row], n: int) -> dict[str, list[Case]]:
        """Return the worst, the best and the flagged cases.

        A study that was called wrongly is shown by the frame whose probability supports the wrong call most.

        Args:
            worst_cases: Rows of the table `worst_cases`.
            n: The largest number of cases in a group.

        Returns:
            The cases of each group by the group's title. Groups without cases are omitted.
        """

        def of_kind(kind: str, order: str) -> list[Case]:
            rows = sorted(matching(worst_cases, kind=kind), key=lambda row: row["rank"])[:n]
            return [case for row in rows for case in self._first("study_id = ?", order, 1, row["study_id"])]

        groups = {
            "Diseased studies called negative": of_kind("false_negative", "probability"),
            "Healthy studies called positive": of_kind("false_positive", _HIGHEST_FIRST),
            "Lowest Dice": self._first(_HAS_MASK, "dice", n),
            "Highest Dice": self._first(_HAS_MASK, "dice DESC", n),
            "Flagged": self._first("len(flags) > 0", "len(flags) DESC", n),
        }
        return {title: cases for title, cases in groups.items() if cases}

    def highest_of(self, study_ids: Sequence[str]) -> list[Case]:
        """Return the frame with the highest probability of each study, in the order of the studies.

        Args:
            study_ids: The studies' tokens. A study without a scored frame is left out.
        """
        found = self.images_of(study_ids)
        return [max(found[name], key=lambda case: case.probability) for name in study_ids if name in found]

    def images_of(self, study_ids: Sequence[str]) -> dict[str, list[Case]]:
        """Return the images of studies. An image with several frames is shown by that with the highest probability.

        Args:
            study_ids: The studies' tokens.

        Returns:
            The cases of each study that has a scored frame, in the order of the images' tokens.
        """
        cases = self._first("list_contains(?, study_id)", _HIGHEST_FIRST, None, list(study_ids))
        images: dict[str, list[Case]] = {}
        for case in sorted(cases, key=lambda case: case.image_id):
            images.setdefault(case.study_id, []).append(case)
        return images

    def failures_of(self, study_id: str) -> dict[str, int]:
        """Return the number of failed rows of a study by error code.

        Args:
            study_id: The study's token.
        """
        found = self._connection.execute(_FAILED_ROWS, {"runs": self._lineage, "study": study_id})
        return dict(found.fetchall())

    def _first(self, condition: str, order: str, n: int | None, *values: object) -> list[Case]:
        """Return the first frames in an order, one of each image, so that a clip does not fill a group."""
        limit = "" if n is None else f"LIMIT {n:d}"
        found = self._connection.sql(
            f"SELECT * FROM frames WHERE {condition} "
            f"QUALIFY row_number() OVER (PARTITION BY image_id ORDER BY {order}, frame) = 1 "
            f"ORDER BY {order}, image_id, frame {limit}",
            params=values,
        )
        rows = found.to_arrow_table().to_pylist()
        return [Case(**{**row, "flags": tuple(row["flags"] or ())}) for row in rows]


@contextmanager
def lineage_frames(predictions: ds.Dataset, lineage: Sequence[str]) -> Iterator[LineageFrames]:
    """Hold the scored frames of a lineage while the block lasts.

    Args:
        predictions: Predictions of the output.
        lineage: Run ids, the oldest first. If several runs scored a frame, the latest counts.

    Yields:
        The frames.
    """
    with memory_database(spills=True) as connection:
        connection.register("predictions", predictions)
        connection.execute(
            f"""
            CREATE TABLE frames AS
            SELECT * EXCLUDE (status, septum, heart), coalesce((septum + heart) / 2, septum, heart) AS dice
            FROM ({latest_rows_sql(f"({_SCORED_FRAMES})")})
            """,
            {"runs": list(lineage)},
        )
        yield LineageFrames(connection, lineage)
