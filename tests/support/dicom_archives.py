"""Makes archives of small DICOM files that have a header and a few pixels."""

import io
from pathlib import Path
from typing import Any

import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

ULTRASOUND_IMAGE = UID("1.2.840.10008.5.1.4.1.1.6.1")


def ultrasound_header(number: int = 0, **changes: Any) -> Dataset:
    """Return the attributes of a small ultrasound image: the only one of its study and patient.

    Args:
        number: Makes the identifiers.
        changes: Keyword → value of other attributes.
    """
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = ULTRASOUND_IMAGE, UID(f"1.2.3.{number}")
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = UID(f"1.2.1.{number}"), UID(f"1.2.2.{number}")
    dataset.Modality, dataset.PatientID, dataset.StudyDate = "US", f"PATIENT-{number}", "20260102"
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = 2, 2, 1
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 8, 8, 7, 0
    dataset.PhotometricInterpretation = "MONOCHROME2"
    for keyword, value in changes.items():
        setattr(dataset, keyword, value)
    return dataset


def dicom_file(dataset: Dataset, transfer_syntax: str = ExplicitVRLittleEndian) -> bytes:
    """Return a DICOM file with these attributes."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = dataset.SOPClassUID, dataset.SOPInstanceUID
    meta.TransferSyntaxUID = UID(transfer_syntax)
    dataset.file_meta = meta
    out = io.BytesIO()
    pydicom.dcmwrite(out, dataset, enforce_file_format=True)
    return out.getvalue()


def write_archive(directory: Path, n_files: int) -> None:
    """Write DICOM files below a directory, each of a study and a patient of its own."""
    for number in range(n_files):
        path = directory / f"{number % 10}" / f"{number:05d}.dcm"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(dicom_file(ultrasound_header(number, PixelData=bytes(4))))
