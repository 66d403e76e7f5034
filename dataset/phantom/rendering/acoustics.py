"""Turns tissue into a B-mode image in beam coordinates: speckle, point spread, attenuation, gain, compression."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from dataset.phantom.rendering.geometry import Array
from dataset.phantom.rendering.tissue import TissueMap

SAMPLES, BEAMS = 340, 160


@dataclass(frozen=True)
class Settings:
    """The settings of one image that the operator and the scanner's preset choose."""

    axial_blur: float
    """Standard deviation of the pulse, in samples."""
    lateral_blur: float
    """Standard deviation of the beam at its focus, in beams; it widens away from the focus."""
    focus: float
    """Depth of the focus as a share of the whole depth."""
    gain_db: float
    dynamic_range_db: float
    gamma: float
    gain_curve_db: tuple[float, ...]
    """Errors of the time-gain compensation at equally spaced depths."""
    smoothing: float
    """Standard deviation of the filter on the compressed image, in samples and beams."""
    looks: int
    """Number of independent looks that are averaged (compounding). 1 gives coarse speckle, 3 smooth speckle."""
    noise_db: float


def draw_settings(rng: np.random.Generator) -> Settings:
    """Draw the settings of one image. They never depend on the lesion."""
    return Settings(
        axial_blur=float(rng.uniform(0.9, 1.6)),
        lateral_blur=float(rng.uniform(0.8, 1.4)),
        focus=float(rng.uniform(0.35, 0.7)),
        gain_db=float(rng.normal(0.0, 2.5)),
        dynamic_range_db=float(rng.uniform(40.0, 58.0)),
        gamma=float(rng.uniform(1.0, 1.5)),
        gain_curve_db=tuple(rng.normal(0.0, 1.8, 6).tolist()),
        smoothing=float(rng.uniform(0.4, 1.0)),
        looks=int(rng.integers(1, 4)),
        noise_db=float(rng.uniform(-52.0, -40.0)),
    )


def _blurred(signal: Array, settings: Settings, depth: Array) -> Array:
    """Apply the point spread: a pulse along depth, and a beam that is narrow at the focus and wider elsewhere."""
    pulse = ndimage.gaussian_filter1d(signal, settings.axial_blur, axis=0, truncate=3.0)
    narrow = ndimage.gaussian_filter1d(pulse, settings.lateral_blur, axis=1, truncate=3.0)
    wide = ndimage.gaussian_filter1d(pulse, 2.2 * settings.lateral_blur, axis=1, truncate=3.0)
    share = np.clip(1.6 * np.abs(depth - settings.focus), 0.0, 1.0)
    return narrow + (wide - narrow) * share


def beam_image(tissue: TissueMap, settings: Settings, step: float, rng: np.random.Generator) -> Array:
    """Return the beam image before scan conversion.

    Args:
        tissue: Acoustic properties, [SAMPLES, BEAMS].
        settings: The settings of the image.
        step: Distance of two samples, in heart units.
        rng: The stream for speckle and noise.

    Returns:
        Grey values in [0, 255], float64 [SAMPLES, BEAMS].
    """
    shape = tissue.scatter_db.shape
    depth = np.linspace(0.0, 1.0, shape[0])[:, None]
    lost_db = np.cumsum(tissue.attenuation_db, axis=0) * step
    # The scanner assumes average tissue, so it over-compensates behind fluid and leaves a shadow behind bone.
    assumed_db = 2.3 * step * np.arange(shape[0])[:, None]
    curve_db = np.interp(depth, np.linspace(0.0, 1.0, len(settings.gain_curve_db)), settings.gain_curve_db)
    level = 10.0 ** ((np.minimum(assumed_db - lost_db, 8.0) + curve_db) / 20.0)
    scatter = 10.0 ** (tissue.scatter_db / 20.0) * level
    mirror = _blurred(tissue.reflection * level, settings, depth)
    # Blurring lowers the power of white noise by the effective lengths of pulse and beam. This factor restores it to 1.
    power = 4.0 * np.pi * settings.axial_blur * settings.lateral_blur
    noise = 10.0 ** (settings.noise_db / 20.0) * (0.4 + depth)

    total = np.zeros(shape)
    for _ in range(settings.looks):
        real, imaginary = rng.standard_normal((2, *shape))
        real = _blurred(real * scatter, settings, depth)
        imaginary = _blurred(imaginary * scatter, settings, depth)
        total += 0.5 * power * (real * real + imaginary * imaginary)
    intensity = total / settings.looks + mirror * mirror + noise * noise * rng.exponential(1.0, shape)
    decibels = 10.0 * np.log10(intensity + 1e-9) + settings.gain_db
    decibels = ndimage.gaussian_filter(decibels, settings.smoothing, truncate=3.0)
    shown = np.clip(1.0 + (decibels - 4.0) / settings.dynamic_range_db, 0.0, 1.0)
    return 255.0 * shown**settings.gamma
