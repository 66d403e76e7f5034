"""Computes the acoustic properties of everything in the plane: scatter strength, smooth reflectors, attenuation."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.interpolate import CubicSpline

from dataset.phantom.rendering.anatomy import Heart, heart_fields
from dataset.phantom.rendering.geometry import Array, ellipse, segment
from dataset.phantom.rendering.view import Chest, View


@dataclass(frozen=True)
class TissueMap:
    """Acoustic properties on a polar grid, float64 [samples along depth, beams]."""

    scatter_db: Array
    reflection: Array
    """Amplitude of smooth surfaces that the beam meets head-on, relative to a scatterer of 0 dB."""
    attenuation_db: Array
    """Attenuation on the way there and back, per heart unit of depth."""


@dataclass(frozen=True)
class Echoes:
    """Brightness of tissues in decibels, as seen through one maternal acoustic window."""

    blood_db: float
    lung_db: float
    muscle_db: float
    body_wall_db: float
    outside_db: float
    fluid_share: float
    """Share of amniotic fluid in the surroundings of the chest."""
    bone_attenuation_db: float


def draw_echoes(rng: np.random.Generator) -> Echoes:
    """Draw the brightness of tissues. It never depends on the lesion."""
    return Echoes(
        blood_db=float(rng.normal(-41.0, 3.0)),
        lung_db=float(rng.normal(-17.0, 1.8)),
        muscle_db=float(rng.normal(-17.5, 1.8)),
        body_wall_db=float(rng.normal(-12.0, 2.0)),
        outside_db=float(rng.normal(-16.0, 2.5)),
        fluid_share=float(rng.uniform(0.0, 0.75)),
        bone_attenuation_db=float(rng.uniform(25.0, 90.0)),
    )


@lru_cache(maxsize=64)
def _interpolation(size: int, cells: int) -> Array:
    """Return the matrix [size, cells] of the cubic spline through ``cells`` equally spaced values."""
    return CubicSpline(np.arange(cells), np.eye(cells))(np.linspace(0, cells - 1, size))


def smooth_field(rng: np.random.Generator, shape: tuple[int, int], cells: tuple[int, int]) -> Array:
    """Return slowly varying noise of unit size: normal numbers on a coarse grid, interpolated."""
    return _interpolation(shape[0], cells[0]) @ rng.standard_normal(cells) @ _interpolation(shape[1], cells[1]).T


def surface_echo(distance: Array, width: float, step: float) -> Array:
    """Return the echo of a smooth surface: strong where the beam meets it head-on, absent along the beam."""
    slope = np.gradient(distance, step, axis=0)
    return np.exp(-((distance / width) ** 2)) * np.clip(slope * slope, 0.0, 1.0)


def four_chamber_tissue(
    heart: Heart,
    chest: Chest,
    view: View,
    echoes: Echoes,
    openness: float,
    x: Array,
    z: Array,
    rng: np.random.Generator,
) -> TissueMap:
    """Return the four-chamber plane at world points x, z (millimetres, [samples, beams], samples equally spaced)."""
    step = float(np.hypot(x[1, 0] - x[0, 0], z[1, 0] - z[0, 0])) / view.unit_mm
    u, v = view.heart_coordinates(x, z)
    fields = heart_fields(heart, openness, u, v)
    scatter, reflection, attenuation = chest_tissue(chest, echoes, u, v, step, rng)

    inside = fields.outline < 0
    muscle = echoes.muscle_db + 1.5 * (fields.septum < 0) - 22.0 * fields.dropout * (fields.septum < 0.05)
    scatter = np.where(inside, muscle, scatter)
    blood = fields.blood < 0
    scatter = np.where(blood, echoes.blood_db, scatter)
    attenuation = np.where(blood, 0.0, np.where(inside, 3.0, attenuation))
    leaflets = fields.leaflets < 0
    scatter = np.where(leaflets & inside, echoes.muscle_db + 5.0, scatter)

    reflection += 0.30 * surface_echo(fields.outline, 0.022, step)
    reflection += 0.32 * surface_echo(fields.blood, 0.020, step) * inside * (1.0 - 0.9 * fields.dropout)
    reflection += 0.30 * surface_echo(fields.leaflets, 0.015, step) * inside
    return TissueMap(scatter, reflection, attenuation)


def abdomen_tissue(chest: Chest, view: View, echoes: Echoes, x: Array, z: Array, rng: np.random.Generator) -> TissueMap:
    """Return the fetal abdomen: liver all over, the stomach on the left, the umbilical vein in front, no heart."""
    step = float(np.hypot(x[1, 0] - x[0, 0], z[1, 0] - z[0, 0])) / view.unit_mm
    u, v = view.heart_coordinates(x, z)
    scatter, reflection, attenuation = chest_tissue(chest, echoes, u, v, step, rng)
    anterior, left = chest.coordinates(u, v)
    stomach = ellipse(anterior, left, (-0.1, 0.75), (0.30, 0.48))
    vein = segment(anterior, left, (0.95, -0.05), (0.35, -0.30), 0.09)
    fluid = np.minimum(stomach, vein)
    scatter = np.where(fluid < 0, echoes.blood_db, scatter)
    attenuation = np.where(fluid < 0, 0.0, attenuation)
    return TissueMap(scatter, reflection + 0.3 * surface_echo(fluid, 0.02, step), attenuation)


def chest_tissue(
    chest: Chest, echoes: Echoes, u: Array, v: Array, step: float, rng: np.random.Generator
) -> tuple[Array, Array, Array]:
    """Return scatter, reflection and attenuation of the chest without the heart, and of its surroundings."""
    anterior, left = chest.coordinates(u, v)
    wall = ellipse(anterior, left, (0.0, 0.0), (chest.half_depth, chest.half_width))
    slow = smooth_field(rng, u.shape, (5, 4))

    # A slow field decides where the surroundings are fluid, and where they are uterine wall and placenta.
    outside = np.where(slow + 2.5 * (echoes.fluid_share - 0.62) > 0, -46.0, echoes.outside_db)
    outside += 3.0 * smooth_field(rng, u.shape, (12, 5))
    layers = np.linspace(0.0, 1.0, u.shape[0])[:, None] * 9.0 + 0.5 * smooth_field(rng, u.shape, (3, 6))
    scatter = np.where(wall < chest.wall, echoes.body_wall_db + 2.0 * slow, outside)
    scatter = np.where(wall < 0, echoes.lung_db + 1.5 * smooth_field(rng, u.shape, (9, 8)), scatter)
    attenuation = np.where(wall < chest.wall, 3.0, np.where(outside < -30.0, 0.0, 3.5))
    reflection = 0.55 * surface_echo(wall - chest.wall, 0.030, step) + 0.22 * surface_echo(wall, 0.030, step)
    # Fascia and the uterine wall are a few wavy lines across the near field, outside the chest.
    reflection += (
        0.14 * np.exp(-(((layers % 1.3 - 0.65) / 0.07) ** 2)) * (layers < 3.0) * (wall > chest.wall) * (outside > -30.0)
    )

    bone = np.full_like(u, 9.0)
    for angle, half_length in zip(chest.rib_angles, chest.rib_half_lengths, strict=True):
        middle = (1.02 * chest.half_depth * np.cos(angle), 1.02 * chest.half_width * np.sin(angle))
        tangent = (
            -chest.half_depth * np.sin(angle) * half_length / 1.7,
            chest.half_width * np.cos(angle) * half_length / 1.7,
        )
        start, end = (middle[0] - tangent[0], middle[1] - tangent[1]), (middle[0] + tangent[0], middle[1] + tangent[1])
        bone = np.minimum(bone, segment(anterior, left, start, end, 0.035))
    spine = -0.90 * chest.half_depth
    for along, across, radius in ((0.08, 0.0, 0.13), (-0.22, 0.20, 0.085), (-0.22, -0.20, 0.085)):
        bone = np.minimum(bone, np.hypot(anterior - spine - along, left - across) - radius)
    scatter = np.where(bone < 0, -4.0, scatter)
    attenuation = np.where(bone < 0, echoes.bone_attenuation_db, attenuation)
    reflection = reflection + 0.55 * surface_echo(bone, 0.030, step)

    # The descending aorta lies between the spine and the left atrium.
    aorta = np.hypot(anterior - spine - 0.42, left - 0.22) - chest.aorta_radius
    scatter = np.where(np.abs(aorta) < 0.035, echoes.muscle_db + 6.0, scatter)
    scatter = np.where(aorta < -0.035, echoes.blood_db, scatter)
    reflection = reflection + 0.30 * surface_echo(aorta, 0.025, step)
    return scatter, reflection, attenuation
