"""Reference masks: label maps that somebody drew, checked, never repaired."""

from collections.abc import Mapping

import numpy as np

from diagchd_batch.errors import ItemError
from diagchd_batch.failures import FailureCode
from diagchd_batch.images.decode import ImageFile, open_image
from diagchd_batch.images.limits import DecodeLimits
from diagchd_batch.images.pixels import grey_values

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
    """The label map in a mask file: uint8 [height, width], 0 background, 1 septum, 2 heart.

    `label_map` gives the class of each grey value as stored (16-bit values are not scaled; a 1-bit mask has 0 and 255;
    colour with red = green = blue is grey); None: values are classes. `expected_size` is the (height, width) of the
    decoded image. A mask file of several pages gives page `frame`; one of a single page is the mask of its image's only
    chosen frame (`lone_frame`), never of several, because a heart moves.

    Raises ItemError: `mask_unreadable`, `mask_invalid_values` (refused, never rounded), `mask_size_mismatch`.
    """
    try:
        file = open_image(data, limits)
    except ItemError as error:
        raise ItemError(FailureCode.MASK_UNREADABLE, str(error)) from error
    page = _page(file, frame, lone_frame)
    try:
        values = file.picture_values(page, grey_values)
    except ItemError as error:
        not_grey = error.code == FailureCode.UNSUPPORTED_FORMAT
        code = FailureCode.MASK_INVALID_VALUES if not_grey else FailureCode.MASK_UNREADABLE
        raise ItemError(code, str(error)) from error
    if expected_size is not None and values.shape != expected_size:
        raise ItemError(
            FailureCode.MASK_SIZE_MISMATCH,
            f"the mask has {values.shape[0]} x {values.shape[1]} pixels (height x width), its image "
            f"{expected_size[0]} x {expected_size[1]} once upright",
        )
    return _to_classes(values, IDENTITY_LABELS if label_map is None else label_map)


def _page(file: ImageFile, frame: int, lone_frame: bool) -> int:
    if file.n_frames == 1 and lone_frame:
        return 0
    if file.n_frames == 1 or frame >= file.n_frames:
        raise ItemError(
            FailureCode.MASK_SIZE_MISMATCH,
            f"the mask has {file.n_frames} page(s); frame {frame} of its image needs a page of its own",
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
        blurred = "; so many values are what lossy compression leaves of a mask" if len(unknown) > 16 else ""
        raise ItemError(
            FailureCode.MASK_INVALID_VALUES,
            f"{np.count_nonzero(~known)} pixels have values without a class: {shown}{more} "
            f"(classes are given for {', '.join(str(value) for value in sorted(label_map))}){blurred}",
        )
    return label_map_hw_u8
