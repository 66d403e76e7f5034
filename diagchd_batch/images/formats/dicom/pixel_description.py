"""What a header says about its pixels, checked before anything is read or allocated."""

from dataclasses import dataclass

from diagchd_batch.errors import ItemError
from diagchd_batch.failure_codes import FailureCode
from diagchd_batch.images.formats.dicom.element_values import number_of, text_of
from diagchd_batch.images.formats.dicom.header_parser import DicomHeader
from diagchd_batch.images.limits import DecodeLimits

GREY = frozenset({"MONOCHROME1", "MONOCHROME2"})
PALETTE = "PALETTE COLOR"
RGB, YBR, YBR_422, PARTIAL = "RGB", "YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_422"
TRANSFORMED_BY_CODEC = frozenset({"YBR_ICT", "YBR_RCT"})
COLOUR = frozenset({RGB, YBR, YBR_422, PARTIAL}) | TRANSFORMED_BY_CODEC
SUBSAMPLED = frozenset({YBR_422, PARTIAL})

_BYTES_OF_BITS = {8: 1, 16: 2}


@dataclass(frozen=True, slots=True)
class PixelDescription:
    """The pixels of a file, as its header declares them.

    Attributes:
        height: Rows of a frame.
        width: Columns of a frame.
        samples: Values of a pixel: 1 or 3.
        photometric: What the values mean, such as ``MONOCHROME2``.
        planar: Whether uncompressed colours lie one plane after the other.
        bytes_per_sample: 1 or 2.
        bits_stored: Bits of a value that have a meaning, from 1 to 16.
        is_signed: Whether values are two's complement.
        shift: Bits below those that have a meaning.
        n_frames: Number of frames; None if the header does not say it, or not as a number above 0.
    """

    height: int
    width: int
    samples: int
    photometric: str
    planar: bool
    bytes_per_sample: int
    bits_stored: int
    shift: int
    is_signed: bool
    n_frames: int | None


def describe_pixels(header: DicomHeader, limits: DecodeLimits) -> PixelDescription:
    """Return what a header says about its pixels.

    Args:
        header: The header.
        limits: Bounds on the size and number of frames.

    Raises:
        ItemError: An element is missing or makes no sense (`decode_error`), a size is 0 (`empty_image`), the frames
            are too large or too many (`too_large`), or values are of a kind that is not read (`unsupported_format`).
    """
    dataset = header.dataset
    height, width = _size(header)
    if height * width > limits.max_pixels:
        raise ItemError(
            FailureCode.TOO_LARGE, f"{width} x {height} pixels, over limits.max_pixels ({limits.max_pixels})"
        )
    photometric = text_of(dataset, "PhotometricInterpretation").upper()
    if not photometric:
        raise ItemError(FailureCode.DECODE_ERROR, "the header has no PhotometricInterpretation")
    if photometric not in GREY | COLOUR | {PALETTE}:
        raise _unsupported("its PhotometricInterpretation is not one that is read")
    samples = number_of(dataset, "SamplesPerPixel") or (3 if photometric in COLOUR else 1)
    if samples != (3 if photometric in COLOUR else 1):
        raise ItemError(FailureCode.DECODE_ERROR, f"{samples} samples per pixel do not fit {photometric}")
    allocated = number_of(dataset, "BitsAllocated")
    if allocated is None:
        raise ItemError(FailureCode.DECODE_ERROR, "the header has no BitsAllocated")
    if allocated not in _BYTES_OF_BITS:
        raise _unsupported(f"values of {allocated} bits; only 8 and 16 are read")
    stored = number_of(dataset, "BitsStored") or allocated
    high_bit = number_of(dataset, "HighBit")
    high_bit = stored - 1 if high_bit is None else high_bit
    if not 1 <= stored <= high_bit + 1 <= allocated:
        raise ItemError(FailureCode.DECODE_ERROR, f"{stored} bits up to bit {high_bit} do not fit into {allocated}")
    n_frames = number_of(dataset, "NumberOfFrames")
    if n_frames is None and "NumberOfFrames" not in dataset:
        n_frames = 1
    if n_frames is not None and n_frames > limits.max_frames:
        raise ItemError(FailureCode.TOO_LARGE, f"more than {limits.max_frames} frames")
    return PixelDescription(
        height=height,
        width=width,
        samples=samples,
        photometric=photometric,
        planar=number_of(dataset, "PlanarConfiguration") == 1,
        bytes_per_sample=_BYTES_OF_BITS[allocated],
        bits_stored=stored,
        shift=high_bit + 1 - stored,
        is_signed=number_of(dataset, "PixelRepresentation") == 1,
        n_frames=n_frames if n_frames is not None and n_frames > 0 else None,
    )


def _size(header: DicomHeader) -> tuple[int, int]:
    height, width = number_of(header.dataset, "Rows"), number_of(header.dataset, "Columns")
    if height is None or width is None:
        raise ItemError(FailureCode.DECODE_ERROR, "the header has no number of rows or columns")
    if height < 0 or width < 0:
        raise ItemError(FailureCode.DECODE_ERROR, "the header has a negative number of rows or columns")
    if height == 0 or width == 0:
        raise ItemError(FailureCode.EMPTY_IMAGE, "the header gives 0 rows or columns")
    return height, width


def _unsupported(detail: str) -> ItemError:
    return ItemError(FailureCode.UNSUPPORTED_FORMAT, f"{detail}; export it as 8-bit grey or RGB")
