"""From samples to eight bits of red, green and blue. Pillow converts YCbCr; grey values and palettes are looked up."""

import numpy as np
from PIL import Image
from pydicom import Dataset
from pydicom.pixels.processing import apply_color_lut

from diagchd_batch.errors import ItemError
from diagchd_batch.failure_codes import FailureCode
from diagchd_batch.images.formats.dicom.pixel_description import PARTIAL, YBR
from diagchd_batch.images.formats.dicom.transfer_syntaxes import Samples

# Y from 16 to 235 and Cb and Cr from 16 to 240 to RGB, by ITU-R BT.601 (PS3.3 C.7.6.3.1.2 refers to it).
_LUMA, _RED_CR, _GREEN_CB, _GREEN_CR, _BLUE_CB = 255 / 219, 1.5960268, 0.3917623, 0.8129676, 2.0172321
_PARTIAL_TO_RGB = (
    *(_LUMA, 0.0, _RED_CR, -16 * _LUMA - 128 * _RED_CR),
    *(_LUMA, -_GREEN_CB, -_GREEN_CR, -16 * _LUMA + 128 * (_GREEN_CB + _GREEN_CR)),
    *(_LUMA, _BLUE_CB, 0.0, -16 * _LUMA - 128 * _BLUE_CB),
)


def colours_to_rgb(samples: Samples) -> np.ndarray:
    """Return three samples per pixel as uint8 [height, width, 3] with red, green and blue."""
    values = samples.values
    if values.dtype != np.uint8 or samples.bits != 8:
        mask = (1 << samples.bits) - 1
        values = (values & mask).astype(np.uint16)
        values = (values >> (samples.bits - 8) if samples.bits >= 8 else values << (8 - samples.bits)).astype(np.uint8)
    if samples.meaning == YBR:
        height, width = values.shape[:2]
        picture = Image.frombytes("YCbCr", (width, height), np.ascontiguousarray(values).tobytes())
        return np.asarray(picture.convert("RGB"))
    if samples.meaning == PARTIAL:
        return np.asarray(Image.fromarray(values).convert("RGB", _PARTIAL_TO_RGB))
    return values


def palette_table(dataset: Dataset, bits: int, *, is_big_endian: bool) -> np.ndarray:
    """Return the colour of each index of a palette: uint8 [2 ** bits, 3].

    Tables of 16 bits are cut to their high byte, unless none of their values has one.

    Args:
        dataset: The header.
        bits: Bits of an index.
        is_big_endian: Whether the words of the tables have their high byte first.

    Raises:
        ItemError: The palette is missing or damaged (`decode_error`).
    """
    try:
        if is_big_endian:
            dataset = _with_swapped_words(dataset)
        colours = apply_color_lut(np.arange(1 << bits, dtype=np.uint16), dataset)
    except MemoryError:
        raise
    except Exception as error:
        raise ItemError(FailureCode.DECODE_ERROR, f"the palette is damaged ({type(error).__name__})") from error
    if colours.dtype != np.uint8 and colours.max() > 255:
        colours = colours >> 8
    return colours[:, :3].astype(np.uint8)


def _with_swapped_words(dataset: Dataset) -> Dataset:
    """Return a palette whose words have their low byte first, as pydicom takes them."""
    palette = Dataset()
    palette.update({element.tag: element for element in dataset.group_dataset(0x0028)})
    palette.set_original_encoding(False, True)
    for element in palette:
        if element.VR == "OW" and isinstance(element.value, bytes):
            element.value = np.frombuffer(element.value, ">u2").astype("<u2").tobytes()
    return palette
