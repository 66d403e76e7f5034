"""Renders one phantom image and its label mask from their parameters."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dataset.phantom.rendering.acoustics import BEAMS, SAMPLES, Settings, beam_image
from dataset.phantom.rendering.anatomy import Heart, mask_fields
from dataset.phantom.rendering.geometry import Array
from dataset.phantom.rendering.other_planes import BodyPlane, other_plane_tissue
from dataset.phantom.rendering.scanner import Device, Pixels, draw_frame, pixel_positions, scan_convert, to_pixels
from dataset.phantom.rendering.tissue import Echoes, TissueMap, four_chamber_tissue
from dataset.phantom.rendering.view import Chest, View

BACKGROUND, SEPTUM, HEART = 0, 1, 2


@dataclass(frozen=True)
class Parameters:
    """Everything except the speckle that a four-chamber image depends on."""

    heart: Heart
    chest: Chest
    view: View
    echoes: Echoes
    settings: Settings
    device: Device
    openness: float


def nearest_positions(size: int, target: int) -> NDArray[np.intp]:
    """Return the indices of those of ``size`` pixels that a nearest-neighbour resize to ``target`` pixels keeps.

    The steps are added up as Pillow adds them, because the rounding of that sum decides between two pixels.
    """
    steps = np.full(target, size / target)
    steps[0] *= 0.5
    return np.cumsum(steps).astype(np.intp)


def beam_grid(view: View) -> tuple[Array, Array]:
    """Return the world position of every sample of every beam: x and z in millimetres, [SAMPLES, BEAMS]."""
    radius = view.probe_radius_mm + np.linspace(0.0, view.depth_mm, SAMPLES)[:, None]
    angle = np.linspace(-view.half_angle, view.half_angle, BEAMS)[None, :]
    return radius * np.sin(angle), radius * np.cos(angle) - view.probe_radius_mm


def label_mask(heart: Heart, view: View, pixels: Pixels, sector: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Return uint8 [rows, columns]: 0 background, 1 ventricular septum, 2 the rest of the heart."""
    mask = np.full(sector.shape, BACKGROUND, np.uint8)
    u, v = view.heart_coordinates(pixels.x_mm, pixels.z_mm)
    near = sector & (np.hypot(u - 0.12, v) < 1.5)
    outline, septum = mask_fields(heart, u[near], v[near])
    mask[near] = np.where(outline < 0, np.where(septum < 0, SEPTUM, HEART), BACKGROUND)
    return mask


def render_phantom(
    parameters: Parameters, speckle: np.random.Generator, grid: tuple[int, int] | None = None
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Render a four-chamber image and its mask.

    Args:
        parameters: What the image depends on, except for its speckle.
        speckle: The stream for speckle and noise.
        grid: Height and width. Only the pixels are rendered that a nearest-neighbour resize of the full picture and
            mask to that size would keep; their values are the same. None renders at the device's own size.

    Returns:
        The image, uint8 [height, width] or [height, width, 3], and the mask, uint8 [height, width] (0, 1 or 2).
    """
    x, z = beam_grid(parameters.view)
    tissue = four_chamber_tissue(
        parameters.heart, parameters.chest, parameters.view, parameters.echoes, parameters.openness, x, z, speckle
    )
    pixels = _pixels(parameters, grid)
    stored, sector = _picture(tissue, parameters, pixels, speckle)
    return stored, label_mask(parameters.heart, parameters.view, pixels, sector)


def render_other_plane(
    plane: BodyPlane, parameters: Parameters, speckle: np.random.Generator, grid: tuple[int, int] | None = None
) -> NDArray[np.uint8]:
    """Render a wrong view, which shows no part of a heart.

    Args:
        plane: What it shows instead.
        parameters: What the picture depends on, except for its speckle.
        speckle: The stream for speckle and noise.
        grid: Height and width, as for `render_phantom`.

    Returns:
        The image, uint8 [height, width] or [height, width, 3].
    """
    x, z = beam_grid(parameters.view)
    tissue = other_plane_tissue(plane, parameters.chest, parameters.view, parameters.echoes, x, z, speckle)
    return _picture(tissue, parameters, _pixels(parameters, grid), speckle)[0]


def _pixels(parameters: Parameters, grid: tuple[int, int] | None) -> Pixels:
    device = parameters.device
    height, width = grid or (device.height, device.width)
    rows, columns = nearest_positions(device.height, height), nearest_positions(device.width, width)
    return pixel_positions(parameters.view, device, rows, columns)


def _picture(
    tissue: TissueMap, parameters: Parameters, pixels: Pixels, speckle: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    view = parameters.view
    step = view.depth_mm / (SAMPLES - 1) / view.unit_mm
    grey, sector = scan_convert(beam_image(tissue, parameters.settings, step, speckle), view, pixels)
    draw_frame(grey, pixels, view, parameters.device)
    return to_pixels(grey, parameters.device), sector
