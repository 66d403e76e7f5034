"""The columns of the index of headers, each declared once. They are identified data and stay in the private tree."""

from enum import StrEnum

import pyarrow as pa

from diagchd_batch.table_format.declared_columns import DeclaredColumn, arrow_schema


class ObjectKind(StrEnum):
    """What an object of the archive is, judged by its header."""

    IMAGE = "image"
    NOT_AN_IMAGE = "not_an_image"
    DICOMDIR = "dicomdir"
    NOT_DICOM = "not_dicom"
    UNREADABLE = "unreadable"
    NOT_READ = "not_read"


_TEXT, _BIG, _INT = pa.string(), pa.int64(), pa.int32()
_NO_DICOM = "files that are no DICOM, and headers that do not say it"
_NO_NUMBER = "objects that are no image, and headers whose number cannot be used"


def _said(name: str, kind: pa.DataType, description: str, unit: str = "") -> DeclaredColumn:
    return DeclaredColumn(name, kind, description, null_when=_NO_DICOM, unit=unit)


HEADER_COLUMNS = (
    DeclaredColumn("key", _TEXT, "the object, relative to the root of the archive", nullable=False),
    DeclaredColumn("size_bytes", _BIG, "size of the object", unit="bytes", minimum=0,
                   null_when="a source that does not know it"),
    DeclaredColumn("etag", _TEXT, "entity tag in S3", null_when="objects that are not in S3"),
    DeclaredColumn("modified_ns", _BIG, "modification time on a disk", unit="nanoseconds since 1970, UTC",
                   null_when="objects that are not on a disk"),
    DeclaredColumn("kind", _TEXT, "what the object is: not_an_image is DICOM without a picture, such as a report, "
                   "unreadable is a damaged header, not_read is an object that the storage refused",
                   nullable=False, values=tuple(ObjectKind)),
    _said("study_uid", _TEXT, "Study Instance UID (0020,000D)"),
    _said("series_uid", _TEXT, "Series Instance UID (0020,000E)"),
    _said("sop_uid", _TEXT, "SOP Instance UID (0008,0018)"),
    _said("sop_class_uid", _TEXT, "SOP Class UID (0008,0016)"),
    _said("modality", _TEXT, "Modality (0008,0060), such as US"),
    DeclaredColumn("n_frames", _BIG, "Number of Frames (0028,0008); 1 where an image does not say it", minimum=1,
                   null_when=_NO_NUMBER),
    DeclaredColumn("rows", _INT, "Rows (0028,0010), the height", unit="pixels", minimum=1, null_when=_NO_NUMBER),
    DeclaredColumn("columns", _INT, "Columns (0028,0011), the width", unit="pixels", minimum=1, null_when=_NO_NUMBER),
    _said("transfer_syntax_uid", _TEXT, "Transfer Syntax UID (0002,0010)"),
    _said("photometric_interpretation", _TEXT, "Photometric Interpretation (0028,0004)"),
    _said("manufacturer", _TEXT, "Manufacturer (0008,0070)"),
    _said("manufacturer_model", _TEXT, "Manufacturer's Model Name (0008,1090)"),
    _said("study_date", pa.date32(), "Study Date (0008,0020)"),
    _said("patient_id", _TEXT, "Patient ID (0010,0020)"),
    _said("issuer_of_patient_id", _TEXT, "Issuer of Patient ID (0010,0021)"),
    _said("mother_id", _TEXT, "Patient's Mother's Birth Name (0010,1060): DICOM has no other element that says who the "
          "mother is"),
    _said("accession_number", _TEXT, "Accession Number (0008,0050)"),
    _said("body_part", _TEXT, "Body Part Examined (0018,0015)"),
    _said("series_description", _TEXT, "Series Description (0008,103E)"),
    DeclaredColumn("has_calibration", pa.bool_(), "whether an ultrasound region (0018,6011) of the file gives a sound "
                   "size of a pixel", null_when="objects that are no image"),
    DeclaredColumn("error", _TEXT, "why the header cannot be read, or which of its values cannot be used",
                   null_when="headers without a problem"),
)  # fmt: skip

HEADERS = arrow_schema(HEADER_COLUMNS)
"""The schema of the index: one row for each object of the archive that is not hidden."""
