"""Accuracy by image file. Images of one subject are correlated, so inference clusters on the subject.

A clip is one image, whose score its frames make as `evaluation.image_score` says.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from diagchd_batch.config.job_file import OperatingPoint
from diagchd_batch.evaluation.database import CohortDatabase
from diagchd_batch.evaluation.operating_points import model_rater, point_columns
from diagchd_batch.evaluation.performance.accuracy import auc_and_brier_rows, call_rows
from diagchd_batch.evaluation.study_score import ScoreDefinition
from diagchd_batch.evaluation.tables.rows import Row, RowBuilder
from diagchd_batch.evaluation.units_and_raters import Rater, Units, complete_cases, known_folds
from diagchd_batch.statistics.classification import estimate_rate

_NOT_ENTERED = (
    "CASE WHEN score IS NULL THEN 'failed' WHEN NOT evaluable THEN 'not_evaluable' "
    "WHEN label IS NULL THEN 'without_reference' END"
)


def image_rows(
    rows: RowBuilder, database: CohortDatabase, model: str, points: Sequence[OperatingPoint]
) -> Iterator[Row]:
    """Evaluate every scored image that is evaluable against its study's reference label.

    Args:
        rows: Columns that all rows share.
        database: A database with the tables `frames` and `labels`.
        model: The model's name in tables.
        points: The operating points.

    Yields:
        Rows of `estimates`: counts, rates and scores, and the figures of the original's own evaluation by class.
    """
    units, score = _load(database, rows.settings.score)
    if not len(units):
        return
    no_reason = np.zeros(len(units), dtype=np.int8)
    for point in points:
        rater = model_rater(model, score, no_reason, point)
        yield from call_rows(rows.with_columns(**point_columns(point)), units, rater, headline=False)
    yield from auc_and_brier_rows(rows, units, Rater("model", model, np.zeros(len(units)), no_reason, score))
    # The original calls a probability of exactly 0.5 normal: its arg-max takes the first of two equal probabilities.
    original = Rater("model", model, (score > 0.5).astype(np.float64), no_reason)
    yield from _original_rows(rows.with_columns(analysis_set="original"), units, original)


def _load(database: CohortDatabase, definition: ScoreDefinition) -> tuple[Units, np.ndarray]:
    images = database.scored_images(definition)
    other_exclusions = database.rows(
        f"SELECT {_NOT_ENTERED} AS reason, count(*) AS n FROM {images} JOIN labels USING (study) "
        f"WHERE {_NOT_ENTERED} IS NOT NULL GROUP BY reason ORDER BY reason"
    )
    columns = database.arrays(
        f"SELECT subject, CAST(label AS DOUBLE) AS truth, score, CAST(fold AS DOUBLE) AS fold FROM {images} "
        f"JOIN labels USING (study) JOIN (SELECT study, fold FROM results) USING (study) "
        f"WHERE {_NOT_ENTERED} IS NULL ORDER BY study, score"
    )
    exclusions = {row["reason"]: row["n"] for row in other_exclusions}
    folds = known_folds(columns["fold"].astype(np.float64))
    units = Units("image", columns["subject"], columns["truth"], exclusions, folds)
    return units, columns["score"].astype(np.float64)


def _original_rows(rows: RowBuilder, units: Units, model: Rater) -> Iterator[Row]:
    """Estimate precision, recall and F1 of both classes at the arg-max, as the original's evaluation reports them."""
    part = complete_cases(units, model)
    here = rows.for_raters(units, model).with_counts(units, part)
    truth, call, subject = units.truth[part.rows], model.call[part.rows], units.subject[part.rows]
    for class_, flipped in (("chd", False), ("normal", True)):
        of_class = (1 - truth, 1 - call) if flipped else (truth, call)
        for endpoint, rate in (("class_precision", "ppv"), ("class_recall", "sensitivity"), ("class_f1", "f1")):
            result = estimate_rate(rate, *of_class, subject, **rows.settings.rate)
            yield here.estimate(endpoint, result, **{"class": class_})
