"""Rows of the table `worst_cases`: the studies and images on which the model did worst."""

from collections.abc import Iterator

from diagchd_batch.evaluation.database import CohortDatabase
from diagchd_batch.evaluation.tables.rows import Row

WORST_CASES = 20
"""Number of cases of each kind."""


def worst_study_rows(database: CohortDatabase, threshold: float) -> Iterator[Row]:
    """Select the diseased studies with the lowest scores and the healthy ones with the highest.

    Args:
        database: A database with the table `results`.
        threshold: The operating point. Only studies on its wrong side are selected.

    Yields:
        At most `WORST_CASES` false negatives, then as many false positives, each the worst first.
    """
    for kind, label, wrong, order in (
        ("false_negative", 1, "score < ?", "score"),
        ("false_positive", 0, "score >= ?", "score DESC"),
    ):
        found = database.rows(
            f"SELECT study_id, score AS value, CAST(label AS TINYINT) AS reference_label FROM results "
            f"WHERE status = 'analysed' AND label = {label} AND {wrong} ORDER BY {order}, study LIMIT {WORST_CASES}",
            [threshold],
        )
        words = "diseased, score below" if label else "healthy, score at or above"
        for rank, row in enumerate(found, start=1):
            definition = f"study's score; {words} the threshold {threshold:g}"
            yield {"kind": kind, "rank": rank, **row, "definition": definition}


def worst_image_rows(database: CohortDatabase) -> Iterator[Row]:
    """Select the images with the lowest mean Dice of septum and heart. A clip is listed once, with its worst frame.

    Args:
        database: A database with the view `overlap`, which `segmentation_rows` creates.

    Yields:
        At most `WORST_CASES` rows, the worst first.
    """
    once = "QUALIFY row_number() OVER (PARTITION BY image_id ORDER BY dice_foreground, frame) = 1 "
    found = database.rows(
        "SELECT study_id, image_id, frame, dice_foreground AS value, CAST(label AS TINYINT) AS reference_label "
        "FROM overlap JOIN planned USING (study) JOIN labels USING (study) WHERE dice_foreground IS NOT NULL "
        f"{once if database.has_clips else ''}ORDER BY dice_foreground, image_id, frame LIMIT {WORST_CASES}"
    )
    for rank, row in enumerate(found, start=1):
        definition = "image's mean Dice of septum and heart"
        yield {"kind": "low_dice", "rank": rank, "class": "foreground", **row, "definition": definition}
