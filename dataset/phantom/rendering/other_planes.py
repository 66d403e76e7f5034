"""Computes the acoustic properties of planes of the fetal body that show no heart."""

from enum import StrEnum

import numpy as np

from dataset.phantom.rendering.geometry import Array, ellipse, segment
from dataset.phantom.rendering.tissue import Echoes, TissueMap, abdomen_tissue, smooth_field, surface_echo
from dataset.phantom.rendering.view import Chest, View


class BodyPlane(StrEnum):
    """A plane without a heart."""

    ABDOMEN = "abdomen"
    HEAD = "head"
    LIMB = "limb"
    FLUID = "fluid"


def other_plane_tissue(
    plane: BodyPlane, chest: Chest, view: View, echoes: Echoes, x: Array, z: Array, rng: np.random.Generator
) -> TissueMap:
    """Return the plane at world points x, z (millimetres, [samples, beams], samples equally spaced)."""
    if plane is BodyPlane.ABDOMEN:
        return abdomen_tissue(chest, view, echoes, x, z, rng)
    step = float(np.hypot(x[1, 0] - x[0, 0], z[1, 0] - z[0, 0])) / view.unit_mm
    u, v = view.heart_coordinates(x, z)
    tissue = _uterus(echoes, u, step, rng)
    if plane is BodyPlane.HEAD:
        return _with_head(tissue, echoes, u, v, step, rng)
    return _with_limb(tissue, echoes, u, v, step, rng) if plane is BodyPlane.LIMB else tissue


def _uterus(echoes: Echoes, u: Array, step: float, rng: np.random.Generator) -> TissueMap:
    """Return amniotic fluid below the wall of the uterus, which is a layer of varying thickness near the probe."""
    depth = np.linspace(0.0, 1.0, u.shape[0])[:, None] + 0.06 * smooth_field(rng, u.shape, (3, 5))
    wall, floor = rng.uniform(0.08, 0.3), rng.uniform(0.75, 1.1)
    solid = (depth < wall) | (depth > floor)
    scatter = np.where(solid, echoes.outside_db + 3.0 * smooth_field(rng, u.shape, (12, 5)), -46.0)
    edges = np.minimum(np.abs(depth - wall), np.abs(depth - floor)) * u.shape[0] * step
    return TissueMap(scatter, 0.4 * surface_echo(edges, 0.04, step), np.where(solid, 3.5, 0.0))


def _with_head(
    tissue: TissueMap, echoes: Echoes, u: Array, v: Array, step: float, rng: np.random.Generator
) -> TissueMap:
    """Add an elliptical skull with brain, midline and the two lateral ventricles."""
    length, width = rng.uniform(1.1, 1.6), rng.uniform(0.85, 1.2)
    skull = ellipse(u, v, (0.0, 0.0), (length, width))
    brain = echoes.muscle_db - 8.0 + 2.5 * smooth_field(rng, u.shape, (14, 10))
    scatter = np.where(skull < 0, brain, tissue.scatter_db)
    for side in (-1.0, 1.0):
        ventricle = ellipse(u, v, (-0.1, side * 0.35 * width), (0.5 * length, 0.10 * width))
        scatter = np.where(ventricle < 0, echoes.blood_db, scatter)
    midline = segment(u, v, (-0.85 * length, 0.0), (0.85 * length, 0.0), 0.015)
    scatter = np.where((midline < 0) & (np.abs(u) > 0.15), echoes.muscle_db + 8.0, scatter)
    bone = np.abs(skull) - rng.uniform(0.03, 0.06)
    scatter = np.where(bone < 0, -5.0, scatter)
    attenuation = np.where(bone < 0, 0.4 * echoes.bone_attenuation_db, np.where(skull < 0, 2.0, tissue.attenuation_db))
    reflection = tissue.reflection * (skull > 0) + 0.7 * surface_echo(bone, 0.03, step)
    return TissueMap(scatter, reflection, attenuation)


def _with_limb(
    tissue: TissueMap, echoes: Echoes, u: Array, v: Array, step: float, rng: np.random.Generator
) -> TissueMap:
    """Add a thigh with one long bone."""
    half, thickness = rng.uniform(0.7, 1.3), rng.uniform(0.35, 0.6)
    flesh = segment(u, v, (-half, 0.0), (half, 0.1), thickness)
    bone = segment(u, v, (-0.9 * half, 0.0), (0.9 * half, 0.05), rng.uniform(0.06, 0.12))
    scatter = np.where(flesh < 0, echoes.muscle_db + 1.5 * smooth_field(rng, u.shape, (10, 10)), tissue.scatter_db)
    scatter = np.where(bone < 0, -3.0, scatter)
    attenuation = np.where(bone < 0, echoes.bone_attenuation_db, np.where(flesh < 0, 3.0, tissue.attenuation_db))
    reflection = tissue.reflection * (flesh > 0) + 0.6 * surface_echo(bone, 0.03, step)
    reflection += 0.3 * surface_echo(flesh, 0.03, step) * (bone > 0)
    return TissueMap(scatter, reflection, attenuation)
