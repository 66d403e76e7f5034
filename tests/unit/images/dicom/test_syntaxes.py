"""Every transfer syntax and photometric interpretation that the standard allows together.

The files are encoded by dcmtk and gdcm, which the project did not write. Pixels are compared with values worked out by
hand where the encoding loses nothing, else with a second decoder: dcmtk, gdcm or Pillow.
"""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from PIL import Image
from pydicom import Dataset, dcmread
from pydicom.encaps import get_frame
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
)

from diagchd_batch.images.formats import open_image
from diagchd_batch.images.limits import DecodeLimits
from tests.unit.images.dicom.dicom_files import HTJ2K, colour, compressed, converted, grey, header, padded, written

HEIGHT, WIDTH = 24, 30

# Smooth pictures: what a codec loses of them is little, and decoders differ by no more than rounding.
_ROWS, _COLUMNS = np.mgrid[0:HEIGHT, 0:WIDTH]
RGB = np.stack([_ROWS * 8 + 20, _COLUMNS * 7 + 10, 200 - 3 * _ROWS - 2 * _COLUMNS], axis=-1).astype(np.uint8)
LOOP = np.stack([RGB, RGB[::-1], 255 - RGB])
GREY_8 = RGB[..., 0]
GREY_12 = ((_ROWS * 100 + _COLUMNS * 50) % 4096).astype(np.uint16)
SIGNED_12 = GREY_12.astype(np.int16) - 2048
RGB_16 = RGB.astype(np.uint16) << 8 | 0x5A
INDICES = ((_ROWS + 3 * _COLUMNS) % 200).astype(np.uint8)
PALETTE = np.stack([np.arange(200), 255 - np.arange(200), np.arange(200) // 2], axis=-1).astype(np.uint8)
YBR_LOOP = np.stack([np.asarray(Image.fromarray(frame).convert("YCbCr")) for frame in LOOP])


def frames_of(data: bytes) -> np.ndarray:
    file = open_image(data, DecodeLimits())
    return np.stack([file.frame(index) for index in range(file.n_frames)])


def colour_from(data: bytes) -> str | None:
    return open_image(data, DecodeLimits()).metadata(0).colour_from


def three(grey_u8: np.ndarray) -> np.ndarray:
    return np.repeat(grey_u8[..., np.newaxis], 3, axis=-1)[np.newaxis]


def with_palette(bits: int, indices: np.ndarray = INDICES) -> Dataset:
    dataset = grey(indices, 8, PhotometricInterpretation="PALETTE COLOR")
    for channel, name in enumerate(("Red", "Green", "Blue")):
        table = PALETTE[:, channel]
        data = table.tobytes() if bits == 8 else (table.astype("<u2") << 8 | 0x77).astype("<u2").tobytes()
        setattr(dataset, f"{name}PaletteColorLookupTableDescriptor", [200, 0, bits])
        setattr(dataset, f"{name}PaletteColorLookupTableData", data)
    return dataset


def thinned(loop: np.ndarray) -> bytes:
    """Return YBR_FULL_422 by hand: Y, Y, Cb, Cr for each two neighbours."""
    ybr = loop.reshape(*loop.shape[:2], WIDTH // 2, 2, 3)
    return np.stack([ybr[..., 0, 0], ybr[..., 1, 0], ybr[..., 0, 1], ybr[..., 0, 2]], axis=-1).tobytes()


def unthinned(loop: np.ndarray) -> np.ndarray:
    """Return what is left when the second of two neighbours has the colour of the first."""
    result = loop.copy()
    result[..., 1::2, 1:] = result[..., 0::2, 1:]
    return from_ybr(result)


def from_ybr(loop: np.ndarray) -> np.ndarray:
    """Return RGB by hand (PS3.3 C.7.6.3.1.2, solved for red, green and blue)."""
    y, cb, cr = np.moveaxis(loop.astype(float), -1, 0)
    rgb = [y + 1.402 * (cr - 128), y - 0.344136 * (cb - 128) - 0.714136 * (cr - 128), y + 1.772 * (cb - 128)]
    return np.clip(np.rint(np.stack(rgb, axis=-1)), 0, 255).astype(np.uint8)


def partial(loop: np.ndarray) -> np.ndarray:
    """Return YBR_PARTIAL by hand (PS3.3 C.7.6.3.1.2)."""
    red, green, blue = np.moveaxis(loop.astype(float), -1, 0)
    y = 0.2568 * red + 0.5041 * green + 0.0979 * blue + 16
    cb = -0.1482 * red - 0.2910 * green + 0.4392 * blue + 128
    cr = 0.4392 * red - 0.3678 * green - 0.0714 * blue + 128
    return np.rint(np.stack([y, cb, cr], axis=-1)).astype(np.uint8)


def with_pixels(photometric: str, data: bytes, **elements: object) -> Dataset:
    dataset = header(HEIGHT, WIDTH, SamplesPerPixel=3, PhotometricInterpretation=photometric, **elements)
    dataset.PlanarConfiguration = elements.get("PlanarConfiguration", 0)
    dataset.PixelData = padded(data)
    return dataset


def test_what_pydicom_writes_is_read_without_any_tool() -> None:
    for syntax in (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian):
        np.testing.assert_array_equal(frames_of(written(colour(LOOP), syntax)), LOOP)
        np.testing.assert_array_equal(frames_of(written(grey(GREY_12, 12), syntax)), three(GREY_12 >> 4))


UNCOMPRESSED: dict[str, tuple[Callable[[], Dataset], np.ndarray, int]] = {
    "MONOCHROME2, 8 bits": (lambda: grey(GREY_8, 8), three(GREY_8), 0),
    "MONOCHROME1, 8 bits": (
        lambda: grey(GREY_8, 8, PhotometricInterpretation="MONOCHROME1"), three(255 - GREY_8), 0),
    "MONOCHROME2, 12 of 16 bits": (lambda: grey(GREY_12, 12), three(GREY_12 >> 4), 0),
    "MONOCHROME2, 16 bits": (lambda: grey(GREY_12 << 4, 16), three(GREY_12 >> 4), 0),
    "MONOCHROME2, 12 signed bits": (lambda: grey(SIGNED_12, 12), three(GREY_12 >> 4), 0),
    "RGB": (lambda: colour(LOOP), LOOP, 0),
    "RGB, planar": (
        lambda: with_pixels(
            "RGB", np.moveaxis(LOOP, -1, 1).tobytes(), PlanarConfiguration=1, NumberOfFrames=3), LOOP, 0),
    "RGB, 16 bits": (lambda: colour(RGB_16), RGB[np.newaxis], 0),
    "YBR_FULL": (lambda: colour(YBR_LOOP, "YBR_FULL"), from_ybr(YBR_LOOP), 1),
    "YBR_FULL_422": (
        lambda: with_pixels("YBR_FULL_422", thinned(YBR_LOOP), NumberOfFrames=3), unthinned(YBR_LOOP), 1),
    "YBR_PARTIAL_422": (
        lambda: with_pixels("YBR_PARTIAL_422", thinned(partial(np.stack([RGB[:, :1].repeat(WIDTH, 1)] * 3))),
                            NumberOfFrames=3), np.stack([RGB[:, :1].repeat(WIDTH, 1)] * 3), 2),
    "PALETTE COLOR, tables of 8 bits": (lambda: with_palette(8), PALETTE[INDICES][np.newaxis], 0),
    "PALETTE COLOR, tables of 16 bits": (lambda: with_palette(16), PALETTE[INDICES][np.newaxis], 0),
}  # fmt: skip


@pytest.mark.parametrize("kind", UNCOMPRESSED)
@pytest.mark.parametrize("option", ["+ti", "+te", "+tb", "+td"])
def test_uncompressed_by_dcmtk(kind: str, option: str, tmp_path: Path) -> None:
    make, expected, tolerance = UNCOMPRESSED[kind]
    found = frames_of(converted(written(make()), tmp_path, "dcmconv", option))
    assert np.abs(found.astype(int) - expected).max() <= tolerance


LOSSLESS = {name: case for name, case in UNCOMPRESSED.items() if "422" not in name}


@pytest.mark.parametrize("kind", LOSSLESS)
@pytest.mark.parametrize(
    "command",
    ["dcmcrle", "dcmcjpeg +e1", "dcmcjpeg +el +sv 4", "dcmcjpls", "gdcmconv --rle", "gdcmconv --jpeg",
     "gdcmconv --jpegls", "gdcmconv --j2k"],
)  # fmt: skip
def test_codecs_that_lose_nothing(kind: str, command: str, tmp_path: Path) -> None:
    if kind == "RGB, planar" and command.startswith("dcmcjpeg"):
        pytest.skip("dcmcjpeg 3.6.7 takes the planes for pixels; gdcmconv --jpeg does not")
    make, expected, tolerance = LOSSLESS[kind]
    found = frames_of(converted(written(make()), tmp_path, *command.split()))
    assert np.abs(found.astype(int) - expected).max() <= tolerance


@pytest.mark.parametrize("options", ["+eb +cy +np", "+eb +cy +s4", "+eb +cy +s2", "+eb +cr", "+es +cy", "+ep +cy"])
def test_jpeg_of_eight_bits_equals_pillow(options: str, tmp_path: Path) -> None:
    data = converted(written(colour(LOOP)), tmp_path, "dcmcjpeg", *options.split())
    pixels = dcmread(io.BytesIO(data)).PixelData
    second = [Image.open(io.BytesIO(get_frame(pixels, index, number_of_frames=3))).convert("RGB") for index in range(3)]
    np.testing.assert_array_equal(frames_of(data), np.stack([np.asarray(frame) for frame in second]))
    assert np.abs(frames_of(data).astype(int) - LOOP).mean() < 4
    assert colour_from(data) == "declared"


@pytest.mark.parametrize("options", ["+eb", "+ee", "+es", "+ep"])
@pytest.mark.parametrize("kind", ["MONOCHROME2, 8 bits", "MONOCHROME1, 8 bits", "MONOCHROME2, 12 of 16 bits"])
def test_grey_jpeg_equals_dcmtk(options: str, kind: str, tmp_path: Path) -> None:
    if "12" in kind and options == "+eb":
        pytest.skip("baseline JPEG has 8 bits")
    data = converted(written(UNCOMPRESSED[kind][0]()), tmp_path, "dcmcjpeg", *options.split())
    second = converted(data, tmp_path, "dcmdjpeg")
    found, expected = (open_image(one, DecodeLimits()).grey_values(0).astype(int) for one in (data, second))
    assert np.abs(found - expected).max() <= 1


def test_jpeg_ls_that_loses_a_little_equals_dcmtk(tmp_path: Path) -> None:
    for make in (lambda: colour(LOOP), lambda: grey(GREY_12, 12)):
        data = converted(written(make()), tmp_path, "dcmcjpls", "+en", "+md", "2")
        np.testing.assert_array_equal(frames_of(data), frames_of(converted(data, tmp_path, "dcmdjpls")))


def test_jpeg_2000_that_loses_a_little_equals_gdcm(tmp_path: Path) -> None:
    data = converted(written(colour(RGB)), tmp_path, "gdcmconv", "--j2k", "--lossy", "-q", "80")
    found, second = frames_of(data), frames_of(converted(data, tmp_path, "gdcmconv", "--raw"))
    assert np.abs(found.astype(int) - second).max() <= 1


@pytest.mark.parametrize("photometric", ["YBR_RCT", "YBR_ICT", "RGB"])
def test_high_throughput_jpeg_2000(photometric: str) -> None:
    """No tool of Debian writes it, so the test builds the file. The encoder is OpenJPH and the decoder OpenJPEG."""
    options: dict[str, Any] = {"rgb": photometric != "RGB", "planar": False, "reversible": photometric != "YBR_ICT"}
    options["level"] = 0.002
    frames = [imagecodecs.htj2k_encode(frame, **options) for frame in LOOP]
    data = compressed(colour(LOOP, photometric), frames, HTJ2K)
    found = frames_of(data)
    second = np.stack([imagecodecs.htj2k_decode(frame, planar=False) for frame in frames])
    assert np.abs(found.astype(int) - second).max() <= (1 if photometric == "YBR_ICT" else 0)
    assert np.abs(found.astype(int) - LOOP).max() <= (2 if photometric == "YBR_ICT" else 0)


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_high_throughput_jpeg_2000_of_grey(bits: int) -> None:
    values = (GREY_8 if bits == 8 else GREY_12 << (bits - 12)).copy()
    data = compressed(grey(values, bits), [imagecodecs.htj2k_encode(values, reversible=True)], HTJ2K)
    np.testing.assert_array_equal(frames_of(data), three((values >> (bits - 8)).astype(np.uint8)))


def test_jpeg_2000_of_a_file_in_a_box() -> None:
    for container in ("j2k", "jp2"):
        frame = imagecodecs.jpeg2k_encode(RGB, codecformat=container, level=0, reversible=True)
        data = compressed(colour(RGB, "YBR_RCT"), [frame], JPEG2000Lossless)
        np.testing.assert_array_equal(frames_of(data)[0], RGB)
