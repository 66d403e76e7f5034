"""When the frames of a loop were taken."""

import math
from itertools import accumulate

from pydicom import Dataset

from diagchd_batch.images.formats.dicom.element_values import value_of


def frame_times_ms(dataset: Dataset, n_frames: int) -> list[float] | None:
    """Return the milliseconds from the first frame to each frame, or None if the file does not say them.

    The time between frames comes from the frame time vector, the frame time, the cine rate or the recommended display
    rate, whichever is there first.

    Args:
        dataset: The header.
        n_frames: Number of frames. A single frame has no time.
    """
    if n_frames < 2:
        return None
    vector = _numbers(dataset, "FrameTimeVector")
    if len(vector) == n_frames and all(step > 0 for step in vector[1:]):
        return list(accumulate(vector[1:], initial=0.0))
    for keyword in ("FrameTime", "CineRate", "RecommendedDisplayFrameRate"):
        number = (_numbers(dataset, keyword) or [0.0])[0]
        if number > 0:
            step_ms = number if keyword == "FrameTime" else 1000 / number
            return [index * step_ms for index in range(n_frames)]
    return None


def _numbers(dataset: Dataset, keyword: str) -> list[float]:
    value = value_of(dataset, keyword)
    try:
        numbers = [float(number) for number in ([value] if isinstance(value, str | int | float) else value or ())]
    except (TypeError, ValueError):
        return []
    return numbers if all(math.isfinite(number) for number in numbers) else []
