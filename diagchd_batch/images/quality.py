"""Quality flags: simple rules on a predicted label map that say which results a person should look at.

They are heuristics, not measurements. They do not see the image, and their thresholds are rules of thumb. In an apical
or lateral four-chamber view that fills the sector, the heart takes about a fifth to a quarter of the grid.
"""

import numpy as np

from diagchd_batch.images.label_map_shapes import class_pixels, share_outside_largest_piece

NO_SEPTUM = "no_septum"
NO_HEART = "no_heart"
HEART_SMALL = "heart_small"
HEART_LARGE = "heart_large"
FRAGMENTS = "fragments"
UNSURE = "unsure"

QUALITY_FLAGS: dict[str, str] = {
    NO_SEPTUM: "the septum takes less than 0.05 % of the grid",
    NO_HEART: "the heart without its septum takes less than 0.5 % of the grid",
    HEART_SMALL: "the whole heart takes less than 5 % of the grid, but is there",
    HEART_LARGE: "the whole heart takes more than 60 % of the grid",
    FRAGMENTS: "more than 10 % of the whole heart lies outside its largest connected piece",
    UNSURE: "the probability of CHD lies between 0.4 and 0.6",
}
"""The rule of each flag, in the order in which flags are listed."""

_SEPTUM_PRESENT = 0.0005
_HEART_PRESENT = 0.005
_HEART_SMALL = 0.05
_HEART_LARGE = 0.60
_FRAGMENTS = 0.10
_UNSURE_WITHIN = 0.10


def quality_flags(label_map_hw_u8: np.ndarray, probability: float) -> tuple[str, ...]:
    """Return the flags that one result raises.

    Args:
        label_map_hw_u8: Predicted classes on the model's grid, uint8 [height, width]: 0 background, 1 septum, 2 heart.
        probability: Probability of CHD, from 0 to 1.

    Returns:
        Keys of `QUALITY_FLAGS`, in its order.
    """
    grid = label_map_hw_u8.size
    _, septum, heart = class_pixels(label_map_hw_u8)
    septum_share, heart_share = septum / grid, heart / grid
    whole_share = septum_share + heart_share
    raised = {
        NO_SEPTUM: septum_share < _SEPTUM_PRESENT,
        NO_HEART: heart_share < _HEART_PRESENT,
        HEART_SMALL: heart_share >= _HEART_PRESENT and whole_share < _HEART_SMALL,
        HEART_LARGE: whole_share > _HEART_LARGE,
        FRAGMENTS: share_outside_largest_piece(label_map_hw_u8 > 0) > _FRAGMENTS,
        UNSURE: abs(probability - 0.5) < _UNSURE_WITHIN,
    }
    return tuple(flag for flag in QUALITY_FLAGS if raised[flag])
