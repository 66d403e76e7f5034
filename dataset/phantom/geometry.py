"""Approximate signed distances (negative inside) of the few shapes that the anatomy is made of.

Coordinates and results are float64 arrays of one shape, in any one length unit.
"""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def ellipse(x: Array, y: Array, center: tuple[float, float], semi_axes: tuple[float, float]) -> Array:
    """First-order distance to an axis-parallel ellipse: exact on its boundary, right to a few percent near it."""
    dx, dy = (x - center[0]) / semi_axes[0], (y - center[1]) / semi_axes[1]
    radius = np.sqrt(dx * dx + dy * dy) + 1e-9
    gradient = np.sqrt((dx / semi_axes[0]) ** 2 + (dy / semi_axes[1]) ** 2) + 1e-9
    return radius * (radius - 1.0) / gradient


def segment(x: Array, y: Array, start: tuple[float, float], end: tuple[float, float], half_width: float) -> Array:
    """Distance to a line segment thickened to a capsule."""
    ex, ey = end[0] - start[0], end[1] - start[1]
    along = np.clip(((x - start[0]) * ex + (y - start[1]) * ey) / (ex * ex + ey * ey + 1e-12), 0.0, 1.0)
    dx, dy = x - start[0] - along * ex, y - start[1] - along * ey
    return np.sqrt(dx * dx + dy * dy) - half_width


def smooth_union(a: Array, b: Array, radius: float) -> Array:
    """Union of two shapes whose inner corner is rounded (polynomial smooth minimum)."""
    blend = np.maximum(radius - np.abs(a - b), 0.0) / radius
    return np.minimum(a, b) - 0.25 * radius * blend * blend


def smooth_intersection(a: Array, b: Array, radius: float) -> Array:
    """Intersection of two shapes whose outer corner is rounded."""
    return -smooth_union(-a, -b, radius)
