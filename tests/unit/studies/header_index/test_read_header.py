"""The row of one object: from files of other tools, and from files that lie."""

import datetime
import io
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any, cast

import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from diagchd_batch.errors import ItemError
from diagchd_batch.failure_codes import FailureCode
from diagchd_batch.sources import ObjectInfo, Source, open_source
from diagchd_batch.studies.header_index.header_columns import HEADERS
from diagchd_batch.studies.header_index.header_row import row_of_attributes
from diagchd_batch.studies.header_index.read_header import BLOCK_BYTES, row_of_object

US_IMAGE = "1.2.840.10008.5.1.4.1.1.6.1"
UNDEFINED = 0xFFFFFFFF


class Bytes:
    """A source with one object, which counts the bytes that are read of it."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.n_read = 0

    def read_range(self, key: str, start: int, length: int) -> bytes:
        assert key == "a"
        found = self.data[start : start + length]
        self.n_read += len(found)
        return found

    def row(self) -> Any:
        return row_of_object(cast(Source, self), ObjectInfo("a", len(self.data), "tag", None))


def row_of(data: bytes) -> dict[str, Any]:
    source = Bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom warns about damaged headers
        row = source.row()
    assert row is not None and list(row) == HEADERS.names
    assert (row["key"], row["size_bytes"], row["etag"], row["modified_ns"]) == ("a", len(data), "tag", None)
    return row


def header(**changes: Any) -> Dataset:
    """Return the attributes of a small ultrasound image."""
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = UID(US_IMAGE), UID("1.2.3")
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = UID("1.2"), UID("1.2.1")
    dataset.Modality, dataset.PatientID, dataset.Rows, dataset.Columns = "US", "P1", 600, 800
    for keyword, value in changes.items():
        setattr(dataset, keyword, value)
    return dataset


def encoded(dataset: Dataset, syntax: str = ExplicitVRLittleEndian, tail: bytes = b"") -> bytes:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = dataset.SOPClassUID, UID("1.2.3")
    meta.TransferSyntaxUID = UID(syntax)
    dataset.file_meta = meta
    out = io.BytesIO()
    pydicom.dcmwrite(out, dataset, enforce_file_format=True)
    return out.getvalue() + tail


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "ExplVR_BigEnd.dcm",
            {"kind": "image", "modality": "US", "rows": 60, "columns": 80, "n_frames": 1,
             "manufacturer_model": "LOGIQ 700",
             "study_date": datetime.date(1997, 4, 24), "transfer_syntax_uid": "1.2.840.10008.1.2.2"},
        ),
        (
            "examples_ybr_color.dcm",
            {"kind": "image", "rows": 240, "columns": 320, "n_frames": 30, "patient_id": "204",
             "photometric_interpretation": "YBR_FULL_422", "manufacturer": "SonoSite, Inc.",
             "has_calibration": False},  # its regions lie outside the picture
        ),
        ("image_dfl.dcm", {"kind": "image", "rows": 512, "columns": 512}),
        ("ExplVR_LitEndNoMeta.dcm", {"kind": "not_an_image", "modality": "RTPLAN"}),
        ("test-SR.dcm", {"kind": "not_an_image", "sop_class_uid": "1.2.840.10008.5.1.4.1.1.88.33", "rows": None}),
        ("liver_1frame.dcm", {"kind": "not_an_image", "sop_class_uid": "1.2.840.10008.5.1.4.1.1.66.4"}),
        ("DICOMDIR", {"kind": "dicomdir"}),
        ("rtplan.dump", {"kind": "not_dicom", "error": None}),
        ("badVR.dcm", {"kind": "not_an_image", "n_frames": None,
                       "error": "(0028,0008) has a value that cannot be used"}),
    ],
)  # fmt: skip
def test_files_of_other_tools(name: str, expected: dict[str, Any]) -> None:
    path = Path(get_testdata_file(name) or get_testdata_file(f"dicomdirtests/{name}"))
    row = row_of(path.read_bytes())
    assert {column: row[column] for column in expected} == expected


def test_only_the_header_of_a_loop_is_read(tmp_path: Path) -> None:
    pixels = b"\xe0\x7f\x10\x00OW\0\0" + struct.pack("<L", 50_000_000) + bytes(50_000_000)
    source = Bytes(encoded(header(NumberOfFrames=100), tail=pixels))
    row = source.row()
    assert (row["kind"], row["n_frames"], row["patient_id"]) == ("image", 100, "P1")
    assert source.n_read <= 3 * BLOCK_BYTES


def test_large_private_elements_before_the_wanted_ones_are_skipped() -> None:
    dataset = header()
    dataset.add_new(0x00091010, "OB", bytes(20_000_000))
    source = Bytes(encoded(dataset))
    assert source.row()["rows"] == 600
    assert source.n_read <= 3 * BLOCK_BYTES


def test_texts_are_decoded_by_the_character_set_of_the_file() -> None:
    row = row_of(encoded(header(SpecificCharacterSet="ISO_IR 192", SeriesDescription="Vierkammerblick, schräg")))
    assert row["series_description"] == "Vierkammerblick, schräg"
    assert row_of(encoded(header(PatientMotherBirthName="Doe^Jane")))["mother_id"] == "Doe^Jane"


def _explicit(tag: int, vr: bytes, value: bytes, length: int | None = None) -> bytes:
    return struct.pack("<HH2sHL", tag >> 16, tag & 0xFFFF, vr, 0, len(value) if length is None else length) + value


def _meta_of(data: bytes) -> bytes:
    """Return a file's preamble and meta information, whose first element is their length."""
    return data[: 132 + 12 + int.from_bytes(data[140:144], "little")]


START = encoded(header(), tail=b"")
HOSTILE = {
    "nothing": b"",
    "only a preamble": bytes(128) + b"DICM",
    "cut in the meta information": START[:160],
    "cut in the header": START[: START.index(b"1.2.3") + 2],
    "a claim of 4 GB": START[:132] + _explicit(0x00080016, b"UN", b"abc", 0xFFFFFFF0),
    "sequences without end": START[:132] + 40_000 * (_explicit(0x00082112, b"SQ", b"", UNDEFINED)
        + struct.pack("<HHL", 0xFFFE, 0xE000, UNDEFINED)),
    "many small items": START[:132] + _explicit(0x00082112, b"SQ", b"", UNDEFINED)
        + 20_000 * struct.pack("<HHL", 0xFFFE, 0xE000, 0),
    "a long value without a length": START[:132] + _explicit(0x00091010, b"OB", bytes(2_000_000), UNDEFINED),
    "a deflated bomb": _meta_of(encoded(header(), DeflatedExplicitVRLittleEndian))
        + zlib.compress(bytes(100_000_000), wbits=-15),
    "noise": START[:140] + bytes(range(256)) * 1000,
}  # fmt: skip


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_file_is_a_row_with_a_kind(data: bytes) -> None:
    assert row_of(data)["kind"] in ("unreadable", "not_dicom")


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
def test_no_cut_and_no_changed_byte_raises(syntax: str) -> None:
    data = encoded(header(), syntax)
    for place in range(0, len(data), 3):
        row_of(data[:place])
        row_of(data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :])


def test_values_that_cannot_be_used_are_named_and_not_shown() -> None:
    dataset = header(Rows=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset.StudyDate = "yesterday"
        row = row_of(encoded(dataset))
    assert (row["kind"], row["study_date"]) == ("image", None)
    assert row["error"] == "(0028,0010) has a value that cannot be used; (0008,0020) has a value that cannot be used"


def test_attributes_of_dicomweb_give_the_row_of_the_file() -> None:
    dataset = header(NumberOfFrames=12, StudyDate="20260102", SeriesDescription="4CH")
    from_json = Dataset.from_json(dataset.to_json())
    info = ObjectInfo("a", None)
    from_file = row_of(encoded(dataset))
    from_pacs = row_of_attributes(from_json, info, ExplicitVRLittleEndian)
    assert from_pacs == from_file | {"size_bytes": None, "etag": None}


def test_a_file_that_the_storage_refuses_is_not_read_and_one_that_is_gone_has_no_row() -> None:
    class Refusing(Bytes):
        code = FailureCode.ACCESS_DENIED

        def read_range(self, key: str, start: int, length: int) -> bytes:
            raise ItemError(self.code, "no")

    source = Refusing(b"abc")
    assert source.row()["kind"] == "not_read"
    source.code = FailureCode.NOT_FOUND
    assert source.row() is None


def test_a_file_on_a_disk(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(encoded(header()))
    source = open_source(str(tmp_path))
    (info,) = source.list()
    assert row_of_object(source, info)["study_uid"] == "1.2"


def test_a_sound_region_of_tissue_is_a_calibration() -> None:
    region = Dataset()
    region.RegionSpatialFormat, region.RegionDataType, region.RegionFlags = 1, 1, 0
    region.RegionLocationMinX0, region.RegionLocationMinY0 = 100, 50
    region.RegionLocationMaxX1, region.RegionLocationMaxY1 = 700, 550
    region.PhysicalUnitsXDirection = region.PhysicalUnitsYDirection = 3
    region.PhysicalDeltaX = region.PhysicalDeltaY = 0.02
    assert row_of(encoded(header(SequenceOfUltrasoundRegions=[region])))["has_calibration"] is True
    assert row_of(encoded(header()))["has_calibration"] is False
    region.PhysicalUnitsYDirection = 4  # seconds
    assert row_of(encoded(header(SequenceOfUltrasoundRegions=[region])))["has_calibration"] is False
