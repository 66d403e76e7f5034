"""Describes congenital heart disease as continuous changes of a normal heart, from subtle (near 0) to obvious (1)."""

from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from dataset.phantom.rendering.anatomy import Heart


class Lesion(StrEnum):
    """The simulated diagnoses, under their names in the reference standard."""

    NORMAL = "normal"
    VENTRICULAR_SEPTAL_DEFECT = "ventricular septal defect"
    ATRIOVENTRICULAR_SEPTAL_DEFECT = "atrioventricular septal defect"
    HYPOPLASTIC_LEFT_HEART = "hypoplastic left heart"
    HYPOPLASTIC_RIGHT_HEART = "hypoplastic right heart"
    COARCTATION = "ventricular disproportion (coarctation-like)"
    EBSTEIN = "Ebstein-like tricuspid displacement"


SHARES: dict[Lesion, float] = {
    Lesion.VENTRICULAR_SEPTAL_DEFECT: 0.28,
    Lesion.ATRIOVENTRICULAR_SEPTAL_DEFECT: 0.20,
    Lesion.HYPOPLASTIC_LEFT_HEART: 0.15,
    Lesion.HYPOPLASTIC_RIGHT_HEART: 0.10,
    Lesion.COARCTATION: 0.17,
    Lesion.EBSTEIN: 0.10,
}
"""Share of each lesion among hearts with disease."""


SEVERITY_BETA = (2.0, 1.2)
LEAST_SEVERITY = 0.12
MUSCULAR_SHARE = 0.35
"""Share of ventricular septal defects in the muscular septum. The others lie at the inlet, near the crux."""


@dataclass(frozen=True)
class Disease:
    """The lesion of one heart. A normal heart has severity 0."""

    lesion: Lesion
    severity: float
    position: float
    """Position of a ventricular septal defect along the septum, in [0, 1)."""

    @property
    def label(self) -> int:
        """1 = congenital heart disease, 0 = normal."""
        return int(self.lesion is not Lesion.NORMAL)


def draw_disease(rng: np.random.Generator, prevalence: float) -> Disease:
    """Draw a normal heart, or a lesion by `SHARES`. The subtlest lesions lie within normal variation."""
    diseased, lesion = rng.uniform() < prevalence, int(rng.choice(len(SHARES), p=list(SHARES.values())))
    severity, position = rng.beta(*SEVERITY_BETA), rng.uniform()
    if not diseased:
        return Disease(Lesion.NORMAL, 0.0, float(position))
    return Disease(list(SHARES)[lesion], float(LEAST_SEVERITY + (1.0 - LEAST_SEVERITY) * severity), float(position))


def with_disease(heart: Heart, disease: Disease, visibility: float = 1.0) -> Heart:
    """Return the heart with its lesion.

    ``visibility`` (0 to 1) scales the severity, because a plane may cut a lesion off-centre.
    """
    severity = visibility * disease.severity
    match disease.lesion:
        case Lesion.NORMAL:
            return heart
        case Lesion.VENTRICULAR_SEPTAL_DEFECT:
            muscular = disease.position < MUSCULAR_SHARE
            first, last = (0.38, 0.68) if muscular else (0.06, 0.20)
            share = (
                disease.position / MUSCULAR_SHARE
                if muscular
                else (disease.position - MUSCULAR_SHARE) / (1.0 - MUSCULAR_SHARE)
            )
            return replace(heart, gap_center=first + (last - first) * share, gap_width=0.08 + 0.32 * severity)
        case Lesion.ATRIOVENTRICULAR_SEPTAL_DEFECT:
            inlet = 0.38 * severity
            return replace(
                heart,
                gap_center=0.0,
                gap_width=2.0 * inlet,
                primum_gap=0.06 + 0.34 * severity,
                mitral_level=heart.mitral_level + 0.03 * severity,
                tricuspid_level=heart.tricuspid_level * (1.0 - min(1.0, 1.5 * severity)) + 0.03 * severity,
            )
        case Lesion.HYPOPLASTIC_LEFT_HEART:
            return replace(
                heart,
                left_scale=heart.left_scale * (1.0 - 0.72 * severity),
                septum_shift=heart.septum_shift + 0.13 * severity,
                mitral_mobility=1.0 - 0.9 * severity,
                mitral_thickness=heart.mitral_thickness * (1.0 + 0.8 * severity),
            )
        case Lesion.HYPOPLASTIC_RIGHT_HEART:
            return replace(
                heart,
                right_scale=heart.right_scale * (1.0 - 0.72 * severity),
                septum_shift=heart.septum_shift - 0.13 * severity,
                tricuspid_mobility=1.0 - 0.9 * severity,
                tricuspid_thickness=heart.tricuspid_thickness * (1.0 + 0.8 * severity),
            )
        case Lesion.COARCTATION:
            return replace(
                heart,
                septum_shift=heart.septum_shift + 0.03 + 0.19 * severity,
                left_scale=heart.left_scale * (1.0 - 0.10 * severity),
                atrial_shift=heart.atrial_shift + 0.05 * severity,
            )
        case Lesion.EBSTEIN:
            return replace(
                heart,
                tricuspid_level=heart.tricuspid_level + 0.05 + 0.40 * severity,
                atria_half_width=heart.atria_half_width * (1.0 + 0.20 * severity),
                atrial_shift=heart.atrial_shift - 0.10 * severity,
            )
