"""Changes training images at random, in ways that ultrasound images differ from each other.

Shift, rotation, scale, mirror and the narrower sector change the image and its mask together. The other kinds change
the grey values alone. What is black, such as the surroundings of the sector, stays black.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy import ndimage

from diagchd_batch.config.training_block import AugmentationConfig

_DYNAMIC_RANGE_DB = 60.0
"""Scanners show echoes on a logarithmic scale. A grey value of 255 is taken to be this far above one of 0."""
_FADES_BELOW_GREY = 32.0
"""Decibels change darker grey values less, so that black stays black and its JPEG noise invisible."""
_KNOTS = 6
"""Number of equally spaced depths for which the time-gain curve is drawn."""
_SHADOW_WIDTH = (0.03, 0.12)
"""Half width of a shadow, in radians."""
_PROBE_ABOVE = 0.35
"""The beams of a curved probe meet at this fraction of the image's height above it."""
_GRAIN_PX = 2
"""Speckle grains are this number of pixels wide and high."""
_MIRRORED_SHARE = 0.5

_Range = tuple[float, float] | None


@dataclass(frozen=True)
class _Draws:
    """Numbers in [0, 1) for every kind. Each kind has its own, so that no kind changes with what else is on."""

    shift: np.ndarray
    rotation: float
    scale: float
    mirror: float
    gain: float
    time_gain: np.ndarray
    attenuation: float
    shadow: np.ndarray
    speckle: float
    blur: float
    sector_crop: np.ndarray

    @classmethod
    def of(cls, generator: np.random.Generator) -> "_Draws":
        numbers = iter(generator.random(16 + _KNOTS))

        def several(n: int) -> np.ndarray:
            return np.array([next(numbers) for _ in range(n)])

        return cls(
            shift=several(2),
            rotation=next(numbers),
            scale=next(numbers),
            mirror=next(numbers),
            gain=next(numbers),
            time_gain=several(_KNOTS),
            attenuation=next(numbers),
            shadow=several(4),
            speckle=next(numbers),
            blur=next(numbers),
            sector_crop=several(2),
        )


def augmented(
    image_hwc_u8: np.ndarray, mask_hw_u8: np.ndarray, config: AugmentationConfig, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return a randomly changed copy of an image and its mask.

    Parts that move in from outside the image are black in the image and background in the mask.

    Args:
        image_hwc_u8: uint8 [height, width, 3], RGB.
        mask_hw_u8: uint8 [height, width], class numbers.
        config: Which kinds are on, and their ranges.
        generator: Source of the random numbers. Generators with the same seed give the same result.

    Returns:
        The image, uint8 [height, width, 3], and the mask, uint8 [height, width].
    """
    draws = _Draws.of(generator)
    grains = _grains(mask_hw_u8.shape, generator) if config.speckle else None
    image, mask = _moved(image_hwc_u8, mask_hw_u8, config, draws)
    if not any((config.gain, config.time_gain, config.attenuation, config.shadow, config.speckle, config.blur)):
        return _cropped(image, mask, config.sector_crop, draws)
    is_grey = bool((image[..., 0] == image[..., 1]).all() and (image[..., 0] == image[..., 2]).all())
    values = (image[..., :1] if is_grey else image).astype(np.float32)
    if config.blur:
        sigma = _within(config.blur, draws.blur)
        values = ndimage.gaussian_filter(values, (sigma, sigma, 0), mode="nearest", truncate=3.0)
    values = _with_decibels(values, config, draws)
    values *= _factors(mask.shape, config, draws, grains)
    rounded = np.clip(values + 0.5, 0, 255).astype(np.uint8)
    image = np.repeat(rounded, 3, axis=2) if is_grey else rounded
    return _cropped(image, mask, config.sector_crop, draws)


def _within(limits: tuple[float, float], draw: float) -> float:
    return limits[0] + (limits[1] - limits[0]) * float(draw)


def _moved(
    image: np.ndarray, mask: np.ndarray, config: AugmentationConfig, draws: _Draws
) -> tuple[np.ndarray, np.ndarray]:
    """Apply the kinds that move pixels, as one affine map, so that the image is interpolated only once."""
    mirrored = config.mirror and draws.mirror < _MIRRORED_SHARE
    if not (mirrored or config.shift or config.rotation_deg or config.scale):
        return image.copy(), mask.copy()
    height, width = mask.shape
    down, right = (_within(config.shift, draw) if config.shift else 0.0 for draw in draws.shift)
    angle = np.deg2rad(_within(config.rotation_deg, draws.rotation)) if config.rotation_deg else 0.0
    scale = _within(config.scale, draws.scale) if config.scale else 1.0
    # Pillow wants the map from the result's pixels, as x and y, back to those of the original.
    back = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]) / scale
    if mirrored:
        back[0] *= -1
    centre = np.array([width / 2, height / 2])
    offset = centre - back @ (centre + np.array([right * width, down * height]))
    coefficients = (*back[0], offset[0], *back[1], offset[1])

    def transformed(picture: np.ndarray, resampling: Image.Resampling) -> np.ndarray:
        moved = Image.fromarray(picture).transform(
            (width, height), Image.Transform.AFFINE, coefficients, resample=resampling
        )
        return np.array(moved)

    return transformed(image, Image.Resampling.BILINEAR), transformed(mask, Image.Resampling.NEAREST)


def _with_decibels(values: np.ndarray, config: AugmentationConfig, draws: _Draws) -> np.ndarray:
    """Apply the kinds that change echoes by decibels, which depend on the depth alone."""
    if not (config.time_gain or config.attenuation):
        return values
    depth = np.linspace(0.0, 1.0, len(values))
    decibels = np.zeros(len(values))
    if config.time_gain:
        low, high = config.time_gain
        decibels += np.interp(depth, np.linspace(0.0, 1.0, _KNOTS), low + (high - low) * draws.time_gain)
    if config.attenuation:
        decibels -= _within(config.attenuation, draws.attenuation) * depth
    added = (255.0 / _DYNAMIC_RANGE_DB * decibels).astype(np.float32)[:, np.newaxis, np.newaxis]
    return np.maximum(values + added * np.minimum(values / np.float32(_FADES_BELOW_GREY), 1), 0)


def _factors(
    shape: tuple[int, ...], config: AugmentationConfig, draws: _Draws, grains: np.ndarray | None
) -> np.ndarray:
    """Return the factor of each grey value: gain, shadow and speckle. float32 [height, width, 1]."""
    gain = _within(config.gain, draws.gain) if config.gain else 1.0
    factors = np.full(shape, gain, np.float32)
    if config.shadow:
        factors *= _shadow(shape, _within(config.shadow, draws.shadow[0]), draws.shadow[1:])
    if config.speckle and grains is not None:
        factors *= np.maximum(1 + np.float32(_within(config.speckle, draws.speckle)) * grains, 0)
    return factors[..., np.newaxis]


def _shadow(shape: tuple[int, ...], lost: float, draws: np.ndarray) -> np.ndarray:
    """Return what a shadow along one beam leaves of the echoes: 1 beside it, 1 − `lost` in its core."""
    height, width = shape
    reach = np.arctan2(width / 2, height * (1 + _PROBE_ABOVE))
    direction, half_width, start = (2 * draws[0] - 1) * reach, _within(_SHADOW_WIDTH, draws[1]), draws[2] * 0.5 * height
    rows = np.arange(height, dtype=np.float32)[:, np.newaxis]
    columns = np.arange(width, dtype=np.float32) - np.float32((width - 1) / 2)
    angle = columns / (rows + np.float32(height * _PROBE_ABOVE))  # nearly the angle, as it is small
    core = np.exp(-(((angle - np.float32(np.tan(direction))) / np.float32(half_width)) ** 2))
    depth = np.clip((rows - np.float32(start)) / np.float32(max(0.05 * height, 1)), 0, 1)
    return 1 - np.float32(lost) * core * depth


def _grains(shape: tuple[int, ...], generator: np.random.Generator) -> np.ndarray:
    """Return smooth noise with mean 0 and standard deviation 1, float32 [height, width]."""
    height, width = shape
    coarse = generator.standard_normal((-(-height // _GRAIN_PX), -(-width // _GRAIN_PX)), dtype=np.float32)
    fine = np.array(Image.fromarray(coarse).resize((width, height), Image.Resampling.BILINEAR))
    return (fine - fine.mean()) / max(float(fine.std()), 1e-6)


def _cropped(image: np.ndarray, mask: np.ndarray, crop: _Range, draws: _Draws) -> tuple[np.ndarray, np.ndarray]:
    """Make the sides black. Both arrays are changed in place."""
    if crop:
        black = round(mask.shape[1] * _within(crop, draws.sector_crop[0]))
        left = round(black * float(draws.sector_crop[1]))
        right = mask.shape[1] - (black - left)
        for picture in (image, mask):
            picture[:, :left], picture[:, right:] = 0, 0
    return image, mask
