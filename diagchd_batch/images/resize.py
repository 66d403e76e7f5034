"""The original's resize: Pillow's nearest neighbour, straight to the grid, aspect ratio not kept."""

import numpy as np
from PIL import Image


def resize_to_grid(image_hwc_u8: np.ndarray, height: int, width: int) -> np.ndarray:
    """uint8 [h, w, 3] → uint8 [height, width, 3], equal pixel for pixel to Keras's `load_img(target_size=…)`."""
    return _resize_nearest(image_hwc_u8, height, width)


def resize_labels(label_map_hw_u8: np.ndarray, height: int, width: int) -> np.ndarray:
    """uint8 class numbers [h, w] → uint8 [height, width], sampled at the very pixels that `resize_to_grid` samples."""
    return _resize_nearest(label_map_hw_u8, height, width)


def _resize_nearest(values_u8: np.ndarray, height: int, width: int) -> np.ndarray:
    # Pillow itself, not an index computed here: it adds up the sampling positions in floating point, and which of two
    # pixels it takes at a tie follows from that.
    if values_u8.shape[:2] == (height, width):
        return values_u8
    return np.asarray(Image.fromarray(values_u8).resize((width, height), Image.Resampling.NEAREST))
