"""Draws the subjects, fetuses, studies and images of a cohort without rendering anything.

Study k of a cohort depends only on the seed, the split and k, not on the number of studies. Only the heart depends on
the label. Everything else is drawn from streams and distributions that do not depend on it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from dataset.phantom.cohort.seeds import Split, Stream, generator
from dataset.phantom.rendering.acoustics import draw_settings
from dataset.phantom.rendering.anatomy import Heart, draw_normal_heart
from dataset.phantom.rendering.images import Parameters
from dataset.phantom.rendering.lesions import Disease, draw_disease, with_disease
from dataset.phantom.rendering.scanner import DEVICES, Device
from dataset.phantom.rendering.tissue import Echoes, draw_echoes
from dataset.phantom.rendering.view import Chest, draw_chest, draw_view

PREVALENCE = 1.0 / 3.0
SITES: dict[str, tuple[float, ...]] = {
    "site-1": (0.1, 0.4, 0.3, 0.2, 0.0, 0.0),
    "site-2": (0.3, 0.2, 0.0, 0.0, 0.3, 0.2),
    "site-3": (0.0, 0.3, 0.3, 0.2, 0.1, 0.1),
}
"""Shares of `DEVICES` at each site."""

BLOCK_STUDIES = 32
_TWINS, _REPEATS = 2, 4
BLOCK_SUBJECTS = BLOCK_STUDIES - _TWINS - _REPEATS
# (subject in the block, fetus, visit) of each study: first twins, then subjects who are seen twice, then all others.
_BLOCK: tuple[tuple[int, int, int], ...] = (
    *((subject, fetus, 1) for subject in range(_TWINS) for fetus in (1, 2)),
    *((subject, 1, visit) for subject in range(_TWINS, _TWINS + _REPEATS) for visit in (1, 2)),
    *((subject, 1, 1) for subject in range(_TWINS + _REPEATS, BLOCK_SUBJECTS)),
)


@dataclass(frozen=True)
class Study:
    """One examination of one fetus."""

    seed: int
    split: Split
    index: int
    subject: int
    """Number of the pregnancy, which twins and repeat scans share."""
    fetus: int
    visit: int
    disease: Disease
    heart: Heart
    """The heart as it would be without its disease."""
    chest: Chest
    echoes: Echoes
    rotation: float
    mirrored: bool
    images: int
    gestational_age_days: int
    maternal_age_years: int
    site: str
    device: Device
    month: int
    """Months since the cohort's first study."""

    @property
    def study_id(self) -> str:
        """Neutral name, unique in the cohort."""
        return f"study-{self.index + 1:05d}"

    @property
    def subject_id(self) -> str:
        """Neutral name of the pregnancy, unique in the cohort."""
        return f"subject-{self.subject + 1:05d}"


def draw_study(seed: int, split: Split, index: int, prevalence: float = PREVALENCE) -> Study:
    """Return study ``index`` (from 0) of the cohort with this seed and split."""
    block, place = divmod(index, BLOCK_STUDIES)
    order = generator(seed, split, Stream.BLOCK, block).permutation(BLOCK_STUDIES)
    subject_in_block, fetus, visit = _BLOCK[order[place]]
    subject = block * BLOCK_SUBJECTS + subject_in_block

    of_fetus = generator(seed, split, Stream.FETUS, subject, fetus)
    disease = draw_disease(of_fetus, prevalence)
    heart, chest = draw_normal_heart(of_fetus), draw_chest(of_fetus)

    of_subject = generator(seed, split, Stream.SUBJECT, subject)
    first_age_days = int(of_subject.integers(18 * 7, 32 * 7))
    maternal_age_years = int(np.clip(np.rint(of_subject.normal(31.0, 5.0)), 18, 46))
    site = str(of_subject.choice(list(SITES)))

    of_study = generator(seed, split, Stream.STUDY, index)
    return Study(
        seed=seed,
        split=split,
        index=index,
        subject=subject,
        fetus=fetus,
        visit=visit,
        disease=disease,
        heart=heart,
        chest=chest,
        echoes=draw_echoes(of_study),
        rotation=float(of_study.uniform(0.0, 2.0 * np.pi)),
        mirrored=bool(of_study.uniform() < 0.5),
        images=int(of_study.choice([1, 2, 3], p=[0.3, 0.45, 0.25])),
        gestational_age_days=first_age_days + (visit - 1) * int(of_study.integers(14, 42)),
        maternal_age_years=maternal_age_years,
        site=site,
        device=DEVICES[int(of_study.choice(len(DEVICES), p=SITES[site]))],
        month=int(of_study.integers(0, 12)),
    )


def draw_cohort(seed: int, split: Split, studies: int, prevalence: float = PREVALENCE) -> Iterator[Study]:
    """Yield the first ``studies`` studies in order."""
    return (draw_study(seed, split, index, prevalence) for index in range(studies))


def image_parameters(study: Study, image: int) -> Parameters:
    """Return the parameters of image ``image`` (from 0): each has its own plane, heart phase and scanner settings."""
    rng = generator(study.seed, study.split, Stream.IMAGE, study.index, image)
    visibility, dropout = float(rng.uniform(0.8, 1.0)), float(rng.uniform(0.4, 1.0))
    heart = with_disease(study.heart, study.disease, visibility)
    return Parameters(
        heart=replace(heart, dropout_depth=heart.dropout_depth * dropout),
        chest=study.chest,
        view=draw_view(rng, study.gestational_age_days, study.rotation, study.mirrored),
        echoes=study.echoes,
        settings=draw_settings(rng),
        device=study.device,
        openness=float(rng.uniform()),
    )
