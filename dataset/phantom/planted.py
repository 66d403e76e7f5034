"""The awkward cases that the sample holds on purpose; other cohorts have none."""

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from dataset.phantom.cohort import Study, image_parameters
from dataset.phantom.images import render_abdomen, render_phantom
from dataset.phantom.seeds import Stream, generator


@dataclass(frozen=True)
class Planted:
    """Which studies and images are awkward; images as (study index, image)."""

    unreadable: tuple[int, int] | None = None
    wrong_view: tuple[int, int] | None = None
    without_reference: int | None = None
    excluded: dict[int, str] = field(default_factory=dict)
    """Reason by study index."""


def plant(studies: list[Study]) -> Planted:
    """Chooses awkward cases: singletons seen once, so that twins and repeat scans stay whole.

    The unreadable image and the wrong view stand beside good images of their study.
    """
    seen = [study.subject for study in studies]
    single = [study for study in studies if seen.count(study.subject) == 1]
    several = [study for study in single if study.images > 1]
    once = [study for study in single if study.images == 1]
    if len(several) < 2 or len(once) < 2:
        raise ValueError(f"{len(studies)} studies are too few to plant awkward cases in; ask for at least 32")
    return Planted(
        unreadable=(several[0].index, 1),
        wrong_view=(several[1].index, 1),
        without_reference=once[0].index,
        excluded={once[1].index: "consent withdrawn"},
    )


def planted_image(study: Study, image: int, planted: Planted) -> NDArray[np.uint8] | None:
    """Pixels of an unreadable or wrong view; None where the image is an ordinary one. Such images have no mask."""
    parameters = image_parameters(study, image)
    speckle = generator(study.seed, study.split, Stream.SPECKLE, study.index, image)
    if planted.wrong_view == (study.index, image):
        return render_abdomen(parameters, speckle)
    if planted.unreadable == (study.index, image):
        lost = replace(parameters.settings, gain_db=-14.0, noise_db=-17.0, lateral_blur=5.0, dynamic_range_db=40.0)
        return render_phantom(replace(parameters, settings=lost), speckle)[0]
    return None
