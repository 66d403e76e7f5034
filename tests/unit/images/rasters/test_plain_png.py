"""The fast decoder of plain PNG files gives Pillow's pixels, and leaves other files and damaged ones to Pillow."""

import io
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from diagchd_batch.images.formats import open_image
from diagchd_batch.images.formats.plain_png import plain_png_colours
from diagchd_batch.images.limits import DecodeLimits

sizes = st.tuples(st.integers(1, 40), st.integers(1, 40))
pictures = st.one_of(arrays(np.uint8, sizes), arrays(np.uint8, st.builds(lambda size: (*size, 3), sizes)))


def saved(picture: np.ndarray | Image.Image, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture = Image.fromarray(picture) if isinstance(picture, np.ndarray) else picture
    picture.save(buffer, "PNG", **options)
    return buffer.getvalue()


def by_pillow(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def gradient(height: int, width: int) -> np.ndarray:
    rows, columns = np.mgrid[0:height, 0:width]
    return np.stack([rows, columns, rows + columns], axis=2).astype(np.uint8)


@settings(deadline=None, max_examples=60)
@given(pictures, st.sampled_from([0, 1, 9]))
def test_the_pixels_are_pillows(picture: np.ndarray, level: int) -> None:
    data = saved(picture, compress_level=level)
    np.testing.assert_array_equal(plain_png_colours(data), by_pillow(data))


def test_a_picture_of_several_stored_blocks_with_all_filters() -> None:
    """More than 65,535 bytes; Pillow chooses among the filters of PNG by row."""
    random_rows = np.random.default_rng(1).integers(0, 256, (60, 300, 3)).astype(np.uint8)
    data = saved(np.concatenate([gradient(200, 300), random_rows]))
    np.testing.assert_array_equal(plain_png_colours(data), by_pillow(data))


def test_resolution_and_plain_texts_are_no_obstacle() -> None:
    texts = PngInfo()
    texts.add_text("Software", "a scanner")
    assert plain_png_colours(saved(gradient(9, 9), dpi=(72, 72), pnginfo=texts)) is not None


def _with_orientation() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return saved(gradient(9, 12), exif=exif)


def _with_xmp() -> bytes:
    texts = PngInfo()
    texts.add_itxt("XML:com.adobe.xmp", '<rdf:Description tiff:Orientation="6"/>')
    return saved(gradient(9, 12), pnginfo=texts)


def _with_raw_profile() -> bytes:
    texts = PngInfo()
    texts.add_text("Raw profile type exif", "\nexif\n0\n")
    return saved(gradient(9, 12), pnginfo=texts)


@pytest.mark.parametrize(
    "data",
    [
        saved(Image.fromarray(gradient(9, 9)).convert("P")),
        saved(Image.fromarray(gradient(9, 9)).convert("LA")),
        saved(Image.fromarray(gradient(9, 9)).convert("RGBA")),
        saved(Image.fromarray(gradient(9, 9)).convert("1")),
        saved(np.arange(81, dtype=np.uint16).reshape(9, 9)),
        saved(Image.fromarray(gradient(9, 9)), transparency=(0, 0, 0)),
        _with_orientation(),
        _with_xmp(),
        _with_raw_profile(),
        b"\x89PNG\r\n\x1a\n",
        b"",
    ],
    ids=[
        "palette",
        "grey+alpha",
        "alpha",
        "1 bit",
        "16 bits",
        "transparency",
        "exif",
        "xmp",
        "profile",
        "cut",
        "empty",
    ],
)
def test_other_files_are_left_to_pillow(data: bytes) -> None:
    assert plain_png_colours(data) is None


def test_an_oriented_file_is_still_turned() -> None:
    assert open_image(_with_orientation(), DecodeLimits()).frame(0).shape == (12, 9, 3)


def test_a_damaged_file_gives_pillows_pixels_or_none() -> None:
    """1,500 files have a changed byte, a cut or a gap. One that Pillow refuses must never give pixels."""
    sound, numbers, accepted = saved(gradient(12, 17)), random.Random(1), 0
    for _ in range(500):
        place, byte = numbers.randrange(8, len(sound)), numbers.randrange(256)
        for damaged in (
            sound[:place],
            sound[:place] + bytes([byte]) + sound[place + 1 :],
            sound[:place] + sound[place + 1 + byte % 8 :],
        ):
            colours = plain_png_colours(damaged)
            if colours is not None:
                accepted += 1
                np.testing.assert_array_equal(colours, by_pillow(damaged))
    assert accepted < 200
