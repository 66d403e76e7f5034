"""The entry point for whoever wants images: a study's image and mask, at full size or at a network's grid."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dataset.phantom.cohort import Study, draw_study, image_parameters
from dataset.phantom.images import render_phantom
from dataset.phantom.lesions import Lesion
from dataset.phantom.seeds import Split, Stream, generator


@dataclass(frozen=True)
class PhantomImage:
    """One image with all that is known about it."""

    pixels: NDArray[np.uint8]
    """As a scanner stores it: [height, width] grey or [height, width, 3] RGB."""
    mask_hw_u8: NDArray[np.uint8]
    """0 background, 1 ventricular septum, 2 the rest of the heart; [height, width]."""
    label: int
    severity: float
    lesion: Lesion
    subject: int

    @property
    def image_hwc_u8(self) -> NDArray[np.uint8]:
        """The image as RGB, uint8 [height, width, 3]; grey becomes three equal channels."""
        if self.pixels.ndim == 3:
            return self.pixels
        return np.repeat(self.pixels[..., None], 3, axis=2)


def generate_study_image(study: Study, image: int, grid: tuple[int, int] | None = None) -> PhantomImage:
    """Image ``image`` (from 0) of a study.

    ``grid`` (height, width): only the pixels that a nearest-neighbour resize to that size keeps, as the network's
    preprocessing would; equal to rendering in full and resizing, but faster. None: the device's own size.
    """
    speckle = generator(study.seed, study.split, Stream.SPECKLE, study.index, image)
    pixels, mask = render_phantom(image_parameters(study, image), speckle, grid)
    disease = study.disease
    return PhantomImage(pixels, mask, disease.label, disease.severity, disease.lesion, study.subject)


def generate_image(
    seed: int, split: Split, study: int, image: int = 0, grid: tuple[int, int] | None = None
) -> PhantomImage:
    """One image by number; every (seed, split, study, image) gives the same image for ever."""
    return generate_study_image(draw_study(seed, split, study), image, grid)
