"""Simulates four-chamber views of the fetal heart, with label masks, diagnoses and readers."""

from dataset.phantom.cohort import PREVALENCE, Study, draw_cohort, draw_study
from dataset.phantom.generation import PhantomImage, generate_image, generate_study_image
from dataset.phantom.lesions import Lesion
from dataset.phantom.seeds import Split

__all__ = [
    "PREVALENCE",
    "Lesion",
    "PhantomImage",
    "Split",
    "Study",
    "draw_cohort",
    "draw_study",
    "generate_image",
    "generate_study_image",
]
