"""Rows of `estimates` about areas and lengths of predicted masks in millimetres: medians and quartiles over images.

A clip is one image, and its value is the mean of its calibrated frames' values.
"""

from collections.abc import Iterator

import numpy as np

from diagchd_batch.evaluation.database import CohortDatabase
from diagchd_batch.evaluation.tables.rows import Row, RowBuilder
from diagchd_batch.statistics.estimate import Estimate, NullReason
from diagchd_batch.statistics.segmentation import distribution

_CALIBRATED = "status = 'ok' AND spacing_status = 'ok'"
_MEASUREMENTS = (
    ("area_mm2", "heart", "heart_area_mm2"),
    ("area_mm2", "septum", "septum_area_mm2"),
    ("area_mm2", "whole_heart", "whole_heart_area_mm2"),
    ("length_mm", "septum", "septum_length_mm"),
)
"""Endpoint, class, and column of the scores."""

_QUARTILES = {"q1": "quartile_1", "median": "median", "q3": "quartile_3"}
"""Endpoint suffix → attribute of `Distribution`. Smallest and largest values would be those of single images."""


def measurement_rows(rows: RowBuilder, database: CohortDatabase, model: str) -> Iterator[Row]:
    """Describe the measurements of the predicted masks of all calibrated images.

    Args:
        rows: Columns that all rows share.
        database: A database with the table `frames`.
        model: The model's name in tables.

    Yields:
        Rows of `estimates`. There are none if no image is calibrated.
    """
    n_images = "count(DISTINCT image_id)" if database.has_clips else "count(*)"
    n_calibrated = database.scalar(f"SELECT {n_images} FROM frames WHERE {_CALIBRATED}")
    if not n_calibrated:
        return
    n_others = database.scalar(f"SELECT {n_images} FROM frames") - n_calibrated
    for endpoint, class_, column in _MEASUREMENTS:
        where = f"{_CALIBRATED} AND isfinite({column})"
        described = distribution(_of_images(database, column, where))
        reasons = {"not_calibrated": n_others, "class_not_predicted": n_calibrated - described.n}
        here = rows.with_columns(
            analysis_set="measurements",
            subject_kind="model",
            subject=model,
            cluster="subject",
            unit="image",
            class_=class_,
            n_units=described.n,
            n_subjects=database.scalar(f"SELECT count(DISTINCT subject) FROM frames WHERE {where}"),
            n_excluded=sum(reasons.values()),
            excluded_reasons="; ".join(f"{name}={count}" for name, count in reasons.items() if count) or None,
        )
        for suffix, attribute in _QUARTILES.items():
            value = getattr(described, attribute)
            reason = str(NullReason.NO_UNITS) if value is None else "description"
            yield here.estimate(f"{endpoint}_{suffix}", Estimate(value, None, None, None, 0), null_reason=reason)


def _of_images(database: CohortDatabase, column: str, where: str) -> np.ndarray:
    """Return a measurement of every image that has it, in ascending order."""
    if database.has_clips:  # the sum of decimals does not depend on the order in which threads add
        value, group = f"sum(CAST({column} AS DECIMAL(18, 4))) / count({column})", "GROUP BY image_id"
    else:
        value, group = f"CAST({column} AS DOUBLE)", ""
    values = database.arrays(f"SELECT {value} AS value FROM frames WHERE {where} {group}")["value"]
    return np.sort(values.astype(np.float64))
