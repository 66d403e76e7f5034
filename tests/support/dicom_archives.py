"""Makes archives of small DICOM files that have a header and a few pixels."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, UltrasoundMultiFrameImageStorage

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


CANARY_UID = "1.2.826.0.1.3680043.8.498.77"
"""What every UID of `write_loops` begins with."""


@dataclass(frozen=True)
class Loops:
    """Files below `directory`, each where the source of a PACS has its key."""

    directory: Path
    study_uids: list[str]
    keys: list[str]

    @property
    def paths(self) -> list[Path]:
        return [self.directory / key for key in self.keys]


def write_loops(directory: Path, n_studies: int, n_frames: int = 3) -> Loops:
    """Write studies of one still image and one loop each. The frames are smooth and random, and fast to decode."""
    generator = np.random.default_rng(0)
    made = Loops(directory, [], [])
    for number in range(n_studies):
        study = f"{CANARY_UID}.1.{number}"
        made.study_uids.append(study)
        for frames in (1, n_frames):
            series, instance = f"{study}.{frames}", f"{study}.{frames}.1"
            made.keys.append(f"studies/{study}/series/{series}/instances/{instance}")
            header = ultrasound_header(
                number,
                StudyInstanceUID=UID(study),
                SeriesInstanceUID=UID(series),
                SOPInstanceUID=UID(instance),
                PatientID=f"CANARY{number:05d}",
                Rows=48,
                Columns=64,
                PixelData=b"".join(_smooth_picture(generator) for _ in range(frames)),
            )
            if frames > 1:
                header.SOPClassUID = UltrasoundMultiFrameImageStorage
                header.NumberOfFrames, header.FrameTime = frames, "40"
            path = directory / made.keys[-1]
            path.parent.mkdir(parents=True)
            path.write_bytes(dicom_file(header))
    return made


def _smooth_picture(generator: np.random.Generator) -> bytes:
    coarse = Image.fromarray(generator.integers(0, 256, (6, 8), np.uint8))
    return coarse.resize((64, 48), Image.Resampling.BILINEAR).tobytes()
