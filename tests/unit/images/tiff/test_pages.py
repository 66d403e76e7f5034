"""Pages of a TIFF: which are frames, what a damaged one costs, and how large they may be."""

import struct
import tracemalloc

import numpy as np
import pytest

from diagchd_batch.errors import ItemError
from diagchd_batch.images.formats import ImageFile, open_image
from diagchd_batch.images.limits import DecodeLimits
from tests.unit.images.tiff.tiff_files import LONG, Kind, Page, Values, page_of, tiff

LIMITS = DecodeLimits(max_pixels=10_000, max_frames=50)
GREY = np.arange(0, 250, 10, dtype=np.uint8).reshape(5, 5, 1)
ORDERS = [("<", False), (">", False), ("<", True), (">", True)]


def grey_page(**tags: Values) -> Page:
    """Return a grey page. Tags are named `tag_254` and so on."""
    return page_of(GREY, Kind(more=tuple((int(name[4:]), value) for name, value in tags.items())))


def outcomes(data: bytes, limits: DecodeLimits = LIMITS) -> list[str]:
    try:
        file = open_image(data, limits)
    except ItemError as error:
        return [error.code.value]
    return [frame_outcome(file, index) for index in range(file.n_frames)]


def frame_outcome(file: ImageFile, index: int) -> str:
    try:
        file.frame(index)
        return "ok"
    except ItemError as error:
        return error.code.value


def without(page: Page, tag: int) -> Page:
    return Page({name: value for name, value in page.tags.items() if name != tag}, page.segments)


DOUBLES = page_of(np.zeros((2, 2, 1)), Kind(bits=64, sample_format=3))
ODD_PAGES = [
    (DOUBLES, "unsupported_format"),
    (without(grey_page(), 256), "decode_error"),
    (without(grey_page(), 273), "ok"),  # `tiff` gives it its places again
    (grey_page(tag_256=(LONG, [0])), "empty_image"),
    (grey_page(tag_256=(LONG, [2**31])), "too_large"),
    (grey_page(tag_273=(LONG, [10**8])), "decode_error"),
    (grey_page(tag_279=(LONG, [3])), "decode_error"),
    (grey_page(tag_258=(LONG, [8] * 200)), "decode_error"),
    (grey_page(tag_262=(2, b"what")), "decode_error"),
]


@pytest.mark.parametrize(("order", "big"), ORDERS)
@pytest.mark.parametrize(("odd", "code"), ODD_PAGES)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_page_that_cannot_be_read_costs_only_itself(odd: Page, code: str, place: int, order: str, big: bool) -> None:
    pages, expected = [grey_page(), grey_page()], ["ok", "ok"]
    pages.insert(place, odd)
    expected.insert(place, code)
    assert outcomes(tiff(pages, order, big=big)) == expected
    assert outcomes(tiff([odd], order, big=big)) == [code]


@pytest.mark.parametrize("odd", [page for page, _ in ODD_PAGES])
@pytest.mark.parametrize("thumbnail", [{254: (LONG, [1])}, {255: (3, [2])}, {254: (LONG, [4])}], ids=str)
def test_thumbnails_and_transparency_masks_are_no_frames_whatever_they_hold(
    odd: Page, thumbnail: dict[int, Values]
) -> None:
    small = Page(odd.tags | thumbnail, odd.segments)
    for pages in ([grey_page(), small], [small, grey_page()]):
        assert outcomes(tiff(pages)) == ["ok"]
    assert outcomes(tiff([grey_page(tag_255=(3, [1])), grey_page(tag_255=(3, [3]))])) == ["ok", "ok"]


def test_a_chain_that_ends_in_nothing_costs_the_last_page() -> None:
    data = tiff([grey_page()])
    for place in (len(data), 2**31, len(data) - 1):
        directory = struct.unpack_from("<I", data, 4)[0]
        (count,) = struct.unpack_from("<H", data, directory)
        link = directory + 2 + 12 * count
        broken = data[:link] + struct.pack("<I", place) + data[link + 4 :]
        assert outcomes(broken) == ["ok", "decode_error"]


def test_a_file_without_pages_or_pixels() -> None:
    assert outcomes(b"II*\0" + bytes(4)) == ["empty_image"]
    assert outcomes(b"II*\0") == ["decode_error"]
    assert outcomes(b"MM\0+\0\x08\0\0" + bytes(8)) == ["empty_image"]
    assert outcomes(tiff([grey_page(tag_257=(LONG, [0]))])) == ["empty_image"]


def test_too_many_pages() -> None:
    assert outcomes(tiff([grey_page()] * 51)) == ["too_large"]
    assert outcomes(tiff([grey_page()] * 50)) == ["ok"] * 50


@pytest.mark.parametrize("place", [0, 1])
def test_the_limit_on_pixels_is_the_only_one(place: int) -> None:
    """Pillow's own limit of 179 million pixels does not stand beside it. The pixels are left out to save time."""
    side = 14_000
    strip = bytes(side // 8)
    large = page_of(np.zeros((1, 8, 1), np.uint8), Kind(bits=1))
    tags = large.tags | {256: (LONG, [side]), 257: (LONG, [side]), 278: (LONG, [side])}
    pages = [grey_page()]
    pages.insert(place, Page(tags, [strip]))
    file = open_image(tiff(pages), DecodeLimits(max_pixels=300_000_000))
    assert file.geometry(place).decoded_bytes == 3 * side * side
    assert frame_outcome(file, place) == "decode_error"  # the strip is cut off
    assert outcomes(tiff(pages), DecodeLimits(max_pixels=100_000_000))[place] == "too_large"


@pytest.mark.parametrize("tile", [(2**20, 2**20), (16, 2**31), (0, 16)])
def test_tiles_of_absurd_sizes_take_no_memory(tile: tuple[int, int]) -> None:
    tags = grey_page().tags | {322: (LONG, [tile[1]]), 323: (LONG, [tile[0]])}
    tracemalloc.start()
    assert outcomes(tiff([Page(tags, [bytes(100)])]))[0] in ("too_large", "decode_error")
    assert tracemalloc.get_traced_memory()[1] < 5 << 20
    tracemalloc.stop()


def test_tags_that_stand_twice_are_damage() -> None:
    data = bytearray(tiff([grey_page(tag_254=(LONG, [0]))]))
    (directory,) = struct.unpack_from("<I", data, 4)
    struct.pack_into("<H", data, directory + 2, 256)  # the first tag becomes a second width
    assert outcomes(bytes(data)) == ["decode_error"]


def test_lengths_of_uncompressed_strips_may_be_missing() -> None:
    page = grey_page()
    data = bytearray(tiff([page]))
    (directory,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, directory)
    for place in range(directory + 2, directory + 2 + 12 * count, 12):
        if struct.unpack_from("<H", data, place)[0] == 279:
            struct.pack_into("<H", data, place, 65_000)
    np.testing.assert_array_equal(open_image(bytes(data), LIMITS).frame(0)[:, :, 0], GREY[:, :, 0])


def test_texts_of_pages_whose_pixels_are_not_read_are_collected() -> None:
    named = Page(DOUBLES.tags | {270: (2, b"Ada Lovelace\0")}, DOUBLES.segments)
    file = open_image(tiff([grey_page(), named]), LIMITS)
    assert "Ada Lovelace" in {value.value for value in file.identifying_values()}
