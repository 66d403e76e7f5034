"""Reference masks: label maps that a person drew. They are checked and never repaired."""

from collections.abc import Mapping

import numpy as np

from diagchd_batch.errors import ItemError
from diagchd_batch.failure_codes import FailureCode
from diagchd_batch.images.formats import ImageFile, open_image
from diagchd_batch.images.limits import DecodeLimits

IDENTITY_LABELS: Mapping[int, int] = {0: 0, 1: 1, 2: 2}

_SHOWN_VALUES = 5


def read_label_mask(
    data: bytes,
    label_map: Mapping[int, int] | None,
    limits: DecodeLimits,
    expected_size: tuple[int, int] | None = None,
    *,
    frame: int = 0,
    lone_frame: bool = True,
) -> np.ndarray:
    """Return the label map in a mask file.

    A mask file with several pages has one page per frame of its image. A mask file with a single page is the mask of
    the image's only chosen frame; it is never taken for several frames, because a heart moves.

    Args:
        data: The whole file.
        label_map: Class of each grey value as stored; None if the values are classes. 16-bit values are not scaled, a
            1-bit mask has the values 0 and 255, and colour with red = green = blue is grey.
        limits: Bounds that are checked before anything is decoded.
        expected_size: Height and width of the decoded image in pixels; None to accept any size.
        frame: Index of the image's frame, counted from 0.
        lone_frame: Whether `frame` is the only frame of the image that is scored.

    Returns:
        uint8 [height, width] with the classes 0 background, 1 septum, 2 heart.

    Raises:
        ItemError: `mask_unreadable`, `mask_invalid_values` (other values are refused, never rounded) or
            `mask_size_mismatch`.
    """
    try:
        file = open_image(data, limits)
    except ItemError as error:
        raise ItemError(FailureCode.MASK_UNREADABLE, str(error)) from error
    page = _page(file, frame, lone_frame)
    try:
        values = file.grey_values(page)
    except ItemError as error:
        not_grey = error.code == FailureCode.UNSUPPORTED_FORMAT
        code = FailureCode.MASK_INVALID_VALUES if not_grey else FailureCode.MASK_UNREADABLE
        raise ItemError(code, str(error)) from error
    if expected_size is not None and values.shape != expected_size:
        raise ItemError(
            FailureCode.MASK_SIZE_MISMATCH,
            f"the mask has {values.shape[0]} x {values.shape[1]} pixels (height x width), its image "
            f"{expected_size[0]} x {expected_size[1]} when both are upright",
        )
    return _to_classes(values, IDENTITY_LABELS if label_map is None else label_map)


def _page(file: ImageFile, frame: int, lone_frame: bool) -> int:
    if file.n_frames == 1 and lone_frame:
        return 0
    if file.n_frames == 1 or frame >= file.n_frames:
        raise ItemError(
            FailureCode.MASK_SIZE_MISMATCH,
            f"the mask has {file.n_frames} page(s), and frame {frame} of its image needs its own page",
        )
    return frame


def _to_classes(values: np.ndarray, label_map: Mapping[int, int]) -> np.ndarray:
    label_map_hw_u8 = np.zeros(values.shape, np.uint8)
    known = np.zeros(values.shape, bool)
    for value, label in label_map.items():
        here = values == value
        label_map_hw_u8[here] = label
        known |= here
    if not known.all():
        unknown = np.unique(values[~known])
        shown = ", ".join(str(value) for value in unknown[:_SHOWN_VALUES])
        more = "" if len(unknown) <= _SHOWN_VALUES else f" and {len(unknown) - _SHOWN_VALUES} more"
        blurred = "; this many different values are a sign of lossy compression" if len(unknown) > 16 else ""
        raise ItemError(
            FailureCode.MASK_INVALID_VALUES,
            f"{np.count_nonzero(~known)} pixels have values without a class: {shown}{more} "
            f"(there are classes for {', '.join(str(value) for value in sorted(label_map))}){blurred}",
        )
    return label_map_hw_u8
