"""The list of the TIFF tag combinations that are read.

A combination is on the list if independent decoders (libtiff, tifffile) agree on it, or if its values were worked out
by hand from the specification; `tests/unit/images/tiff` has a test of each. Everything else is `unsupported_format`
with the combination in its detail: a picture is never guessed.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from diagchd_batch.errors import ItemError
from diagchd_batch.failure_codes import FailureCode
from diagchd_batch.images.formats.tiff.directories import Directory, Tag, damaged

UNCOMPRESSED, CCITT_RLE, CCITT_T4, CCITT_T6, LZW, JPEG = 1, 2, 3, 4, 5, 7
ADOBE_DEFLATE, DEFLATE, PACKBITS, LZMA, ZSTD = 8, 32946, 32773, 34925, 50000
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK, YCBCR = 0, 1, 2, 3, 5, 6
UNSIGNED, SIGNED, FLOATING = 1, 2, 3
NO_PREDICTOR, HORIZONTAL, FLOATING_POINT = 1, 2, 3

_CCITT = frozenset({CCITT_RLE, CCITT_T4, CCITT_T6})
_WITH_PREDICTOR = frozenset({LZW, ADOBE_DEFLATE, DEFLATE, LZMA, ZSTD})
_COMPRESSIONS = _CCITT | _WITH_PREDICTOR | {UNCOMPRESSED, JPEG, PACKBITS}

_COLOURS = {WHITE_IS_ZERO: 1, BLACK_IS_ZERO: 1, RGB: 3, PALETTE: 1, CMYK: 4, YCBCR: 3}
_SAMPLE_KINDS: dict[int, dict[int, tuple[int, ...]]] = {
    WHITE_IS_ZERO: {UNSIGNED: (1, 2, 4, 8, 12, 16, 32), SIGNED: (8, 16, 32), FLOATING: (32,)},
    BLACK_IS_ZERO: {UNSIGNED: (1, 2, 4, 8, 12, 16, 32), SIGNED: (8, 16, 32), FLOATING: (32,)},
    RGB: {UNSIGNED: (8, 16)},
    PALETTE: {UNSIGNED: (1, 2, 4, 8)},
    CMYK: {UNSIGNED: (8, 16)},
    YCBCR: {UNSIGNED: (8,)},
}
_MAX_EXTRA_SAMPLES = 3
UNSPECIFIED, PREMULTIPLIED, ALPHA, COREL_ALPHA = 0, 1, 2, 999

_Require = Callable[[bool, str], None]

_LUMA = (0.299, 0.587, 0.114)
_FULL_RANGE = {YCBCR: (0, 255, 128, 255, 128, 255)}


@dataclass(frozen=True, slots=True)
class Layout:
    """How the pixels of a page are stored, in a combination that is on the list.

    Attributes:
        height: Rows as stored.
        width: Columns as stored.
        bits: Bits of a sample.
        sample_format: 1 unsigned, 2 signed, 3 floating point.
        samples: Samples of a pixel, extra samples included.
        colours: Samples of a pixel without extra samples.
        is_premultiplied: Whether the colours are multiplied by the first extra sample.
        photometric: The photometric interpretation.
        compression: The compression.
        is_planar: Whether each sample has a plane of its own.
        predictor: The predictor.
        is_reversed: Whether the bits of each stored byte are in reverse order.
        orientation: The EXIF orientation, from 1 to 8.
        t4_options: The options of CCITT T.4.
        byte_order: ``<`` or ``>``.
    """

    height: int
    width: int
    bits: int
    sample_format: int
    samples: int
    colours: int
    is_premultiplied: bool
    photometric: int
    compression: int
    is_planar: bool
    predictor: int
    is_reversed: bool
    orientation: int
    t4_options: int
    byte_order: str

    @property
    def dtype(self) -> np.dtype:
        """The type of a sample in memory. Samples of fewer than 8 bits take a byte each, those of 12 bits two."""
        size_bytes = 1 if self.bits <= 8 else 2 if self.bits <= 16 else 4
        return np.dtype(f"{'?uif'[self.sample_format]}{size_bytes}")

    @property
    def stored_dtype(self) -> np.dtype:
        """The type of a sample in the file, if it takes whole bytes."""
        return np.dtype(self.byte_order + self.dtype.str[1:])


def size_of(directory: Directory) -> tuple[int, int]:
    """Return the height and width of a page as stored, in pixels.

    Raises:
        ItemError: They are missing (`decode_error`), or 0 (`empty_image`).
    """
    height, width = directory.integer(Tag.HEIGHT), directory.integer(Tag.WIDTH)
    if height == 0 or width == 0:
        raise ItemError(FailureCode.EMPTY_IMAGE, "the page has a width or height of 0")
    if height < 0 or width < 0:
        raise damaged("the page has a negative size")
    return height, width


def layout_of(directory: Directory) -> Layout:
    """Return how the pixels of a page are stored.

    Args:
        directory: The tags of the page.

    Raises:
        ItemError: The combination of tags is not on the list (`unsupported_format`), or a tag is damaged or missing
            (`decode_error`), or the page has no pixels (`empty_image`).
    """
    height, width = size_of(directory)
    samples = directory.integer(Tag.SAMPLES_PER_PIXEL, 1)
    bits = directory.integers(Tag.BITS_PER_SAMPLE, (1,))
    formats = directory.integers(Tag.SAMPLE_FORMAT, (UNSIGNED,))
    extra = directory.integers(Tag.EXTRA_SAMPLES)
    photometric = directory.integer(Tag.PHOTOMETRIC, -1)
    compression = directory.integer(Tag.COMPRESSION, UNCOMPRESSED)
    planar = directory.integer(Tag.PLANAR, 1)
    predictor = directory.integer(Tag.PREDICTOR, NO_PREDICTOR)
    fill_order = directory.integer(Tag.FILL_ORDER, 1)
    orientation = directory.integer(Tag.ORIENTATION, 1)
    combination = (
        f"compression {compression}, photometric interpretation {photometric if photometric >= 0 else 'missing'}, "
        f"{samples} samples of {'/'.join(map(str, sorted(set(bits))))} bits, "
        f"sample format {'/'.join(map(str, sorted(set(formats))))}, planar configuration {planar}, "
        f"extra samples {'/'.join(map(str, extra)) or 'none'}, predictor {predictor}, fill order {fill_order}, "
        f"{'little' if directory.byte_order == '<' else 'big'}-endian{' BigTIFF' if directory.is_big else ''}"
    )

    def require(condition: bool, reason: str) -> None:
        if not condition:
            raise unsupported(f"{reason} ({combination})")

    require(compression in _COMPRESSIONS, f"TIFF compression {compression} is not read")
    require(photometric in _COLOURS, "this photometric interpretation of TIFF is not read")
    colours = _COLOURS[photometric]
    require(len(set(bits)) == 1 and len(bits) in (1, samples), "the bits of the samples differ or do not match them")
    require(len(set(formats)) == 1 and len(formats) in (1, samples), "the sample formats differ or do not match")
    require(
        bits[0] in _SAMPLE_KINDS[photometric].get(formats[0], ()),
        "samples of this format and number of bits are not read",
    )
    n_extra = samples - colours
    require(0 <= n_extra <= _MAX_EXTRA_SAMPLES, "the number of samples does not fit the photometric interpretation")
    require(
        n_extra == 0 or (bits[0] in (8, 16) and formats[0] == UNSIGNED), "extra samples of this format are not read"
    )
    _require_extra_samples(extra, n_extra, photometric, require)
    require(planar in (1, 2), "this planar configuration is not known")
    require(directory.integer(Tag.IMAGE_DEPTH, 1) == 1, "a volume is not read")
    _require_predictor(predictor, compression, bits[0], formats[0], require)
    require(fill_order in (1, 2), "this fill order is not known")
    require(
        compression not in _CCITT or (samples == 1 and bits[0] == 1 and photometric in (WHITE_IS_ZERO, BLACK_IS_ZERO)),
        "CCITT compression is read of 1-bit pictures only",
    )
    require(directory.integer(Tag.T4_OPTIONS, 0) & ~0b101 == 0, "uncompressed CCITT T.4 is not read")
    require(directory.integer(Tag.T6_OPTIONS, 0) == 0, "uncompressed CCITT T.6 is not read")
    require(
        compression != JPEG or (bits[0] == 8 and photometric != PALETTE and formats[0] == UNSIGNED),
        "JPEG is read with 8-bit grey, RGB, YCbCr and CMYK only",
    )
    require(compression != JPEG or samples <= 4, "JPEG is read with 4 samples at most")
    require(compression != JPEG or photometric != YCBCR or n_extra == 0, "JPEG with YCbCr and more samples is not read")
    _require_colour_space(directory, photometric, compression, is_planar=planar == 2 and samples > 1, require=require)
    return Layout(
        height=height,
        width=width,
        bits=bits[0],
        sample_format=formats[0],
        samples=samples,
        colours=colours,
        is_premultiplied=extra[:1] == (PREMULTIPLIED,),
        photometric=photometric,
        compression=compression,
        is_planar=planar == 2 and samples > 1,
        predictor=predictor,
        is_reversed=fill_order == 2 and compression != JPEG,
        orientation=orientation if 1 <= orientation <= 8 else 1,
        t4_options=directory.integer(Tag.T4_OPTIONS, 0),
        byte_order=directory.byte_order,
    )


def _require_extra_samples(extra: tuple[int, ...], n_extra: int, photometric: int, require: _Require) -> None:
    """Extra samples are ignored. Only a first one may have a meaning for the colours, namely premultiplied alpha."""
    require(len(extra) in (0, n_extra), "the extra samples do not match the number of samples")
    meanings = (UNSPECIFIED, PREMULTIPLIED, ALPHA, COREL_ALPHA)
    require(extra[:1] == () or extra[0] in meanings, "this kind of extra sample is not known")
    require(all(kind == UNSPECIFIED for kind in extra[1:]), "only the first extra sample may be alpha")
    require(
        extra[:1] != (PREMULTIPLIED,) or photometric in (BLACK_IS_ZERO, RGB),
        "premultiplied alpha is read of grey and RGB",
    )


def _require_predictor(predictor: int, compression: int, bits: int, sample_format: int, require: _Require) -> None:
    if predictor == NO_PREDICTOR or compression == JPEG:  # JPEG has none
        return
    # Decoders disagree on a predictor beside a compression that has none.
    require(compression in _WITH_PREDICTOR, "a predictor is not read with this compression")
    kinds = {HORIZONTAL: (8, 16, 32), FLOATING_POINT: (32,)}.get(predictor, ())
    is_right_format = (sample_format == FLOATING) == (predictor == FLOATING_POINT)
    require(bits in kinds and is_right_format, "this predictor is not read with these samples")


def _require_colour_space(
    directory: Directory, photometric: int, compression: int, *, is_planar: bool, require: _Require
) -> None:
    """YCbCr is read in the colour space of JPEG, and CMYK in that of print. Others would be shown in wrong colours."""
    reference = directory.numbers(Tag.REFERENCE_BLACK_WHITE)
    if reference is not None and photometric in (RGB, YCBCR):
        bits = directory.integers(Tag.BITS_PER_SAMPLE, (1,))[0]
        expected = _FULL_RANGE.get(photometric, (0, 2**bits - 1) * 3)
        require(np.array_equal(reference, expected), "colours with their own reference of black and white are not read")
    if photometric == CMYK:
        require(directory.integer(Tag.INK_SET, 1) == 1, "inks other than cyan, magenta, yellow and black are not read")
    if photometric == YCBCR:
        coefficients = directory.numbers(Tag.YCBCR_COEFFICIENTS)
        require(
            coefficients is None or (len(coefficients) == 3 and np.allclose(coefficients, _LUMA, atol=1e-3)),
            "YCbCr with other coefficients than those of JPEG is not read",
        )
        require(not (compression == JPEG and is_planar), "JPEG with YCbCr in separate planes is not read")
        subsampling = directory.integers(Tag.YCBCR_SUBSAMPLING, (2, 2))
        require(compression == JPEG or subsampling == (1, 1), "subsampled YCbCr is read with JPEG only")


def unsupported(detail: str) -> ItemError:
    """Return the error of a sound file of a kind that is not read."""
    return ItemError(FailureCode.UNSUPPORTED_FORMAT, f"{detail}; export it as 8-bit grey or RGB")
