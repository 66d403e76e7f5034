"""Approximate signed distances (negative inside) of the shapes that the anatomy consists of.

Coordinates and results are float64 arrays of equal shape, all in the same unit of length.
"""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def ellipse(x: Array, y: Array, center: tuple[float, float], semi_axes: tuple[float, float]) -> Array:
    """Return the first-order distance to an axis-parallel ellipse: exact on it, and within a few percent near it."""
    dx, dy = (x - center[0]) / semi_axes[0], (y - center[1]) / semi_axes[1]
    radius = np.sqrt(dx * dx + dy * dy) + 1e-9
    gradient = np.sqrt((dx / semi_axes[0]) ** 2 + (dy / semi_axes[1]) ** 2) + 1e-9
    return radius * (radius - 1.0) / gradient


def segment(x: Array, y: Array, start: tuple[float, float], end: tuple[float, float], half_width: float) -> Array:
    """Return the distance to a line segment that is thickened to a capsule."""
    ex, ey = end[0] - start[0], end[1] - start[1]
    along = np.clip(((x - start[0]) * ex + (y - start[1]) * ey) / (ex * ex + ey * ey + 1e-12), 0.0, 1.0)
    dx, dy = x - start[0] - along * ex, y - start[1] - along * ey
    return np.sqrt(dx * dx + dy * dy) - half_width


def smooth_union(a: Array, b: Array, radius: float) -> Array:
    """Return the union of two shapes, with inner corners rounded (polynomial smooth minimum)."""
    blend = np.maximum(radius - np.abs(a - b), 0.0) / radius
    return np.minimum(a, b) - 0.25 * radius * blend * blend


def smooth_intersection(a: Array, b: Array, radius: float) -> Array:
    """Return the intersection of two shapes, with outer corners rounded."""
    return -smooth_union(-a, -b, radius)
