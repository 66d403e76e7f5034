"""Frames and masks are cut to the same region before they are resized to the grid."""

import io

import numpy as np
import pytest
from PIL import Image
from pydicom import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, UltrasoundImageStorage

from diagchd_batch.images.formats import FrameMetadata, open_image
from diagchd_batch.images.limits import DecodeLimits
from diagchd_batch.images.regions.frame_region import RegionRule
from diagchd_batch.scoring.decoding.byte_budget import ByteBudget
from diagchd_batch.scoring.decoding.in_process import DecodeSettings, InProcessDecoder, MaskRequest

TOP, LEFT, HEIGHT, WIDTH = 40, 80, 96, 160
GRID = (HEIGHT // 2, WIDTH // 2)


def screen() -> np.ndarray:
    """Return a black picture of 200 x 320 pixels with texture in one rectangle and a bright line beside it."""
    picture = np.zeros((200, 320), np.uint8)
    generator = np.random.default_rng(7)
    picture[TOP : TOP + HEIGHT, LEFT : LEFT + WIDTH] = generator.integers(30, 220, (HEIGHT, WIDTH), np.uint8)
    picture[10:190, 20:24] = 255
    return picture


def png(picture: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    return buffer.getvalue()


def dicom(picture: np.ndarray) -> bytes:
    """Return a DICOM file whose header tags the rectangle with texture and gives the size of a pixel."""
    region = Dataset()
    region.RegionSpatialFormat, region.RegionDataType, region.RegionFlags = 1, 1, 0
    region.RegionLocationMinX0, region.RegionLocationMinY0 = LEFT, TOP
    region.RegionLocationMaxX1, region.RegionLocationMaxY1 = LEFT + WIDTH - 1, TOP + HEIGHT - 1
    region.PhysicalUnitsXDirection = region.PhysicalUnitsYDirection = 3
    region.PhysicalDeltaX, region.PhysicalDeltaY = 0.05, 0.04
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.SOPClassUID, data.SOPInstanceUID = UltrasoundImageStorage, "2.25.1"
    data.Rows, data.Columns = picture.shape
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated = data.BitsStored = 8
    data.HighBit, data.PixelRepresentation = 7, 0
    data.SequenceOfUltrasoundRegions = Sequence([region])
    data.PixelData = picture.tobytes()
    buffer = io.BytesIO()
    data.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("make", "rule", "source"), [(png, "found", "found"), (png, "tagged", "found"), (dicom, "tagged", "tagged")]
)
def test_image_and_mask_are_cut_alike(make: type, rule: RegionRule, source: str) -> None:
    decoder = InProcessDecoder(DecodeSettings(DecodeLimits(), *GRID, None, rule), ByteBudget(1 << 20))
    picture = screen()
    decoder.open(make(picture))
    frame = decoder.frame(0)
    assert frame.region.source == source
    assert frame.region.box == (TOP, LEFT, HEIGHT, WIDTH)
    assert (frame.source_height, frame.source_width) == picture.shape
    np.testing.assert_array_equal(frame.image_hwc_u8[:, :, 0], picture[TOP + 1 : TOP + HEIGHT : 2, LEFT + 1 : 241 : 2])
    labels = (picture > 128).astype(np.uint8)
    request = MaskRequest(*picture.shape, frame.region.box, 0, True)
    np.testing.assert_array_equal(decoder.mask(png(labels), request), frame.image_hwc_u8[:, :, 0] > 128)


def test_by_default_the_whole_frame_is_resized() -> None:
    decoder = InProcessDecoder(DecodeSettings(DecodeLimits(), 200, 320, None), ByteBudget(1 << 20))
    decoder.open(dicom(screen()))
    frame = decoder.frame(0)
    assert frame.region.source == "whole"
    np.testing.assert_array_equal(frame.image_hwc_u8[:, :, 0], screen())


def test_a_dicom_file_says_how_large_its_pixels_are() -> None:
    metadata = open_image(dicom(screen()), DecodeLimits()).metadata(0)
    expected = FrameMetadata(
        pixel_height_mm=0.4,
        pixel_width_mm=0.5,
        spacing_status="ok",
        sector=(TOP, LEFT, HEIGHT, WIDTH),
        colour_from=metadata.colour_from,
    )
    assert metadata == expected
