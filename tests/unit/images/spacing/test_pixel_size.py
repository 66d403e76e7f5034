"""The size of a pixel from ultrasound regions: known only where nothing contradicts it."""

import math
import struct
from typing import Any

import pydicom
import pytest
from pydicom import Dataset
from pydicom.data import get_testdata_file
from pydicom.dataelem import RawDataElement
from pydicom.sequence import Sequence
from pydicom.tag import Tag

from diagchd_batch.images.spacing.pixel_size import has_calibration, region_calibration
from diagchd_batch.images.spacing.spacing_status import SPACING_STATUSES, SpacingStatus

CM, SECONDS = 3, 4
M_MODE = {"RegionSpatialFormat": 2, "PhysicalUnitsXDirection": SECONDS}
COLOUR_FLOW = {"RegionDataType": 2}
ECG = {"RegionSpatialFormat": 4, "RegionDataType": 10, "PhysicalUnitsXDirection": SECONDS, "PhysicalUnitsYDirection": 0}
COLOUR_BAR = {"RegionSpatialFormat": 5, "RegionDataType": 14, "PhysicalDeltaX": 0.0, "PhysicalDeltaY": 0.0}


def region(left: int, top: int, right: int, bottom: int, **changes: Any) -> Dataset:
    values: dict[str, Any] = {
        "RegionSpatialFormat": 1,
        "RegionDataType": 1,
        "RegionFlags": 0,
        "RegionLocationMinX0": left,
        "RegionLocationMinY0": top,
        "RegionLocationMaxX1": right,
        "RegionLocationMaxY1": bottom,
        "PhysicalUnitsXDirection": CM,
        "PhysicalUnitsYDirection": CM,
        "PhysicalDeltaX": 0.03,
        "PhysicalDeltaY": 0.02,
    }
    item = Dataset()
    for keyword, value in (values | changes).items():
        if value is not None:
            setattr(item, keyword, value)
    return item


def header(*regions: Dataset, rows: int = 600, columns: int = 800) -> Dataset:
    found = Dataset()
    found.Rows, found.Columns = rows, columns
    if regions:
        found.SequenceOfUltrasoundRegions = Sequence(regions)
    return found


def sector(**changes: Any) -> Dataset:
    return region(100, 50, 699, 549, **changes)


def test_a_region_of_tissue_gives_the_size_of_a_pixel_and_the_sector() -> None:
    found = region_calibration(header(sector()))
    assert (found.pixel_width_mm, found.pixel_height_mm) == pytest.approx((0.3, 0.2))
    assert found.spacing_status == "ok"
    assert found.sector == (50, 100, 500, 600)
    assert has_calibration(header(sector()))


@pytest.mark.parametrize(
    "regions",
    [
        [region(0, 0, 49, 599, **COLOUR_BAR)],
        [region(100, 560, 699, 599, **ECG)],
        [region(100, 500, 699, 560, **ECG)],  # drawn over the tissue
        [region(200, 200, 300, 300, **COLOUR_FLOW)],
        [region(0, 0, 90, 90)],  # a second image of tissue at the same scale
        [region(0, 0, 90, 40, **M_MODE)],
        [region(100, 549, 699, 599, **M_MODE)],  # shares a row with the tissue, as inclusive corners may
        [region(100, 500, 699, 599, **M_MODE, RegionFlags=1)],  # gives way to the tissue
        [region(0, 0, 0, 0, RegionSpatialFormat=0, RegionDataType=0)],  # an empty entry
        [Dataset()],
    ],
    ids=str,
)
def test_other_regions_are_ignored(regions: list[Dataset]) -> None:
    for order in ([*regions, sector()], [sector(), *regions]):
        found = region_calibration(header(*order))
        assert found.spacing_status == "ok"
        assert found.pixel_width_mm == pytest.approx(0.3)
        assert found.sector == (50, 100, 500, 600)


REFUSED: list[tuple[str, list[Dataset]]] = [
    ("no_regions", []),
    ("no_tissue_region", [sector(**M_MODE)]),
    ("no_tissue_region", [sector(**COLOUR_FLOW)]),
    ("no_tissue_region", [sector(RegionSpatialFormat=None)]),
    ("no_tissue_region", [sector(RegionDataType=None)]),
    ("invalid_region", [sector(PhysicalDeltaX=None)]),
    ("invalid_region", [sector(PhysicalDeltaY=0.0)]),
    ("invalid_region", [sector(PhysicalDeltaY=-0.02)]),
    ("invalid_region", [sector(PhysicalDeltaX=math.nan)]),
    ("invalid_region", [sector(PhysicalDeltaX=math.inf)]),
    ("invalid_region", [sector(PhysicalDeltaX=[0.03, 0.03])]),
    ("invalid_region", [sector(RegionLocationMaxX1=None)]),
    ("invalid_region", [region(699, 50, 100, 549)]),
    ("outside_picture", [region(100, 50, 801, 549)]),
    ("outside_picture", [region(100, 50, 699, 601)]),
    ("outside_picture", [region(100, 50, 2**32 - 1, 549)]),
    ("outside_picture", [sector(), region(176, 522, 743, 676, **ECG)]),
    ("not_in_cm", [sector(PhysicalUnitsXDirection=SECONDS)]),
    ("not_in_cm", [sector(PhysicalUnitsYDirection=0)]),
    ("not_in_cm", [sector(PhysicalUnitsXDirection=None)]),
    ("scales_differ", [sector(), region(0, 0, 90, 90, PhysicalDeltaX=0.06)]),
    ("scales_differ", [sector(), region(0, 0, 90, 90, PhysicalDeltaX=0.0301)]),
    ("implausible", [sector(PhysicalDeltaX=3e-5, PhysicalDeltaY=2e-5)]),
    ("implausible", [sector(PhysicalDeltaX=0.3, PhysicalDeltaY=0.2)]),
    ("implausible", [sector(PhysicalDeltaX=0.07, PhysicalDeltaY=0.01)]),
    ("overlapped", [sector(), region(100, 400, 699, 599, **M_MODE)]),
    ("overlapped", [sector(RegionFlags=1), region(100, 400, 699, 599, **M_MODE, RegionFlags=1)]),
    ("overlapped", [sector(), region(200, 200, 300, 300, **COLOUR_FLOW, PhysicalDeltaX=0.06)]),
]


@pytest.mark.parametrize(("status", "regions"), REFUSED)
def test_a_contradiction_gives_no_size_and_says_why(status: str, regions: list[Dataset]) -> None:
    found = region_calibration(header(*regions))
    assert found.spacing_status == status
    assert found.pixel_height_mm is None and found.pixel_width_mm is None
    assert not has_calibration(header(*regions))


def test_every_status_of_a_header_is_tested_and_explained() -> None:
    assert {status for status, _ in REFUSED} | {"ok", "per_frame", "not_in_format", "heart_outside_region"} == set(
        SpacingStatus
    )
    assert set(SPACING_STATUSES) == set(SpacingStatus)


@pytest.mark.parametrize("status", ["not_in_cm", "implausible", "scales_differ", "overlapped"])
def test_the_sector_is_known_where_only_its_scale_is_not(status: str) -> None:
    for expected, regions in REFUSED:
        if expected == status:
            assert region_calibration(header(*regions)).sector == (50, 100, 500, 600)


def test_a_corner_at_the_end_of_the_picture_is_accepted_and_the_sector_clipped() -> None:
    found = region_calibration(header(region(100, 50, 800, 600)))
    assert found.spacing_status == "ok"
    assert found.sector == (50, 100, 550, 700)


def test_of_several_images_of_tissue_the_largest_is_the_sector() -> None:
    assert region_calibration(header(region(0, 0, 90, 90), sector())).sector == (50, 100, 500, 600)


def test_regions_of_single_frames_are_not_used() -> None:
    frames = header(sector())
    groups = [Dataset(), Dataset()]
    groups[1].SequenceOfUltrasoundRegions = Sequence([sector(PhysicalDeltaX=0.06)])
    frames.PerFrameFunctionalGroupsSequence = Sequence(groups)
    assert region_calibration(frames).spacing_status == "per_frame"


@pytest.mark.parametrize("keyword", ["PixelSpacing", "NominalScannedPixelSpacing", "ImagerPixelSpacing"])
def test_other_spacings_are_not_used(keyword: str) -> None:
    other = header()
    setattr(other, keyword, [0.2, 0.3])
    assert region_calibration(other).spacing_status == "no_regions"


def test_a_damaged_element_counts_as_absent() -> None:
    damaged = sector()
    tag = Tag("PhysicalDeltaX")
    damaged[tag] = RawDataElement(tag, "FD", 5, struct.pack("<f", 0.03) + b"\0", 0, False, True)
    assert region_calibration(header(damaged)).spacing_status == "invalid_region"
    no_size = header(sector())
    del no_size.Rows
    assert region_calibration(no_size).spacing_status == "invalid_region"


@pytest.mark.parametrize("name", ["examples_ybr_color.dcm", "examples_palette.dcm"])
def test_real_files_whose_pictures_were_resized_or_cropped_have_no_size(name: str) -> None:
    """pydicom's own files still have the regions of the scanner's whole screen."""
    path = get_testdata_file(name)
    assert path is not None
    real = pydicom.dcmread(path, stop_before_pixels=True)
    assert region_calibration(real).spacing_status == "outside_picture"
    real.Rows, real.Columns = 600, 800
    found = region_calibration(real)
    assert found.spacing_status == "ok"
    assert found.pixel_width_mm == found.pixel_height_mm == 10 * real.SequenceOfUltrasoundRegions[0].PhysicalDeltaX
