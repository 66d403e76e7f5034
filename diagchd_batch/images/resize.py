"""Resizing to the model's grid as the original does: Pillow's nearest neighbour, without keeping the aspect ratio."""

import numpy as np
from PIL import Image


def resize_to_grid(image_hwc_u8: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize an image. The result equals Keras's ``load_img(target_size=…)`` pixel for pixel.

    Args:
        image_hwc_u8: uint8 [source height, source width, 3].
        height: Rows of the grid.
        width: Columns of the grid.

    Returns:
        uint8 [height, width, 3].
    """
    return _resize_nearest(image_hwc_u8, height, width)


def resize_labels(label_map_hw_u8: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize a label map. It is sampled at the same pixels as the image in `resize_to_grid`.

    Args:
        label_map_hw_u8: Class numbers, uint8 [source height, source width].
        height: Rows of the grid.
        width: Columns of the grid.

    Returns:
        Class numbers, uint8 [height, width].
    """
    return _resize_nearest(label_map_hw_u8, height, width)


def _resize_nearest(values_u8: np.ndarray, height: int, width: int) -> np.ndarray:
    # An index computed here would differ at ties. Pillow adds up the sampling positions in floating point, and the
    # rounding decides which of two pixels it takes.
    if values_u8.shape[:2] == (height, width):
        return values_u8
    return np.asarray(Image.fromarray(values_u8).resize((width, height), Image.Resampling.NEAREST))
