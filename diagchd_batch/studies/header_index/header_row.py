"""Makes a row of the index from DICOM attributes, whether they come from a file or from a PACS."""

from collections.abc import Callable
from contextlib import suppress
from datetime import date
from typing import Any, TypeAlias

from pydicom.charset import convert_encodings, decode_bytes
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag, Tag
from pydicom.uid import UID, MediaStorageDirectoryStorage

from diagchd_batch.images.formats.byte_ranges import BytesInMemory
from diagchd_batch.images.formats.dicom import DicomHeader
from diagchd_batch.images.formats.dicom.dicom_reader import object_without_picture
from diagchd_batch.images.spacing.pixel_size import has_calibration
from diagchd_batch.sources import ObjectInfo
from diagchd_batch.studies.header_index.header_columns import HEADERS, ObjectKind

Row: TypeAlias = dict[str, Any]
"""One row of the index: column → value."""

_CHARACTER_SET = Tag("SpecificCharacterSet")
_TEXT_TAGS = {
    "study_uid": Tag("StudyInstanceUID"),
    "series_uid": Tag("SeriesInstanceUID"),
    "sop_uid": Tag("SOPInstanceUID"),
    "sop_class_uid": Tag("SOPClassUID"),
    "modality": Tag("Modality"),
    "photometric_interpretation": Tag("PhotometricInterpretation"),
    "manufacturer": Tag("Manufacturer"),
    "manufacturer_model": Tag("ManufacturerModelName"),
    "patient_id": Tag("PatientID"),
    "issuer_of_patient_id": Tag("IssuerOfPatientID"),
    "mother_id": Tag("PatientMotherBirthName"),
    "accession_number": Tag("AccessionNumber"),
    "body_part": Tag("BodyPartExamined"),
    "series_description": Tag("SeriesDescription"),
}
_NUMBER_TAGS = {"n_frames": Tag("NumberOfFrames"), "rows": Tag("Rows"), "columns": Tag("Columns")}
_DATE_TAGS = {"study_date": Tag("StudyDate")}

_MAX_NUMBER = 2**31 - 1
_MAX_TEXT = 1024


def empty_row(info: ObjectInfo, kind: ObjectKind, error: str | None = None) -> Row:
    """Return the row of an object about which nothing else is known.

    Args:
        info: The object, as the listing has it.
        kind: What the object is.
        error: Why its header cannot be read, or None.
    """
    row: Row = dict.fromkeys(HEADERS.names)
    row |= {"key": info.key, "size_bytes": info.size_bytes, "etag": info.etag, "modified_ns": info.modified_ns}
    return row | {"kind": str(kind), "error": error}


def row_of_attributes(dataset: Dataset, info: ObjectInfo, transfer_syntax_uid: str | None) -> Row:
    """Return the row of a DICOM object. It never raises, whatever the values are.

    Args:
        dataset: The object's attributes, as `pydicom` reads them from a file or from the JSON of DICOMweb.
        info: The object, as the listing has it, or with the key by which its source reads it.
        transfer_syntax_uid: The transfer syntax, if it is known.

    Returns:
        The row. Its `error` names the elements whose values cannot be used.
    """
    problems: list[str] = []
    encodings = _encodings(dataset, problems)

    def read(tags: dict[str, BaseTag], convert: Callable[[Any, list[str]], Any]) -> Row:
        found: Row = {}
        for column, tag in tags.items():
            found[column] = None
            try:
                element = dataset.get_item(tag)
                if element is not None and element.value not in (None, b"", ""):
                    found[column] = convert(element, encodings)
            except Exception:  # pydicom raises many kinds for values that are not what they should be
                problems.append(f"{tag} has a value that cannot be used")
        return found

    row = empty_row(info, ObjectKind.IMAGE)
    row |= read(_TEXT_TAGS, _text) | read(_NUMBER_TAGS, _number) | read(_DATE_TAGS, _date)
    row["transfer_syntax_uid"] = transfer_syntax_uid
    row["kind"] = str(_kind(dataset, row))
    if row["kind"] == ObjectKind.IMAGE:
        row["has_calibration"] = has_calibration(dataset)
        if row["n_frames"] is None and not _has(dataset, _NUMBER_TAGS["n_frames"]):
            row["n_frames"] = 1
    else:
        row |= dict.fromkeys(("n_frames", "rows", "columns"))
    row["error"] = "; ".join(problems) or None
    return row


def _kind(dataset: Dataset, row: Row) -> ObjectKind:
    """Return what the object is, as the reader of images decides it."""
    if row["sop_class_uid"] == MediaStorageDirectoryStorage:
        return ObjectKind.DICOMDIR
    header = DicomHeader(dataset, UID(row["transfer_syntax_uid"] or ""), BytesInMemory(b""), None)
    return ObjectKind.IMAGE if object_without_picture(header) is None else ObjectKind.NOT_AN_IMAGE


def _has(dataset: Dataset, tag: BaseTag) -> bool:
    element = dataset.get_item(tag)
    return element is not None and element.value not in (None, b"", "")


def _encodings(dataset: Dataset, problems: list[str]) -> list[str]:
    """Return the Python encodings of the texts of a file. Texts of DICOMweb are decoded already."""
    element = dataset.get_item(_CHARACTER_SET)
    if not isinstance(element, RawDataElement) or not element.value:
        return ["iso8859"]
    with suppress(Exception):
        return list(convert_encodings([part.strip() for part in element.value.decode("ascii").split("\\")]))
    problems.append(f"{_CHARACTER_SET} has a value that cannot be used")
    return ["iso8859"]


def _text(element: Any, encodings: list[str]) -> str | None:
    value = element.value
    if isinstance(value, bytes):
        value = value.decode("ascii") if value.isascii() and b"\x1b" not in value else _decoded(value, encodings)
    elif not isinstance(value, str):
        value = "\\".join(map(str, value)) if hasattr(value, "__iter__") else str(value)
    return value.replace("\0", "").strip()[:_MAX_TEXT] or None


def _decoded(value: bytes, encodings: list[str]) -> str:
    return decode_bytes(value, encodings, set(b"\\^=\r\n\t\f"))


def _number(element: Any, _: list[str]) -> int | None:
    value = element.value
    if isinstance(value, bytes):
        # Rows and Columns are two bytes, Number of Frames is text.
        if element.tag in (_NUMBER_TAGS["rows"], _NUMBER_TAGS["columns"]):
            number = int.from_bytes(value[:2], "little" if element.is_little_endian else "big")
        else:
            number = int(value.decode("ascii").strip("\0 "))
    else:
        number = int(value)
    if not 0 < number <= _MAX_NUMBER:
        raise ValueError
    return number


def _date(element: Any, encodings: list[str]) -> date | None:
    # ACR-NEMA, the predecessor of DICOM, wrote dots.
    text = (_text(element, encodings) or "").replace(".", "")
    return date(int(text[:4]), int(text[4:6]), int(text[6:8])) if text else None
