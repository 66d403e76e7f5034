"""Special cases that the sample contains on purpose. Other cohorts contain none."""

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from dataset.phantom.cohort.seeds import Stream, generator
from dataset.phantom.cohort.studies import Study, image_parameters
from dataset.phantom.rendering.images import render_other_plane, render_phantom
from dataset.phantom.rendering.other_planes import BodyPlane


@dataclass(frozen=True)
class SpecialCases:
    """The special studies and images. Studies are given by index, images by (study index, image)."""

    damaged: int | None = None
    """The study with one more file, which ends in the middle, as after a broken transfer. It is no `Study.images`."""
    unreadable: tuple[int, int] | None = None
    wrong_view: tuple[int, int] | None = None
    without_reference: int | None = None
    excluded: dict[int, str] = field(default_factory=dict)
    """Reason for the exclusion, by study index."""


def choose_special_cases(studies: list[Study]) -> SpecialCases:
    """Choose the special cases among subjects with one study, so that twins and repeat scans stay complete.

    The studies of the damaged file, of the unreadable image and of the wrong view also have good images.

    Raises:
        ValueError: There are too few studies.
    """
    seen = [study.subject for study in studies]
    single = [study for study in studies if seen.count(study.subject) == 1]
    several = [study for study in single if study.images > 1]
    once = [study for study in single if study.images == 1]
    if len(several) < 3 or len(once) < 2:
        raise ValueError(f"{len(studies)} studies are too few for the special cases; ask for at least 32")
    return SpecialCases(
        damaged=several[2].index,
        unreadable=(several[0].index, 1),
        wrong_view=(several[1].index, 1),
        without_reference=once[0].index,
        excluded={once[1].index: "consent withdrawn"},
    )


def special_image(study: Study, image: int, special: SpecialCases) -> NDArray[np.uint8] | None:
    """Return the pixels of an unreadable or wrong view, or None for an ordinary image. Special images have no mask."""
    parameters = image_parameters(study, image)
    speckle = generator(study.seed, study.split, Stream.SPECKLE, study.index, image)
    if special.wrong_view == (study.index, image):
        return render_other_plane(BodyPlane.ABDOMEN, parameters, speckle)
    if special.unreadable == (study.index, image):
        lost = replace(parameters.settings, gain_db=-14.0, noise_db=-17.0, lateral_blur=5.0, dynamic_range_db=40.0)
        return render_phantom(replace(parameters, settings=lost), speckle)[0]
    return None
