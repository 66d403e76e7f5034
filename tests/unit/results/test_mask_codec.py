"""Masks are encoded as PNG and decoded without change, and other programs can read them."""

import hashlib
import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from diagchd_batch.errors import VerificationError
from diagchd_batch.results.mask_codec import MASK_ENCODER_VERSION, decode_mask, encode_mask

label_maps = arrays(np.uint8, st.tuples(st.integers(1, 70), st.integers(1, 70)), elements=st.integers(0, 2))


@settings(deadline=None)
@given(label_maps)
def test_round_trip(label_map: np.ndarray) -> None:
    png = encode_mask(label_map)
    assert encode_mask(label_map.copy(order="F")) == png
    decoded = decode_mask(png)
    assert decoded.dtype == np.uint8
    np.testing.assert_array_equal(decoded, label_map)


def test_the_bytes_belong_to_the_version_in_the_metadata() -> None:
    """Raise MASK_ENCODER_VERSION with these bytes: two versions of the program give one shard different digests."""
    rows, columns = np.mgrid[-1:1:48j, -1:1:64j]
    png = encode_mask(np.where(np.hypot(rows, columns) < 0.5, 2, 0).astype(np.uint8))
    digest = hashlib.sha256(png).hexdigest()
    assert (MASK_ENCODER_VERSION, digest) == (2, "b386a218b8e52b4927c5fc9d98bac3630da992b8d6768eac14121c42a2011614")


@settings(deadline=None, max_examples=20)
@given(label_maps)
def test_the_pixels_are_stored_without_filters(label_map: np.ndarray) -> None:
    """Each row of the decompressed data is a 0 and the row itself (PNG specification, 9.2)."""
    png = encode_mask(label_map)
    start = png.index(b"IDAT")
    (length,) = struct.unpack(">I", png[start - 4 : start])
    lines = np.frombuffer(zlib.decompress(png[start + 4 : start + 4 + length]), np.uint8)
    np.testing.assert_array_equal(lines.reshape(len(label_map), -1), np.pad(label_map, ((0, 0), (1, 0))))


@settings(deadline=None, max_examples=20)
@given(label_maps)
def test_is_an_8_bit_grey_png_to_everyone(label_map: np.ndarray) -> None:
    """The header is decoded by hand (PNG specification, 11.2.2), and the pixels with Pillow's own `open`."""
    png = encode_mask(label_map)
    width, height, bits, colour_type = struct.unpack(">IIBB", png[16:26])
    assert (height, width, bits, colour_type) == (*label_map.shape, 8, 0)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(png))), label_map)


@settings(deadline=None)
@given(label_maps, st.floats(0, 0.999))
def test_truncated_masks_never_turn_into_others(label_map: np.ndarray, kept: float) -> None:
    png = encode_mask(label_map)
    cut = png[: int(kept * len(png))]
    if len(cut) < png.index(b"IDAT") + 6:  # The pixels are missing entirely.
        with pytest.raises(VerificationError):
            decode_mask(cut)
        return
    try:
        decoded = decode_mask(cut)  # Only checksums and the end marker may be missing here.
    except VerificationError:
        return
    np.testing.assert_array_equal(decoded, label_map)


def test_colour_is_refused() -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (3, 3)).save(buffer, "PNG")
    with pytest.raises(VerificationError, match="8-bit grey"):
        decode_mask(buffer.getvalue())
