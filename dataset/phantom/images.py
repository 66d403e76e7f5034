"""One phantom image with its label mask, from its description."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dataset.phantom.acoustics import BEAMS, SAMPLES, Settings, beam_image
from dataset.phantom.anatomy import Heart, mask_fields
from dataset.phantom.geometry import Array
from dataset.phantom.scanner import Device, Pixels, draw_frame, pixel_positions, scan_convert, to_pixels
from dataset.phantom.tissue import Echoes, TissueMap, abdomen_tissue, four_chamber_tissue
from dataset.phantom.view import Chest, View

BACKGROUND, SEPTUM, HEART = 0, 1, 2


@dataclass(frozen=True)
class Parameters:
    """Everything that decides a four-chamber image but its speckle."""

    heart: Heart
    chest: Chest
    view: View
    echoes: Echoes
    settings: Settings
    device: Device
    openness: float


def nearest_positions(size: int, target: int) -> NDArray[np.intp]:
    """Which of ``size`` pixels a nearest-neighbour resize to ``target`` pixels keeps.

    As Pillow: it adds up steps, and the rounding of that sum decides where a position falls between two pixels.
    """
    steps = np.full(target, size / target)
    steps[0] *= 0.5
    return np.cumsum(steps).astype(np.intp)


def beam_grid(view: View) -> tuple[Array, Array]:
    """World position of every sample of every beam: x and z in millimetres, [SAMPLES, BEAMS]."""
    radius = view.probe_radius_mm + np.linspace(0.0, view.depth_mm, SAMPLES)[:, None]
    angle = np.linspace(-view.half_angle, view.half_angle, BEAMS)[None, :]
    return radius * np.sin(angle), radius * np.cos(angle) - view.probe_radius_mm


def label_mask(heart: Heart, view: View, pixels: Pixels, sector: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """0 background, 1 ventricular septum, 2 the rest of the heart; uint8 [rows, columns]."""
    mask = np.full(sector.shape, BACKGROUND, np.uint8)
    u, v = view.heart_coordinates(pixels.x_mm, pixels.z_mm)
    near = sector & (np.hypot(u - 0.12, v) < 1.5)
    outline, septum = mask_fields(heart, u[near], v[near])
    mask[near] = np.where(outline < 0, np.where(septum < 0, SEPTUM, HEART), BACKGROUND)
    return mask


def render_phantom(
    parameters: Parameters, speckle: np.random.Generator, grid: tuple[int, int] | None = None
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Image (uint8 [height, width] or [height, width, 3]) and mask (uint8 [height, width], 0/1/2).

    ``grid`` (height, width) gives just the pixels that a nearest-neighbour resize of the full picture and mask to
    that size would keep: the same values, without rendering the rest.
    """
    x, z = beam_grid(parameters.view)
    tissue = four_chamber_tissue(
        parameters.heart, parameters.chest, parameters.view, parameters.echoes, parameters.openness, x, z, speckle
    )
    pixels = _pixels(parameters, grid)
    stored, sector = _picture(tissue, parameters, pixels, speckle)
    return stored, label_mask(parameters.heart, parameters.view, pixels, sector)


def render_abdomen(parameters: Parameters, speckle: np.random.Generator) -> NDArray[np.uint8]:
    """The fetal abdomen instead of the chest: a wrong view, with nothing of a heart in it."""
    x, z = beam_grid(parameters.view)
    tissue = abdomen_tissue(parameters.chest, parameters.view, parameters.echoes, x, z, speckle)
    return _picture(tissue, parameters, _pixels(parameters, None), speckle)[0]


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
