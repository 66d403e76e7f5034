"""Resizing to the model's grid as the original does: Pillow's nearest neighbour, without keeping the aspect ratio."""

from functools import lru_cache

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
    if values_u8.shape[:2] == (height, width) and values_u8.flags.c_contiguous:
        return values_u8
    lines, pixel_bytes, channel_bytes = _lines_of_bytes(values_u8)
    rows = _sampled_positions(values_u8.shape[0], height)
    samples = _sampled_bytes(values_u8.shape[1], width, values_u8.shape[2:], pixel_bytes, channel_bytes)
    # The rows are taken first where that leaves fewer of them. `take` releases the interpreter lock.
    if height <= len(lines):
        resized = lines.take(rows, axis=0).take(samples, axis=1)
    else:
        resized = lines.take(samples, axis=1).take(rows, axis=0)
    return resized.reshape(height, width, *values_u8.shape[2:])


def _lines_of_bytes(values_u8: np.ndarray) -> tuple[np.ndarray, int, int]:
    """Return the bytes of each row, and how many bytes further the next pixel and the next channel lie in it.

    The channels of grey pictures share their memory: the next one lies 0 bytes further.
    """
    if values_u8.ndim == 2:
        return values_u8, 1, 0
    is_grey = values_u8.strides[2] == 0
    if is_grey:
        return values_u8[:, :, 0], 1, 0
    contiguous = np.ascontiguousarray(values_u8)
    return contiguous.reshape(len(contiguous), -1), contiguous.shape[2], 1


@lru_cache(maxsize=256)
def _sampled_positions(n_source: int, n_target: int) -> np.ndarray:
    """Return which of the source's rows, or columns, Pillow takes for each one of the target: intp [n_target].

    Pillow itself is asked with a picture of one row. An index computed here would differ at ties: Pillow adds up the
    sampling positions in floating point, and the rounding decides which of two pixels it takes.
    """
    numbers = Image.fromarray(np.arange(n_source, dtype=np.int32)[np.newaxis])
    return np.asarray(numbers.resize((n_target, 1), Image.Resampling.NEAREST))[0].astype(np.intp)


@lru_cache(maxsize=256)
def _sampled_bytes(
    n_source: int, n_target: int, channels: tuple[int, ...], pixel_bytes: int, channel_bytes: int
) -> np.ndarray:
    """Return which bytes of a row are taken for each pixel and channel of the target: intp [n_target * channels]."""
    pixels = _sampled_positions(n_source, n_target) * pixel_bytes
    return (pixels[:, np.newaxis] + np.arange(channels[0] if channels else 1) * channel_bytes).ravel()
