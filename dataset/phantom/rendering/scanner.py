"""Makes the picture that a scanner stores: sector, borders, depth marks, resolution, grey or tinted RGB."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from dataset.phantom.rendering.geometry import Array
from dataset.phantom.rendering.view import View


@dataclass(frozen=True)
class Device:
    """One scanner model: the properties that do not change from patient to patient."""

    name: str
    height: int
    width: int
    tint: tuple[float, float, float] | None
    """Brightness of red, green and blue. None means that the device stores grey images."""
    margin: float
    """Border around the sector as a share of the picture. A negative border crops the sector."""
    marks: str
    """Position of the depth marks: ``left``, ``right`` or ``none``."""
    grey_bar: bool
    suffix: str
    """Suffix of the exported files: ``png`` or ``jpg``."""


DEVICES: tuple[Device, ...] = (
    Device("device-A", 240, 320, None, 0.03, "right", False, "png"),
    Device("device-B", 480, 640, None, 0.05, "left", True, "png"),
    Device("device-C", 434, 636, (1.0, 0.96, 0.86), 0.02, "none", False, "png"),
    Device("device-D", 576, 768, None, -0.04, "right", True, "jpg"),
    Device("device-E", 600, 800, (0.92, 0.97, 1.0), 0.04, "left", False, "jpg"),
    Device("device-F", 768, 1024, (1.0, 1.0, 1.0), 0.06, "right", True, "jpg"),
)


@dataclass(frozen=True)
class Pixels:
    """World positions of the requested pixels, which are a product grid of picture rows and columns."""

    rows: NDArray[np.intp]
    columns: NDArray[np.intp]
    x_mm: Array
    z_mm: Array
    mm_per_pixel: float
    top_px: float


def pixel_positions(view: View, device: Device, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> Pixels:
    """Return the world positions of rows and columns of a device's picture: x [1, columns] and z [rows, 1], in mm."""
    bottom = view.depth_mm
    top = -view.probe_radius_mm * (1.0 - np.cos(view.half_angle))
    half_width = (view.probe_radius_mm + view.depth_mm) * np.sin(view.half_angle)
    share = 1.0 - 2.0 * device.margin
    scale = max((bottom - top) / (device.height * share), 2.0 * half_width / (device.width * share * 1.30))
    top_px = 0.5 * (device.height - (bottom - top) / scale)
    z = (rows + 0.5 - top_px) * scale + top
    x = (columns + 0.5 - 0.5 * device.width) * scale
    return Pixels(rows, columns, x[None, :], z[:, None], scale, top_px - top / scale)


def scan_convert(beams: Array, view: View, pixels: Pixels) -> tuple[Array, NDArray[np.bool_]]:
    """Convert a beam image to a picture.

    Returns:
        Grey values, float64 [rows, columns], which are 0 outside the sector; and bool [rows, columns], true in the
        sector.
    """
    radius, angle, sector = _beam_coordinates(view, pixels)
    sample = radius[sector] / view.depth_mm * (beams.shape[0] - 1)
    beam = (angle[sector] / view.half_angle + 1.0) * 0.5 * (beams.shape[1] - 1)
    grey = np.zeros(sector.shape)
    grey[sector] = ndimage.map_coordinates(beams, np.stack([sample, beam]), order=1, mode="nearest")
    return grey, sector


def _beam_coordinates(view: View, pixels: Pixels) -> tuple[Array, Array, NDArray[np.bool_]]:
    """Return depth along the beam in mm, angle of the beam in radians, and whether a pixel lies in the sector."""
    dz = pixels.z_mm + view.probe_radius_mm
    radius = np.sqrt(pixels.x_mm**2 + dz**2) - view.probe_radius_mm
    angle = np.arctan2(pixels.x_mm, dz)
    return radius, angle, (radius >= 0) & (radius <= view.depth_mm) & (np.abs(angle) <= view.half_angle)


def sector_box(view: View, device: Device) -> tuple[int, int, int, int]:
    """Return the smallest rectangle of a device's picture that holds the sector: top, left, height, width in pixels."""
    pixels = pixel_positions(view, device, np.arange(device.height), np.arange(device.width))
    _, _, sector = _beam_coordinates(view, pixels)
    rows, columns = (np.flatnonzero(sector.any(axis=axis)) for axis in (1, 0))
    return int(rows[0]), int(columns[0]), int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1


def draw_frame(grey: Array, pixels: Pixels, view: View, device: Device) -> None:
    """Paint depth marks for every centimetre and a grey bar into `grey`, as the device has them. No text is painted."""

    def paint(top: float, bottom: float, left: float, right: float, value: float) -> None:
        inside = (pixels.rows >= top) & (pixels.rows < bottom), (pixels.columns >= left) & (pixels.columns < right)
        grey[np.ix_(*inside)] = value

    unit = max(1.0, device.height / 240.0)
    if device.marks != "none":
        edge = 0.025 * device.width if device.marks == "left" else 0.965 * device.width
        for centimetre in range(int(view.depth_mm // 10) + 1):
            middle = pixels.top_px + 10.0 * centimetre / pixels.mm_per_pixel
            length = (5.0 if centimetre % 5 == 0 else 3.0) * unit
            paint(middle - 0.5 * unit, middle + 0.5 * unit, edge, edge + length, 190.0)
    if device.grey_bar:
        left = 0.94 * device.width if device.marks == "left" else 0.035 * device.width
        top, bottom = 0.12 * device.height, 0.42 * device.height
        for level in range(16):
            start = top + (bottom - top) * level / 16
            paint(start, start + (bottom - top) / 16, left, left + 4.0 * unit, 255.0 * (1.0 - level / 15))


def to_pixels(grey: Array, device: Device) -> NDArray[np.uint8]:
    """Return the stored pixels: uint8 [height, width] or, for a device with a tint, [height, width, 3]."""
    if device.tint is None:
        return np.rint(grey).astype(np.uint8)
    return np.rint(grey[..., None] * np.array(device.tint)).astype(np.uint8)
