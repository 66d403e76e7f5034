"""Generates pictures that an archive holds and that are no four-chamber view, to measure how a view check treats them.

Each kind is a function of a random generator and the grid, and returns uint8 [height, width, 3]. The planes of the
fetal body other than the heart's come from the phantom generator, so they have the same speckle, sector and devices as
its four-chamber views.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from dataset.phantom import Split, draw_study
from dataset.phantom.cohort.seeds import Stream, generator
from dataset.phantom.cohort.studies import image_parameters
from dataset.phantom.rendering.images import nearest_positions, render_other_plane
from dataset.phantom.rendering.other_planes import BodyPlane

Grid = tuple[int, int]
Picture = NDArray[np.uint8]

_FULL_SIZE = (480, 640)
_WORDS = ("EXAM", "BPD", "HC", "AC", "FL", "EFW", "cm", "mm", "Hz", "PI", "RI", "report", "measured", "mean", "weeks")


def wrong_picture(kind: str, seed: int, number: int, grid: Grid) -> Picture:
    """Return one wrong picture. The same arguments always give the same picture.

    Args:
        kind: A key of `WRONG_PICTURES`.
        seed: Seed of the collection.
        number: Number of the picture in its kind, from 0.
        grid: Height and width of the picture.

    Returns:
        uint8 [height, width, 3].
    """
    place = list(WRONG_PICTURES).index(kind)
    return WRONG_PICTURES[kind](np.random.default_rng([seed, place, number]), grid)


def blank(rng: np.random.Generator, grid: Grid) -> Picture:
    """Return one grey level, or a smooth slope between two."""
    first, second = rng.uniform(0, 255, 2)
    if rng.uniform() < 0.5:
        second = first
    across, down = np.meshgrid(np.linspace(0, 1, grid[1]), np.linspace(0, 1, grid[0]))
    angle = rng.uniform(0, 2 * np.pi)
    along = np.clip(0.5 + (across - 0.5) * np.cos(angle) + (down - 0.5) * np.sin(angle), 0, 1)
    return _grey(first + (second - first) * along)


def noise(rng: np.random.Generator, grid: Grid) -> Picture:
    """Return noise without an image, as fine as a pixel or blurred."""
    values = ndimage.gaussian_filter(rng.standard_normal(grid), rng.choice([0.0, 0.7, 1.5, 3.0, 6.0]))
    return _grey(rng.uniform(40, 200) + rng.uniform(15, 70) * values / values.std())


def text_screen(rng: np.random.Generator, grid: Grid) -> Picture:
    """Return a screen of words and numbers, such as a report or a worklist, light on dark or dark on light."""
    light = rng.uniform() < 0.3
    paper, ink = ((rng.integers(200, 256)), 20) if light else (int(rng.integers(0, 60)), int(rng.integers(150, 256)))
    image = Image.new("L", (_FULL_SIZE[1], _FULL_SIZE[0]), int(paper))
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(int(rng.integers(12, 28)))
    columns, line = int(rng.integers(1, 5)), int(rng.integers(18, 44))
    for top in range(10, _FULL_SIZE[0] - 20, line):
        for column in range(columns):
            if rng.uniform() < 0.85:
                words = [str(rng.choice(_WORDS)), f"{rng.uniform(0, 400):.{int(rng.integers(0, 3))}f}"]
                draw.text((12 + column * (_FULL_SIZE[1] - 20) / columns, top), " ".join(words), int(ink), font)
        if rng.uniform() < 0.1:
            draw.line((8, top - 2, _FULL_SIZE[1] - 8, top - 2), int(ink))
    return _resized(np.asarray(image, np.float64), grid)


def spectral_doppler(rng: np.random.Generator, grid: Grid) -> Picture:
    """Return a Doppler spectrum: velocity against time, bright below the envelope of the beats."""
    height, width = _FULL_SIZE
    baseline = rng.uniform(0.35, 0.75) * height
    time = np.arange(width) / width * rng.uniform(4, 12) + rng.uniform()
    phase = time % 1.0
    peak = rng.uniform(0.15, 0.4) * height
    envelope = peak * (
        np.exp(-(((phase - 0.25) / 0.13) ** 2)) + rng.uniform(0.1, 0.7) * np.exp(-(((phase - 0.65) / 0.12) ** 2))
    )
    envelope += rng.uniform(0, 0.2) * peak
    down = np.arange(height)[:, None]
    above = (baseline - down) * (1 if rng.uniform() < 0.7 else -1)
    inside = 1 / (1 + np.exp(-(envelope[None, :] - above) / 4)) * (above > 0)
    filling = 0.4 + 0.6 * np.clip(above / np.maximum(envelope[None, :], 1), 0, 1)
    grey = 255 * inside * filling * rng.gamma(3, 1 / 3, (height, width)) + rng.uniform(2, 25) * rng.random(
        (height, width)
    )
    grey[int(baseline)] = 200
    if rng.uniform() < 0.5:  # many scanners keep a small picture of the vessel above the spectrum
        small = _plane(rng, BodyPlane.FLUID, (height // 4, width // 3))[..., 0]
        grey[: small.shape[0], width // 3 : width // 3 + small.shape[1]] = small
    return _resized(grey, grid)


def m_mode(rng: np.random.Generator, grid: Grid) -> Picture:
    """Return an M-mode picture: one beam against time, so that walls are wavy lines."""
    height, width = _FULL_SIZE
    time = np.arange(width) / width * rng.uniform(4, 14)
    beat = np.sin(2 * np.pi * time) + 0.4 * np.sin(4 * np.pi * time + rng.uniform(0, 6))
    down = np.arange(height)[:, None]
    grey = np.full((height, width), rng.uniform(5, 40))
    for _ in range(int(rng.integers(5, 14))):
        middle = rng.uniform(0, height) + rng.uniform(0, 0.04) * height * beat * rng.choice([-1, 1])
        grey += rng.uniform(40, 200) * np.exp(-(((down - middle[None, :]) / rng.uniform(2, 18)) ** 2))
    speckle = ndimage.gaussian_filter(rng.gamma(1.5, 1 / 1.5, (height, width)), (1.2, 0.8))
    return _resized(grey * speckle, grid)


def abdomen(rng: np.random.Generator, grid: Grid) -> Picture:
    """Return the phantom's fetal abdomen."""
    return _plane(rng, BodyPlane.ABDOMEN, grid)


def head(rng: np.random.Generator, grid: Grid) -> Picture:
    """Return the phantom's fetal head: skull, midline and ventricles."""
    return _plane(rng, BodyPlane.HEAD, grid)


def limb(rng: np.random.Generator, grid: Grid) -> Picture:
    """Return the phantom's thigh: one long bone with its shadow."""
    return _plane(rng, BodyPlane.LIMB, grid)


def no_fetus(rng: np.random.Generator, grid: Grid) -> Picture:
    """Return amniotic fluid and the wall of the uterus."""
    return _plane(rng, BodyPlane.FLUID, grid)


WRONG_PICTURES: dict[str, Callable[[np.random.Generator, Grid], Picture]] = {
    "blank": blank,
    "noise": noise,
    "text screen": text_screen,
    "spectral Doppler": spectral_doppler,
    "M-mode": m_mode,
    "abdomen": abdomen,
    "head": head,
    "limb": limb,
    "no fetus": no_fetus,
}
"""The kinds of wrong pictures. Their order is part of the pictures, so append new kinds at the end."""


def _plane(rng: np.random.Generator, plane: BodyPlane, grid: Grid) -> Picture:
    """Return another plane of a fetus, with the scanner and its settings of a random study of the split `other`."""
    study = draw_study(int(rng.integers(0, 2**31)), Split.OTHER, int(rng.integers(0, 1000)))
    parameters = image_parameters(study, 0)
    view = replace(parameters.view, rotation=float(rng.uniform(0, 2 * np.pi)))
    speckle = generator(study.seed, study.split, Stream.SPECKLE, study.index, 0)
    pixels = render_other_plane(plane, replace(parameters, view=view), speckle, grid)
    return pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)


def _grey(values: NDArray[np.float64]) -> Picture:
    return np.repeat(np.clip(np.rint(values), 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def _resized(values: NDArray[np.float64], grid: Grid) -> Picture:
    """Resize to the nearest pixel, as the network's preprocessing does."""
    rows, columns = (nearest_positions(size, target) for size, target in zip(values.shape, grid, strict=True))
    return _grey(values[np.ix_(rows, columns)])
