"""The interface that every runtime implements: one function that scores a batch, and the named outputs of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np


@dataclass(frozen=True, slots=True)
class Prediction:
    """The outputs of the network for one batch of B images on a grid of H x W pixels.

    For an ensemble the label maps are the vote of its members, and where several classes have the most votes, the one
    of these with the greatest mean probability. Its probability of disease is the mean of the members', and losses are
    those of the mean probabilities of the pixels.

    Attributes:
        label_maps_bhw_u8: uint8 ``[B, H, W]``. The most probable class of each pixel: 0 background, 1 septum, 2 rest of
            the heart.
        chd_probability_b_f32: float32 ``[B]`` in [0, 1]. The probability of congenital heart disease.
        seg_loss_b_f32: float32 ``[B]``, in nats. Cross-entropy plus one minus soft Dice against the reference
            (`losses.segmentation_loss`); None if the batch was scored without a reference.
        soft_dice_b_f32: float32 ``[B]`` in [0, 1]. Soft Dice against the reference (`losses.soft_dice`); None if the
            batch was scored without a reference.
        chd_probability_sd_b_f32: float32 ``[B]`` in [0, 0.5]. Standard deviation of the members' probabilities; the
            divisor is the number of members. None for a model with one member.
        mask_disagreement_b_f32: float32 ``[B]`` in [0, 1]. Of the pixels that any member calls septum or heart, the
            share on which the members' classes differ, 0 where there is no such pixel; None for a model with one
            member.
        pooled_features_bmd_f32: float32 ``[B, members, channels]``. What the classifier of each member gets; None for a
            model that gives no view features.
        entropy_b_f32: float32 ``[B]``, in nats. The entropy of the classes of a pixel, the mean over pixels and
            members; None for a model that gives no view features.
        view_score_b_f32: float32 ``[B]`` in [0, 1]. How much the image looks like those that the model was trained on
            (`view_check.ViewCheck`); the predictor adds it. None for a model without a view check.
    """

    label_maps_bhw_u8: np.ndarray
    chd_probability_b_f32: np.ndarray
    seg_loss_b_f32: np.ndarray | None = None
    soft_dice_b_f32: np.ndarray | None = None
    chd_probability_sd_b_f32: np.ndarray | None = None
    mask_disagreement_b_f32: np.ndarray | None = None
    pooled_features_bmd_f32: np.ndarray | None = None
    entropy_b_f32: np.ndarray | None = None
    view_score_b_f32: np.ndarray | None = None


class Run(Protocol):
    """A compiled network: scores batches of one fixed size, one call at a time."""

    @property
    def devices(self) -> Sequence[str]:
        """The names of the devices that compute, such as ``CPU`` or ``NVIDIA H100``."""
        ...

    def __call__(self, images_bhwc_u8: np.ndarray, reference_bhw_u8: np.ndarray | None = None) -> Prediction:
        """Score one batch.

        Args:
            images_bhwc_u8: uint8 ``[B, H, W, 3]``, red, green and blue in [0, 255].
            reference_bhw_u8: uint8 ``[B, H, W]``, reference label maps with classes 0, 1 and 2, or None.
        """
        ...
