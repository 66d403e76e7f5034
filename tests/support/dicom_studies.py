"""Ultrasound studies as DICOM files, small and fast to decode, for tests against a PACS."""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, UltrasoundImageStorage, UltrasoundMultiFrameImageStorage

_ROOT = "1.2.826.0.1.3680043.8.498.77"  # pydicom's own root, which is free for tests


@dataclass(frozen=True)
class DicomStudies:
    """Files below `directory`. Each lies where the source of a PACS has its key, so that one manifest fits both."""

    directory: Path
    study_uids: list[str]
    keys: list[str]

    @property
    def paths(self) -> list[Path]:
        return [self.directory / key for key in self.keys]

    def write_manifest(self, path: Path) -> Path:
        with path.open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["study_id", "uri"])
            rows.writerows((key.split("/")[1], key) for key in self.keys)
        return path


def write_studies(directory: Path, n_studies: int, *, seed: int = 0) -> DicomStudies:
    """Write studies of one still image and one loop of three frames."""
    generator = np.random.default_rng(seed)
    found = DicomStudies(directory, [], [])
    for number in range(n_studies):
        study = f"{_ROOT}.1.{seed}.{number}"
        found.study_uids.append(study)
        for n_frames in (1, 3):
            series, instance = f"{study}.{n_frames}", f"{study}.{n_frames}.1"
            key = f"studies/{study}/series/{series}/instances/{instance}"
            found.keys.append(key)
            (directory / key).parent.mkdir(parents=True, exist_ok=True)
            _dataset(study, series, instance, n_frames, generator).save_as(directory / key, enforce_file_format=True)
    return found


def _dataset(study: str, series: str, instance: str, n_frames: int, generator: np.random.Generator) -> Dataset:
    height, width = 48, 64
    coarse = [Image.fromarray(generator.integers(0, 256, (6, 8), np.uint8)) for _ in range(n_frames)]
    frames = np.stack([np.asarray(one.resize((width, height), Image.Resampling.BILINEAR)) for one in coarse])
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = UltrasoundImageStorage if n_frames == 1 else UltrasoundMultiFrameImageStorage
    dataset.SOPInstanceUID, dataset.SeriesInstanceUID, dataset.StudyInstanceUID = map(UID, (instance, series, study))
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = UID(instance)
    dataset.PatientID, dataset.PatientName = f"CANARY{study[-6:]}", "CANARY^PATIENT"
    dataset.PatientBirthDate, dataset.PatientSex = "", ""
    dataset.StudyDate, dataset.StudyTime, dataset.StudyID, dataset.AccessionNumber = "20240229", "120000", "1", ""
    dataset.ReferringPhysicianName, dataset.Modality = "", "US"
    dataset.SeriesNumber, dataset.InstanceNumber = n_frames, 1
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows, dataset.Columns = height, width
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 8, 8, 7, 0
    if n_frames > 1:
        dataset.NumberOfFrames, dataset.FrameTime = n_frames, "40"
        dataset.FrameIncrementPointer = 0x00181063
    dataset.PixelData = frames.tobytes()
    return dataset
