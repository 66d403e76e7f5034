"""Generates the image and mask of a study, at full size or at a network's grid. This is the entry point for callers."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dataset.phantom.cohort.seeds import Split, Stream, generator
from dataset.phantom.cohort.studies import Study, draw_study, image_parameters
from dataset.phantom.rendering.images import render_phantom
from dataset.phantom.rendering.lesions import Lesion


@dataclass(frozen=True)
class PhantomImage:
    """One image and everything that is known about it."""

    pixels: NDArray[np.uint8]
    """The image as a scanner stores it: [height, width] grey or [height, width, 3] RGB."""
    mask_hw_u8: NDArray[np.uint8]
    """Label mask [height, width]: 0 background, 1 ventricular septum, 2 the rest of the heart."""
    label: int
    severity: float
    lesion: Lesion
    subject: int

    @property
    def image_hwc_u8(self) -> NDArray[np.uint8]:
        """The image as RGB, uint8 [height, width, 3]. A grey image has three equal channels."""
        if self.pixels.ndim == 3:
            return self.pixels
        return np.repeat(self.pixels[..., None], 3, axis=2)


def generate_study_image(study: Study, image: int, grid: tuple[int, int] | None = None) -> PhantomImage:
    """Generate one image of a study.

    Args:
        study: The study.
        image: Index of the image, from 0.
        grid: Height and width. Only the pixels are rendered that a nearest-neighbour resize to that size would keep,
            as the network's preprocessing does. The result equals a full rendering that is resized afterwards, but is
            faster. None renders at the device's own size.
    """
    speckle = generator(study.seed, study.split, Stream.SPECKLE, study.index, image)
    pixels, mask = render_phantom(image_parameters(study, image), speckle, grid)
    disease = study.disease
    return PhantomImage(pixels, mask, disease.label, disease.severity, disease.lesion, study.subject)


def generate_image(
    seed: int, split: Split, study: int, image: int = 0, grid: tuple[int, int] | None = None
) -> PhantomImage:
    """Generate one image by its numbers. The same (seed, split, study, image) always give the same image."""
    return generate_study_image(draw_study(seed, split, study), image, grid)
