"""Simulates four-chamber views of the fetal heart, with label masks, diagnoses and readers."""

from dataset.phantom.cohort.seeds import Split
from dataset.phantom.cohort.studies import PREVALENCE, Study, draw_cohort, draw_study
from dataset.phantom.generation import PhantomImage, generate_image, generate_study_image
from dataset.phantom.rendering.lesions import Lesion

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
