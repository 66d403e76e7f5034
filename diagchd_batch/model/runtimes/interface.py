"""The interface that every runtime implements: one function that scores a batch, and the named outputs of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np


@dataclass(frozen=True, slots=True)
class Prediction:
    """The outputs of the network for one batch of B images on a grid of H x W pixels.

    Attributes:
        label_maps_bhw_u8: uint8 ``[B, H, W]``. The most probable class of each pixel: 0 background, 1 septum, 2 rest of
            the heart.
        chd_probability_b_f32: float32 ``[B]`` in [0, 1]. The probability of congenital heart disease.
        seg_loss_b_f32: float32 ``[B]``, in nats. Cross-entropy plus one minus soft Dice against the reference
            (`losses.segmentation_loss`); None if the batch was scored without a reference.
        soft_dice_b_f32: float32 ``[B]`` in [0, 1]. Soft Dice against the reference (`losses.soft_dice`); None if the
            batch was scored without a reference.
    """

    label_maps_bhw_u8: np.ndarray
    chd_probability_b_f32: np.ndarray
    seg_loss_b_f32: np.ndarray | None = None
    soft_dice_b_f32: np.ndarray | None = None


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
