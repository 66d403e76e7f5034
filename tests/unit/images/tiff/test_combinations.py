"""Hundreds of combinations of TIFF tags: each gives its known colours and labels, or is `unsupported_format`."""

import io
from dataclasses import replace

import numpy as np
import pytest
import tifffile

from diagchd_batch.errors import ItemError
from diagchd_batch.images.formats import ImageFile, open_image
from diagchd_batch.images.limits import DecodeLimits
from diagchd_batch.images.masks import read_label_mask
from tests.unit.images.tiff.combinations import (
    HEIGHT,
    WIDTH,
    expected_colours,
    name_of,
    read_kinds,
    refused_kinds,
    samples_of,
    upright,
)
from tests.unit.images.tiff.tiff_files import Kind, Page, page_of, tiff

READ = list(read_kinds())
REFUSED = list(refused_kinds())
LIMITS = DecodeLimits(max_pixels=10_000)


def opened(samples_hwc: np.ndarray, kind: Kind) -> ImageFile:
    return open_image(tiff([page_of(samples_hwc, kind)], kind.order, big=kind.big), LIMITS)


def label_samples(kind: Kind) -> np.ndarray:
    """Return samples whose colours are grey, if the kind can store grey in colours."""
    samples_hwc = samples_of(kind)
    if kind.photometric == 2:
        samples_hwc[:, :, 1:3] = samples_hwc[:, :, :1]
    if kind.photometric == 6:
        samples_hwc[:, :, 1:] = 128
    return samples_hwc


def test_the_table_is_large() -> None:
    assert len({repr(kind) for kind in (*READ, *REFUSED)}) >= 600


@pytest.mark.parametrize("kind", READ, ids=name_of)
def test_colours_are_the_known_ones(kind: Kind) -> None:
    samples_hwc = samples_of(kind)
    found = opened(samples_hwc, kind).frame(0)
    assert found.dtype == np.uint8
    tolerance = 1 if kind.photometric == 6 else 0  # the rounding of YCbCr is Pillow's
    expected = expected_colours(kind, samples_hwc)
    assert found.shape == expected.shape
    assert np.abs(found.astype(int) - expected).max() <= tolerance


@pytest.mark.parametrize("kind", READ, ids=name_of)
def test_labels_are_those_stored(kind: Kind) -> None:
    samples_hwc = label_samples(kind)
    data = tiff([page_of(samples_hwc, kind)], kind.order, big=kind.big)
    if kind.sample_format == 3 or kind.photometric in (3, 5):
        with pytest.raises(ItemError) as caught:
            read_label_mask(data, None, LIMITS)
        assert caught.value.code == "mask_invalid_values"
        return
    stored = upright(samples_hwc[:, :, 0] * (255 if kind.bits == 1 else 1), kind)
    label_map = {int(value): index % 3 for index, value in enumerate(np.unique(stored))}
    expected = np.vectorize(label_map.__getitem__)(stored)
    np.testing.assert_array_equal(read_label_mask(data, label_map, LIMITS), expected)


@pytest.mark.parametrize("kind", READ, ids=name_of)
def test_a_second_decoder_reads_the_same_samples(kind: Kind) -> None:
    """tifffile returns samples as stored. It has neither CCITT nor an orientation, and leaves colours as they are."""
    samples_hwc = samples_of(kind)
    data = tiff([page_of(samples_hwc, kind)], kind.order, big=kind.big)
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        found = np.asarray(file.pages[0].asarray())
    if kind.planar == 2 and kind.samples > 1:
        found = np.moveaxis(found, 0, -1)
    np.testing.assert_array_equal(found.reshape(samples_hwc.shape), samples_hwc)


@pytest.mark.parametrize("kind", REFUSED, ids=name_of)
def test_others_are_refused_with_the_combination(kind: Kind) -> None:
    tags = page_of(np.zeros((HEIGHT, WIDTH, kind.samples), np.uint8), replace(kind, bits=8, compression=1)).tags
    tags[258] = (3, [kind.bits] * kind.samples)
    tags[259] = (3, [kind.compression])
    tags |= dict(kind.more)
    data = tiff([Page(tags, [bytes(4096)])], kind.order, big=kind.big)
    with pytest.raises(ItemError) as caught:
        open_image(data, LIMITS).frame(0)
    assert caught.value.code == "unsupported_format"
    assert "compression" in caught.value.detail or "palette" in caught.value.detail
    with pytest.raises(ItemError, match=r"unsupported_format|decoders understand differently|not grey") as caught:
        read_label_mask(data, {0: 0}, LIMITS)  # every stored value is 0, so nothing but the kind can be refused
    assert caught.value.code in ("mask_unreadable", "mask_invalid_values")
