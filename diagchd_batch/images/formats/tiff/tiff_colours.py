"""Colours and labels of a TIFF page, from its samples as stored."""

import numpy as np
from PIL import Image

from diagchd_batch.images.formats.pixel_conversion import equal_channels, single_channel_to_eight_bits
from diagchd_batch.images.formats.tiff import page_layout
from diagchd_batch.images.formats.tiff.directories import Directory, Tag, damaged
from diagchd_batch.images.formats.tiff.page_layout import Layout, unsupported


def to_rgb(samples_hwc: np.ndarray, layout: Layout, directory: Directory) -> np.ndarray:
    """Return the colours of a page: uint8 [height, width, 3].

    Args:
        samples_hwc: Samples as stored [height, width, samples].
        layout: How they are stored.
        directory: The tags of the page.

    Raises:
        ItemError: The values have no sensible meaning as colours (`unsupported_format`).
    """
    if layout.photometric == page_layout.PALETTE:
        return _palette(layout, directory)[samples_hwc[:, :, 0]]
    if layout.photometric in (page_layout.WHITE_IS_ZERO, page_layout.BLACK_IS_ZERO):
        grey = _grey(samples_hwc[:, :, 0], layout)
        if layout.is_premultiplied:
            grey = _divided_by_alpha(grey, samples_hwc[:, :, 1], layout.bits)
        return np.repeat(grey[:, :, np.newaxis], 3, axis=2)
    colours_hwc_u8 = _high_bytes(samples_hwc[:, :, : layout.colours], layout.bits)
    if layout.photometric == page_layout.CMYK:
        return np.asarray(Image.fromarray(colours_hwc_u8, "CMYK").convert("RGB"))
    if layout.photometric == page_layout.YCBCR and layout.compression == page_layout.UNCOMPRESSED:
        return np.asarray(Image.fromarray(colours_hwc_u8, "YCbCr").convert("RGB"))
    if layout.photometric == page_layout.YCBCR and layout.compression != page_layout.JPEG:
        return _ycbcr_to_rgb(colours_hwc_u8)
    if layout.is_premultiplied:
        return _divided_by_alpha(colours_hwc_u8, samples_hwc[:, :, 3:4], layout.bits)
    return colours_hwc_u8


def to_labels(samples_hwc: np.ndarray, layout: Layout, directory: Directory) -> np.ndarray:
    """Return the label values of a page as stored: integers [height, width]. Only 1-bit values become 0 and 255.

    White-is-zero is not inverted, few bits are not stretched, and alpha is left out. Palettes are looked up.

    Args:
        samples_hwc: Samples as stored [height, width, samples].
        layout: How they are stored.
        directory: The tags of the page.

    Raises:
        ItemError: The page is in colour, or in floating point (`unsupported_format`). Red = green = blue is grey.
    """
    if layout.sample_format == page_layout.FLOATING or layout.photometric == page_layout.CMYK:
        raise unsupported("floating point and CMYK are not grey values")
    if layout.photometric in (page_layout.WHITE_IS_ZERO, page_layout.BLACK_IS_ZERO):
        grey = samples_hwc[:, :, 0]
        return grey * np.uint8(255) if layout.bits == 1 else grey
    if layout.photometric == page_layout.RGB:
        return equal_channels(samples_hwc[:, :, :3])
    return equal_channels(to_rgb(samples_hwc, layout, directory))


def _grey(values: np.ndarray, layout: Layout) -> np.ndarray:
    """Return grey values in eight bits."""
    is_inverted = layout.photometric == page_layout.WHITE_IS_ZERO
    if layout.bits < 8:
        grey = values * np.uint8(255 // (2**layout.bits - 1))
    elif layout.sample_format == page_layout.UNSIGNED and layout.bits <= 16:
        grey = _high_bytes(values, layout.bits)
    elif is_inverted:
        raise unsupported("signed, 32-bit and floating-point pixels in which zero is white are not supported")
    else:
        return single_channel_to_eight_bits(values)
    return ~grey if is_inverted else grey


def _high_bytes(values: np.ndarray, bits: int) -> np.ndarray:
    return np.ascontiguousarray(values if bits == 8 else (values >> (bits - 8)).astype(np.uint8))


def _divided_by_alpha(colours_u8: np.ndarray, alpha: np.ndarray, bits: int) -> np.ndarray:
    """Return colours that are no longer multiplied by alpha, rounded as Pillow does."""
    alpha_u8 = _high_bytes(alpha, bits).astype(np.uint16)
    quotient = colours_u8.astype(np.uint16) * np.uint16(255) // np.maximum(alpha_u8, 1)
    return np.where(alpha_u8 == 0, 0, np.minimum(quotient, 255)).astype(np.uint8)


def _ycbcr_to_rgb(colours_hwc_u8: np.ndarray) -> np.ndarray:
    """Return colours with the rounding of libtiff, with which compressed YCbCr has always been scored."""
    luma, blue, red = np.moveaxis(colours_hwc_u8.astype(np.int32), 2, 0)
    blue, red = blue - 128, red - 128
    rgb = np.stack(
        [
            luma + (91_881 * red + 32_768 >> 16),
            luma + (-46_802 * red - 22_553 * blue + 32_768 >> 16),
            luma + (116_130 * blue + 32_768 >> 16),
        ],
        axis=2,
    )
    return np.clip(rgb, 0, 255).astype(np.uint8)


def _palette(layout: Layout, directory: Directory) -> np.ndarray:
    """Return the colours of a palette: uint8 [colours, 3]."""
    values = directory.numbers(Tag.COLOUR_MAP)
    n_colours = 1 << layout.bits
    if values is None or len(values) != 3 * n_colours or values.dtype.kind != "u":
        raise damaged(f"the palette has {0 if values is None else len(values)} values, and must have {3 * n_colours}")
    if 0 < values.max() < 256:
        raise unsupported("the palette holds values of 8 bits, which decoders understand differently")
    return np.ascontiguousarray((values.reshape(3, n_colours) >> 8).astype(np.uint8).T)
