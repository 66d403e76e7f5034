"""Describes how a heart lies in front of the probe: position, orientation, size, sector, and the chest around it."""

from dataclasses import dataclass

import numpy as np

from dataset.phantom.rendering.geometry import Array

HEART_LENGTH = 1.94
"""Length of the median heart from base to apex, in heart units."""


@dataclass(frozen=True)
class Chest:
    """The fetal chest around one heart, with lengths in heart units and angles in radians."""

    cardiac_axis: float
    """Angle between the septum and the line from spine to sternum. It is normally about 45 degrees."""
    half_depth: float
    half_width: float
    wall: float
    heart_offset: tuple[float, float]
    """Middle of the chest relative to the crux: towards the sternum, and towards the left."""
    rib_angles: tuple[float, ...]
    rib_half_lengths: tuple[float, ...]
    aorta_radius: float

    def coordinates(self, u: Array, v: Array) -> tuple[Array, Array]:
        """Convert heart coordinates to chest coordinates: towards the sternum, and towards the fetus's left."""
        cosine, sine = np.cos(self.cardiac_axis), np.sin(self.cardiac_axis)
        return u * cosine - v * sine - self.heart_offset[0], u * sine + v * cosine - self.heart_offset[1]


def draw_chest(rng: np.random.Generator) -> Chest:
    """Draw a chest with normal variation. It never depends on the lesion."""
    ribs = int(rng.integers(5, 9))
    angles = np.linspace(-0.80 * np.pi, 0.80 * np.pi, ribs) + rng.normal(0.0, 0.12, ribs)
    size = rng.normal(1.0, 0.05)
    return Chest(
        cardiac_axis=float(np.deg2rad(rng.normal(45.0, 7.0))),
        half_depth=float(1.62 * size),
        half_width=float(1.78 * size * rng.normal(1.0, 0.04)),
        wall=float(rng.uniform(0.14, 0.30)),
        heart_offset=(float(rng.normal(-0.22, 0.07)), float(rng.normal(-0.02, 0.08))),
        rib_angles=tuple(angles.tolist()),
        rib_half_lengths=tuple(rng.uniform(0.08, 0.26, ribs).tolist()),
        aorta_radius=float(rng.uniform(0.15, 0.20)),
    )


@dataclass(frozen=True)
class View:
    """One plane of section. World coordinates are in millimetres: x across, z the depth below the probe's surface."""

    unit_mm: float
    """Length of a heart unit in millimetres."""
    depth_mm: float
    probe_radius_mm: float
    half_angle: float
    center_mm: tuple[float, float]
    rotation: float
    mirrored: bool

    def heart_coordinates(self, x_mm: Array, z_mm: Array) -> tuple[Array, Array]:
        """Convert world coordinates to heart coordinates (u, v)."""
        dx, dz = (x_mm - self.center_mm[0]) / self.unit_mm, (z_mm - self.center_mm[1]) / self.unit_mm
        cosine, sine = np.cos(self.rotation), np.sin(self.rotation)
        u, v = dx * cosine + dz * sine, -dx * sine + dz * cosine
        # The view is centred between base and apex. The crux lies a little behind that middle.
        return u + 0.12, -v if self.mirrored else v


def unit_length_mm(gestational_age_days: int) -> float:
    """Return the length of a heart unit. The heart is about 23 mm long at 20 weeks and 44 mm at 36 weeks."""
    weeks = gestational_age_days / 7.0
    return (23.0 + (weeks - 20.0) * 21.0 / 16.0) / HEART_LENGTH


def draw_view(rng: np.random.Generator, gestational_age_days: int, rotation: float, mirrored: bool) -> View:
    """Draw the plane of one image. The fetal position belongs to the study, zoom and centring to the image."""
    unit = unit_length_mm(gestational_age_days) * float(rng.normal(1.0, 0.03))
    depth = HEART_LENGTH * unit / float(rng.uniform(0.54, 0.78))
    return View(
        unit_mm=unit,
        depth_mm=depth,
        probe_radius_mm=depth * float(rng.uniform(0.3, 1.0)),
        half_angle=float(np.deg2rad(rng.uniform(19.0, 33.0))),
        center_mm=(depth * float(rng.normal(0.0, 0.04)), depth * float(rng.normal(0.50, 0.04))),
        rotation=rotation + float(rng.normal(0.0, 0.12)),
        mirrored=mirrored,
    )
