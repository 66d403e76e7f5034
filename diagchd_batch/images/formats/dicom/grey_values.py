"""From stored grey values to eight bits: windows, and the whole range where a file has no window.

Values are never stretched by an image's own minimum and maximum, so a grey value means the same in every frame.
"""

from dataclasses import dataclass

import numpy as np
from pydicom import Dataset
from pydicom.multival import MultiValue
from pydicom.pixels.processing import apply_modality_lut, apply_voi

from diagchd_batch.images.formats.dicom.element_values import text_of, value_of


@dataclass(frozen=True, slots=True)
class Window:
    """A VOI window: which values are shown from black to white.

    Attributes:
        center: The middle of the range.
        width: The width of the range, above 0.
        function: ``LINEAR``, ``LINEAR_EXACT`` or ``SIGMOID``.
    """

    center: float
    width: float
    function: str


def window_of(dataset: Dataset, frame: int) -> Window | None:
    """Return the window of a frame, or None if the file has no usable one. Of several windows the first counts.

    Args:
        dataset: The header.
        frame: Number of the frame, from 0. A window of this frame comes before one of all frames.
    """
    for group in _groups(dataset, frame):
        center, width = _first_number(group, "WindowCenter"), _first_number(group, "WindowWidth")
        function = text_of(group, "VOILUTFunction").upper() or "LINEAR"
        smallest = 1.0 if function == "LINEAR" else 0.0
        if center is not None and width is not None and width >= smallest and width > 0:
            return Window(center, width, function)
    return None


def eight_bit_table(dataset: Dataset, bits: int, is_signed: bool, window: Window | None) -> np.ndarray:
    """Return the grey level of each stored value.

    Args:
        dataset: The header. Its rescale slope and intercept, or its modality table, come before the window.
        bits: Bits of a value, from 1 to 16.
        is_signed: Whether values are two's complement.
        window: The window; None for the file's VOI table or, where there is none, the whole range of the bits.

    Returns:
        uint8 [2 ** bits], from black to white by value. It is not yet inverted for MONOCHROME1.
    """
    stored = np.arange(1 << bits)
    whole_range = ((stored ^ (1 << (bits - 1))) if is_signed else stored) / (len(stored) - 1)
    if bits <= 8:
        return np.rint(255 * whole_range).astype(np.uint8)
    values = np.where(stored >> (bits - 1), stored - (1 << bits), stored) if is_signed else stored
    try:
        values = apply_modality_lut(values, dataset)
        if window is not None:
            return np.rint(255 * _shown(values, window)).astype(np.uint8)
        if "VOILUTSequence" in dataset:
            table_bits = int(dataset.VOILUTSequence[0].LUTDescriptor[2])
            return (apply_voi(values.astype(np.int64), dataset) >> max(0, table_bits - 8)).astype(np.uint8)
    except MemoryError:
        raise
    except Exception:  # a damaged table says nothing about the pixels
        return _high_bytes(stored, bits, is_signed)
    return _high_bytes(stored, bits, is_signed)


def _high_bytes(stored: np.ndarray, bits: int, is_signed: bool) -> np.ndarray:
    return ((stored ^ (1 << (bits - 1)) if is_signed else stored) >> (bits - 8)).astype(np.uint8)


def _shown(values: np.ndarray, window: Window) -> np.ndarray:
    """Return the share of white of each value (PS3.3 C.11.2.1.2 and C.11.2.1.3)."""
    if window.function == "SIGMOID":
        return 1 / (1 + np.exp(np.clip(-4 * (values - window.center) / window.width, -700, 700)))
    if window.function == "LINEAR_EXACT":
        return np.clip((values - window.center) / window.width + 0.5, 0, 1)
    if window.width == 1:
        return (values > window.center - 0.5).astype(float)
    return np.clip((values - (window.center - 0.5)) / (window.width - 1) + 0.5, 0, 1)


def _groups(dataset: Dataset, frame: int) -> list[Dataset]:
    """Return the data sets that may have the window of a frame, the most specific first."""
    groups = []
    for keyword, item in (("PerFrameFunctionalGroupsSequence", frame), ("SharedFunctionalGroupsSequence", 0)):
        items = value_of(dataset, keyword)
        if items is not None and 0 <= item < len(items):
            groups += list(value_of(items[item], "FrameVOILUTSequence") or ())[:1]
    return [*groups, dataset]


def _first_number(dataset: Dataset, keyword: str) -> float | None:
    value = value_of(dataset, keyword)
    try:
        number = float(value[0] if isinstance(value, MultiValue) else value)
    except (TypeError, ValueError, IndexError):
        return None
    return number if np.isfinite(number) else None
