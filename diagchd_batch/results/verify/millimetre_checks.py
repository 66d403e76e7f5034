"""Computes the areas and lengths in millimetres of one row again, from its stored mask and the size of a pixel."""

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from diagchd_batch.images.spacing.heart_measurements import measure_heart
from diagchd_batch.images.spacing.spacing_status import SpacingStatus
from diagchd_batch.results.columns import SCORE_COLUMNS
from diagchd_batch.results.verify.findings import ProblemKind

_PIXEL_SIZE = ("pixel_height_mm", "pixel_width_mm")
_IN_MILLIMETRES = tuple(column.name for column in SCORE_COLUMNS if column.unit in ("mm", "mm²"))
_TOLERANCE = 1e-5
"""Relative. The columns hold 24 bits of each number."""


def millimetre_problem(row: Mapping[str, Any], label_map_hw_u8: np.ndarray) -> tuple[ProblemKind, str] | None:
    """Return what is wrong with the values in millimetres of a scored row, or None.

    Where the size of a pixel is not known, `spacing_status` says why, and every value in millimetres must be null.
    Distances to a reference mask are not computed again, because that takes as long as scoring; `--rescore` does it.

    Args:
        row: The row. Rows before schema version 3 have no `spacing_status`, and nothing is checked.
        label_map_hw_u8: Its stored mask, uint8 [height, width] on the model's grid.

    Returns:
        The kind of the problem, and the detail.
    """
    status = row.get("spacing_status")
    if status is None:
        return None
    if status != SpacingStatus.OK:
        filled = [name for name in _IN_MILLIMETRES if row[name] is not None]
        return (ProblemKind.INCONSISTENT_ROW, f"spacing_status {status}, yet with {filled[0]}") if filled else None
    if empty := [name for name in (*_PIXEL_SIZE, "region_height", "region_width") if row[name] is None]:
        return ProblemKind.INCONSISTENT_ROW, f"spacing_status ok, yet without {empty[0]}"
    height, width = label_map_hw_u8.shape
    grid_pixel_mm = (
        row["region_height"] / height * row["pixel_height_mm"],
        row["region_width"] / width * row["pixel_width_mm"],
    )
    for name, value in asdict(measure_heart(label_map_hw_u8, grid_pixel_mm)).items():
        if not _equal(row[name], value):
            computed = "null" if value is None else f"{value:.6g}"
            detail = f"{name} is {row[name]}, the stored mask and the size of a pixel give {computed}"
            return ProblemKind.WRONG_MILLIMETRES, detail
    return None


def _equal(stored: float | None, computed: float | None) -> bool:
    if stored is None or computed is None:
        return stored is computed
    return math.isclose(stored, computed, rel_tol=_TOLERANCE)
