"""Chooses the frames that a gallery shows: the worst, the best and the flagged ones."""

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow.dataset as ds

from diagchd_batch.process.memory_database import memory_database
from diagchd_batch.report.report_data import Row, matching
from diagchd_batch.results.lineage import latest_rows_sql

_DICE = "CASE WHEN {0}_px + reference_px_{0} > 0 THEN 2.0 * intersection_px_{0} / ({0}_px + reference_px_{0}) END"
_HAS_MASK = "dice IS NOT NULL"

_SCORED_FRAMES = f"""
SELECT run_id, shard, study_id, image_id, frame, source_height, source_width,
       CAST(chd_probability AS DOUBLE) AS probability, quality_flags AS flags,
       CASE WHEN reference_status = 'ok' THEN {_DICE.format("septum")} END AS septum,
       CASE WHEN reference_status = 'ok' THEN {_DICE.format("heart")} END AS heart,
       status, list_position($runs, run_id) AS generation
FROM predictions WHERE status = 'ok' AND list_contains($runs, run_id)
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


def choose_cases(
    predictions: ds.Dataset, lineage: Sequence[str], worst_cases: Sequence[Row], n: int
) -> dict[str, list[Case]]:
    """Choose the cases of a gallery.

    A study that was called wrongly is shown by the frame whose probability supports the wrong call most.

    Args:
        predictions: Predictions of the output.
        lineage: Run ids, the oldest first. If several runs scored a frame, the latest counts.
        worst_cases: Rows of the table `worst_cases`.
        n: The largest number of cases in a group.

    Returns:
        The cases of each group by the group's title. Groups without cases are omitted.
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

        def frames(condition: str, order: str, *values: object) -> list[Case]:
            """Return the first frames in an order, one of each image, so that a clip does not fill a group."""
            found = connection.sql(
                f"SELECT * FROM frames WHERE {condition} "
                f"QUALIFY row_number() OVER (PARTITION BY image_id ORDER BY {order}, frame) = 1 "
                f"ORDER BY {order}, image_id, frame LIMIT {n:d}",
                params=values,
            )
            rows = found.to_arrow_table().to_pylist()
            return [Case(**{**row, "flags": tuple(row["flags"] or ())}) for row in rows]

        def of_studies(kind: str, order: str) -> list[Case]:
            rows = sorted(matching(worst_cases, kind=kind), key=lambda row: row["rank"])[:n]
            return [case for row in rows for case in frames("study_id = ?", order, row["study_id"])[:1]]

        groups = {
            "Diseased studies called negative": of_studies("false_negative", "probability"),
            "Healthy studies called positive": of_studies("false_positive", "probability DESC"),
            "Lowest Dice": frames(_HAS_MASK, "dice"),
            "Highest Dice": frames(_HAS_MASK, "dice DESC"),
            "Flagged": frames("len(flags) > 0", "len(flags) DESC"),
        }
    return {title: cases for title, cases in groups.items() if cases}
