"""Small sound DICOM files of every syntax, from which damaged ones are made."""

import struct

import imagecodecs
import numpy as np
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from tests.unit.images.dicom.dicom_files import HTJ2K, colour, compressed, grey, written


def sound_files() -> list[bytes]:
    """Return small sound files: a loop in every syntax, in grey and colour, with and without an offset table."""
    random_numbers = np.random.default_rng(7)
    small = random_numbers.integers(0, 256, (3, 6, 8, 3), dtype=np.uint8)
    rgb = np.ascontiguousarray(small.repeat(3, 1).repeat(3, 2))
    grey_12 = np.ascontiguousarray((rgb[..., 0].astype(np.uint16) << 4) | 5)
    files = [
        written(make(), syntax)
        for syntax in (
            ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian)
        for make in (lambda: colour(rgb), lambda: grey(grey_12, 12, WindowCenter=2000, WindowWidth=900))
    ]  # fmt: skip
    codecs = [
        (JPEGBaseline8Bit, lambda frame: imagecodecs.jpeg8_encode(frame, level=90)),
        (JPEG2000Lossless, lambda frame: imagecodecs.jpeg2k_encode(frame, codecformat="j2k", level=0)),
        (JPEGLSLossless, imagecodecs.jpegls_encode),
        (JPEGLosslessSV1, lambda frame: imagecodecs.jpeg8_encode(frame, lossless=True)),
        (RLELossless, _rle),
        (HTJ2K, lambda frame: imagecodecs.htj2k_encode(frame, reversible=True, rgb=frame.ndim == 3, planar=False)),
    ]
    for number, (syntax, encode) in enumerate(codecs):
        names = {JPEGBaseline8Bit: "YBR_FULL_422", JPEG2000Lossless: "YBR_RCT", HTJ2K: "YBR_RCT"}
        with_table, fragments = number % 2 == 0, 1 + number % 3
        frames = [bytes(encode(frame)) for frame in rgb]
        files.append(
            compressed(
                colour(rgb, names.get(syntax, "RGB")), frames, syntax, with_table=with_table, fragments=fragments
            )
        )
        one_byte = syntax == JPEGBaseline8Bit
        frames = [bytes(encode(frame)) for frame in (rgb[..., 0].copy() if one_byte else grey_12)]
        dataset = grey(rgb[..., 0].copy(), 8) if one_byte else grey(grey_12, 12)
        files.append(compressed(dataset, frames, syntax, with_table=not with_table))
    frames = [bytes(imagecodecs.jpeg8_encode(frame, level=95, bitspersample=12)) for frame in grey_12]
    files.append(compressed(grey(grey_12, 12), frames, JPEGExtended12Bit))
    return files


def _rle(frame: np.ndarray) -> bytes:
    """Encode a frame in RLE of DICOM: PackBits segments, the high byte of each sample first."""
    samples = [frame] if frame.ndim == 2 else [frame[..., channel] for channel in range(3)]
    planes = [
        np.ascontiguousarray(sample).view(np.uint8).reshape(-1, sample.itemsize)[:, byte].tobytes()
        for sample in samples
        for byte in reversed(range(sample.itemsize))
    ]
    segments = [bytes(imagecodecs.packbits_encode(plane)) for plane in planes]
    offsets = [64 + sum(len(segment) for segment in segments[:number]) for number in range(len(segments))]
    return struct.pack("<16I", len(segments), *offsets, *[0] * (15 - len(segments))) + b"".join(segments)
