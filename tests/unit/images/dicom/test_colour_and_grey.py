"""How colour and grey are decided: where header and pixels disagree, windows, and what is no picture."""

import io
import warnings
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydicom import Dataset, dcmread
from pydicom.encaps import get_frame
from pydicom.sequence import Sequence
from pydicom.uid import JPEGBaseline8Bit, JPEGLosslessSV1

from diagchd_batch.errors import ItemError
from diagchd_batch.images.formats import open_image
from diagchd_batch.images.limits import DecodeLimits
from tests.unit.images.dicom.dicom_files import PYDICOM_FILES, colour, compressed, grey, header, pydicom_file, written

LIMITS = DecodeLimits()
RGB = np.asarray(Image.fromarray(np.array([[[200, 30, 60], [20, 180, 90]]], np.uint8)).resize((32, 16)))


def jpeg(kind: str) -> bytes:
    """Return a JPEG whose markers and component ids say what its colours are, or say nothing."""
    buffer = io.BytesIO()
    if kind in ("RGB, by ids", "RGB, by Adobe", "RGB, silent"):
        Image.fromarray(RGB).save(buffer, "JPEG", quality=95, keep_rgb=True)
    else:
        Image.fromarray(RGB).save(buffer, "JPEG", quality=95, subsampling=1 if "thinned" in kind else 0)
    data = bytearray(buffer.getvalue())
    if kind in ("YCbCr, thinned", "YCbCr, silent", "YCbCr, by Adobe"):  # without its JFIF marker
        del data[2 : 4 + int.from_bytes(data[4:6], "big")]
    if kind == "YCbCr, by Adobe":
        data[2:2] = b"\xff\xee\x00\x0eAdobe\0\x64\0\0\0\0\x01"
    adobe = data.find(b"\xff\xee")
    if kind in ("RGB, by ids", "RGB, silent") and adobe > 0:
        del data[adobe : adobe + 2 + int.from_bytes(data[adobe + 2 : adobe + 4], "big")]
    if kind in ("RGB, by Adobe", "RGB, silent"):
        _number_components(data)
    return bytes(data)


def _number_components(data: bytearray) -> None:
    """Replace the component ids R, G, B by 1, 2, 3 in the headers of frame and scan."""
    frame, scan = data.find(b"\xff\xc0"), data.find(b"\xff\xda")
    for number in range(3):
        data[frame + 10 + 3 * number] = data[scan + 5 + 2 * number] = number + 1


@pytest.mark.parametrize(
    ("kind", "declared", "colour_from"),
    [
        ("YCbCr, by JFIF", "YBR_FULL_422", "declared"),
        ("YCbCr, by JFIF", "RGB", "data"),
        ("YCbCr, by Adobe", "RGB", "data"),
        ("YCbCr, thinned", "RGB", "data"),
        ("YCbCr, silent", "YBR_FULL", "declared"),
        ("RGB, by ids", "YBR_FULL_422", "data"),
        ("RGB, by Adobe", "YBR_FULL", "data"),
        ("RGB, by ids", "RGB", "declared"),
        ("RGB, silent", "RGB", "declared"),
        ("YCbCr, by JFIF", "MONOCHROME2", "data"),
    ],
)
def test_where_the_header_of_a_jpeg_is_wrong_its_data_decide(kind: str, declared: str, colour_from: str) -> None:
    dataset = header(16, 32, SamplesPerPixel=1 if declared == "MONOCHROME2" else 3, PhotometricInterpretation=declared)
    file = open_image(compressed(dataset, [jpeg(kind)], JPEGBaseline8Bit), LIMITS)
    assert np.abs(file.frame(0).astype(int) - RGB).max() <= 24  # the loss of JPEG; wrong colours differ by over 100
    assert file.metadata(0).colour_from == colour_from
    assert (
        open_image(compressed(dataset, [jpeg(kind)], JPEGBaseline8Bit), LIMITS).metadata(0).colour_from == colour_from
    )


def test_uncompressed_data_of_the_length_of_rgb_are_rgb() -> None:
    file = open_image(written(colour(np.stack([RGB, RGB]), "YBR_FULL_422")), LIMITS)
    np.testing.assert_array_equal(file.frame(1), RGB)
    assert file.metadata(1).colour_from == "data"


def test_pydicoms_own_files_have_the_colours_that_pydicom_finds() -> None:
    """YCbCr and RGB under right and wrong names, from dcmtk, gdcm and pydicom. Only files of the wheel are used."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        names = ("SC_rgb*.dcm", "SC_jpeg*.dcm", "SC_ybr*.dcm", "examples_*_color.dcm", "*J2K_Text*")
        paths = {path for name in names for path in PYDICOM_FILES.rglob(name)}
        n_compared = 0
        for path in sorted(paths):
            dataset = dcmread(path)
            if dataset.BitsAllocated == 32 or dataset.file_meta.TransferSyntaxUID == JPEGLosslessSV1:
                continue  # the first are not read, and pydicom has no permissive decoder of the second
            expected = dataset.pixel_array if dataset.get("NumberOfFrames", 1) == 1 else dataset.pixel_array[0]
            found = open_image(path.read_bytes(), LIMITS).frame(0)
            assert np.abs(found.astype(int) - (expected >> (dataset.BitsStored - 8))).max() <= 1, path
            n_compared += 1
    assert n_compared >= 25


VALUES = np.array([[0, 1000, 2000, 3000, 4095]], np.uint16)


@pytest.mark.parametrize(
    ("elements", "expected"),
    [
        ({}, [0, 62, 125, 187, 255]),  # the high byte of the 12 bits, and not the range of the picture
        ({"WindowCenter": 2000, "WindowWidth": 2001}, [0, 0, 128, 255, 255]),  # ((x - 1999.5) / 2000 + 0.5) * 255
        ({"WindowCenter": 2000, "WindowWidth": 4000, "VOILUTFunction": "LINEAR_EXACT"}, [0, 64, 128, 191, 255]),
        ({"WindowCenter": 2000, "WindowWidth": 1000, "VOILUTFunction": "SIGMOID"}, [0, 5, 128, 250, 255]),
        ({"WindowCenter": [2000, 1], "WindowWidth": [2001, 1]}, [0, 0, 128, 255, 255]),  # the first of several
        ({"WindowCenter": 1000, "WindowWidth": 1}, [0, 255, 255, 255, 255]),
        ({"WindowCenter": 2000, "WindowWidth": 0}, [0, 62, 125, 187, 255]),  # no window
        ({"WindowCenter": 0, "WindowWidth": 2001, "RescaleSlope": 1, "RescaleIntercept": -2000}, [0, 0, 128, 255, 255]),
        ({"PhotometricInterpretation": "MONOCHROME1"}, [255, 193, 130, 68, 0]),
    ],
)
def test_grey_of_more_than_eight_bits_is_shown_through_its_window(
    elements: dict[str, Any], expected: list[int]
) -> None:
    file = open_image(written(grey(VALUES, 12, **elements)), LIMITS)
    assert file.frame(0)[0, :, 0].tolist() == expected
    assert file.grey_values(0).tolist() == VALUES.tolist()


def test_a_window_of_one_frame_comes_before_that_of_all() -> None:
    dataset = grey(np.stack([VALUES, VALUES]), 12)
    dataset.WindowCenter, dataset.WindowWidth = 500, 10
    items = []
    for center in (2000, 3000):
        window, item = Dataset(), Dataset()
        window.WindowCenter, window.WindowWidth = center, 2001
        item.FrameVOILUTSequence = Sequence([window])
        items.append(item)
    dataset.PerFrameFunctionalGroupsSequence = Sequence(items)
    file = open_image(written(dataset), LIMITS)
    assert [file.frame(index)[0, 2, 0] for index in (0, 1, 0)] == [128, 0, 128]


def test_eight_bits_are_shown_as_they_are() -> None:
    dataset = grey(np.array([[0, 100, 255]], np.uint8), 8, WindowCenter=10, WindowWidth=2)
    assert open_image(written(dataset), LIMITS).frame(0)[0, :, 0].tolist() == [0, 100, 255]


def test_bits_without_a_meaning_are_left_out() -> None:
    values = VALUES << 2 | 0xC001  # overlays above and below the 12 bits
    dataset = grey(values, 12, HighBit=13)
    assert open_image(written(dataset), LIMITS).frame(0)[0, :, 0].tolist() == [0, 62, 125, 187, 255]


@pytest.mark.parametrize(
    ("elements", "expected"),
    [
        ({"FrameTime": 40}, [0.0, 40.0, 80.0]),
        ({"FrameTimeVector": [0, 30, 50]}, [0.0, 30.0, 80.0]),
        ({"CineRate": 50}, [0.0, 20.0, 40.0]),
        ({"RecommendedDisplayFrameRate": 25}, [0.0, 40.0, 80.0]),
        ({"FrameTimeVector": [0, 30], "FrameTime": 10}, [0.0, 10.0, 20.0]),  # a vector of another length is no vector
        ({"FrameTime": 0}, [None, None, None]),
        ({"FrameTime": -1}, [None, None, None]),
        ({}, [None, None, None]),
    ],
)
def test_frames_have_times(elements: dict[str, Any], expected: list[float | None]) -> None:
    file = open_image(written(grey(np.zeros((3, 2, 2), np.uint8), 8, **elements)), LIMITS)
    assert [file.metadata(index).time_ms for index in range(3)] == expected


def test_a_single_frame_has_no_time() -> None:
    assert open_image(written(grey(VALUES, 12, FrameTime=40)), LIMITS).metadata(0).time_ms is None


@pytest.mark.parametrize("name", ["test-SR.dcm", "reportsi.dcm", "rtplan.dcm", "waveform_ecg.dcm", "liver_1frame.dcm",
                                  "rtdose_1frame.dcm"])  # fmt: skip
def test_objects_without_a_picture_have_a_code_of_their_own(name: str) -> None:
    with pytest.raises(ItemError) as raised:
        open_image(pydicom_file(name).read_bytes(), LIMITS)
    assert raised.value.code == "not_an_image"


@pytest.mark.parametrize(
    "sop_class",
    [
        "1.2.840.10008.1.3.10",  # DICOMDIR
        "1.2.840.10008.5.1.4.1.1.104.1",  # encapsulated PDF
        "1.2.840.10008.5.1.4.1.1.11.1",  # presentation state
        "1.2.840.10008.5.1.4.1.1.88.59",  # key objects
        "1.2.3.4",  # a private class without pixels
    ],
)
def test_other_objects_without_pixels(sop_class: str) -> None:
    dataset = header(0, 0, SOPClassUID=sop_class, Rows=None, Columns=None)
    with pytest.raises(ItemError) as raised:
        open_image(written(dataset), LIMITS)
    assert raised.value.code == "not_an_image"


def test_an_image_whose_file_ends_before_its_pixels_is_damaged() -> None:
    data = written(grey(VALUES, 12))
    with pytest.raises(ItemError) as raised:
        open_image(data[:-30], LIMITS)
    assert raised.value.code == "decode_error"


def test_files_are_recognised_without_preamble_and_without_meta_elements() -> None:
    with_preamble = written(grey(VALUES, 12))
    expected = open_image(with_preamble, LIMITS).frame(0)
    body = with_preamble.index(b"\x08\x00\x16\x00UI")
    for data in (with_preamble[132:], with_preamble[body:], written(grey(VALUES, 12), preamble=True)):
        np.testing.assert_array_equal(open_image(data, LIMITS).frame(0), expected)
    tiff_in_the_preamble = b"II*\0" + with_preamble[4:]
    np.testing.assert_array_equal(open_image(tiff_in_the_preamble, LIMITS).frame(0), expected)


@pytest.mark.parametrize("text", ["study_id,uri\n1,2\n", "\x08\x00 nothing of the kind", "\x02\x00\x10\x00xx"])
def test_other_content_is_not_taken_for_dicom(text: str) -> None:
    with pytest.raises(ItemError) as raised:
        open_image((9 * text).encode(), LIMITS)
    assert raised.value.code == "unsupported_format"


def test_pixels_equal_those_of_the_jpeg_itself() -> None:
    path = pydicom_file("examples_ybr_color.dcm")
    file = open_image(path.read_bytes(), LIMITS)
    frame = get_frame(dcmread(path).PixelData, 17, number_of_frames=30)
    np.testing.assert_array_equal(file.frame(17), np.asarray(Image.open(io.BytesIO(frame)).convert("RGB")))
