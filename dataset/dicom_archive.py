"""Writes phantoms as DICOM: ``python -m dataset.dicom_archive --studies 4 --seed 7 --out DIR``.

Each study has its still images and one cine loop of the beating heart, with masks, a manifest and a reference standard.
All objects say that they are SIMULATED, in many attributes that viewers show, and name no person.
"""

import argparse
import csv
import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.tag import Tag
from pydicom.uid import (
    UID,
    ExplicitVRLittleEndian,
    RLELossless,
    UltrasoundImageStorage,
    UltrasoundMultiFrameImageStorage,
)

from dataset.generate import NOTICE
from dataset.phantom.cohort.seeds import Split, Stream, generator
from dataset.phantom.cohort.studies import Study, draw_cohort, image_parameters
from dataset.phantom.rendering.beating import HEART_RATE_PER_MIN, at_time
from dataset.phantom.rendering.images import Parameters, render_phantom
from dataset.phantom.rendering.scanner import pixel_positions, sector_box

FRAMES, FRAME_TIME_MS = 24, 33.25
"""Frames of a loop, and the milliseconds between them."""

_UIDS = uuid.UUID("6f6c0f5e-6d2c-5b0e-9b57-5a1c1b1f5f10")
"""Namespace of the UIDs, so that they differ from all others. The same cohort has the same UIDs wherever it is made."""

_FIRST_YEAR = 2001
_CENTIMETRES, _TWO_DIMENSIONAL, _TISSUE = 3, 1, 1
"""Codes of Physical Units, Region Spatial Format and Region Data Type (PS3.3 C.8.5.5)."""

MANIFEST, REFERENCE = "studies.csv", "reference.csv"


def uid_of(study: Study, *kind: str) -> UID:
    """Return a UID below 2.25 that depends only on the cohort, the study and the kind of object.

    Args:
        study: The study.
        kind: What is named, such as ``series`` and its name; nothing for the study itself.
    """
    name = "/".join((str(study.seed), study.split.name, str(study.index), *kind))
    return UID(f"2.25.{uuid.uuid5(_UIDS, name).int}")


def render_frames(study: Study, image: int, n_frames: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Render the frames of an image of a study.

    The speckle stands still and only the heart moves. One frame is the still that `generate_study_image` renders.

    Args:
        study: The study.
        image: Number of the image, from 0. Numbers from `study.images` on are further planes of the same fetus.
        n_frames: Number of frames, `FRAME_TIME_MS` apart.

    Returns:
        uint8 [frames, height, width] or [frames, height, width, 3] with red, green and blue; and the label masks, uint8
        [frames, height, width] (0 background, 1 septum, 2 the rest of the heart).
    """
    still = image_parameters(study, image)
    moments = [still] if n_frames == 1 else [at_time(still, FRAME_TIME_MS * frame) for frame in range(n_frames)]
    rendered = [
        render_phantom(moment, generator(study.seed, study.split, Stream.SPECKLE, study.index, image))
        for moment in moments
    ]
    pixels, masks = zip(*rendered, strict=True)
    return np.stack(pixels), np.stack(masks)


def dicom_object(study: Study, image: int, pixels: NDArray[np.uint8]) -> Dataset:
    """Return an Ultrasound Image, or an Ultrasound Multi-frame Image if there are several frames.

    Args:
        study: The study.
        image: Number of the image, from 0.
        pixels: uint8 [frames, height, width] or [frames, height, width, 3].
    """
    dataset = Dataset()
    _describe_patient_and_study(dataset, study)
    _describe_series_and_image(dataset, study, image, n_frames=len(pixels))
    dataset.SequenceOfUltrasoundRegions = [_region(image_parameters(study, image))]
    _set_pixels(dataset, pixels)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    if len(pixels) > 1:
        dataset.compress(RLELossless, generate_instance_uid=False)
    return dataset


def _describe_patient_and_study(dataset: Dataset, study: Study) -> None:
    weeks, days = divmod(study.gestational_age_days, 7)
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.PatientName = f"Phantom^{study.subject_id}^^^SIMULATED"
    dataset.PatientID = f"SIMULATED-{study.subject_id}"
    dataset.PatientBirthDate = ""
    dataset.PatientSex = "F"
    dataset.PatientAge = f"{study.maternal_age_years:03d}Y"
    dataset.QualityControlSubject = "YES"
    dataset.PatientComments = "SIMULATED: made by a program, there is no patient"
    dataset.StudyInstanceUID = uid_of(study)
    dataset.StudyID = str(study.index + 1)
    dataset.AccessionNumber = f"SIM{study.index + 1:05d}"
    dataset.StudyDate = f"{_FIRST_YEAR + study.month // 12}{study.month % 12 + 1:02d}01"
    dataset.StudyTime = "120000"
    dataset.ReferringPhysicianName = ""
    dataset.StudyDescription = f"SIMULATED fetal echocardiography, {weeks}+{days} weeks"


def _describe_series_and_image(dataset: Dataset, study: Study, image: int, n_frames: int) -> None:
    is_loop = n_frames > 1
    dataset.Modality = "US"
    dataset.SeriesInstanceUID = uid_of(study, "series")
    dataset.SeriesNumber = 1
    dataset.BodyPartExamined = "HEART"  # it is not paired, so there is no laterality
    dataset.SeriesDescription = "SIMULATED four-chamber view"
    dataset.Manufacturer = "diagchd-batch phantom generator"
    dataset.ManufacturerModelName = study.device.name
    dataset.InstitutionName = f"SIMULATED {study.site}"
    dataset.SOPClassUID = UltrasoundMultiFrameImageStorage if is_loop else UltrasoundImageStorage
    dataset.SOPInstanceUID = uid_of(study, "image", str(image))
    dataset.InstanceNumber = image + 1
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "FETAL HEART", "0001"]
    dataset.ContentDate, dataset.ContentTime = dataset.StudyDate, dataset.StudyTime
    dataset.PatientOrientation = ""
    dataset.ImageComments = "SIMULATED: phantom of a fetal heart, no clinical meaning"
    dataset.LossyImageCompression = "00"
    dataset.BurnedInAnnotation = "NO"
    if is_loop:
        dataset.NumberOfFrames = n_frames
        dataset.FrameTime = FRAME_TIME_MS
        dataset.FrameIncrementPointer = Tag("FrameTime")
        dataset.HeartRate = HEART_RATE_PER_MIN


def _region(parameters: Parameters) -> Dataset:
    """Return the calibrated region: the smallest rectangle that holds the sector, with the size of a pixel in cm."""
    top, left, height, width = sector_box(parameters.view, parameters.device)
    corner = np.zeros(1, np.intp)
    millimetres = pixel_positions(parameters.view, parameters.device, corner, corner).mm_per_pixel
    region = Dataset()
    region.RegionSpatialFormat = _TWO_DIMENSIONAL
    region.RegionDataType = _TISSUE
    region.RegionFlags = 0
    region.RegionLocationMinX0, region.RegionLocationMinY0 = left, top
    region.RegionLocationMaxX1, region.RegionLocationMaxY1 = left + width - 1, top + height - 1
    region.PhysicalUnitsXDirection = region.PhysicalUnitsYDirection = _CENTIMETRES
    region.PhysicalDeltaX = region.PhysicalDeltaY = millimetres / 10.0
    return region


def _set_pixels(dataset: Dataset, pixels: NDArray[np.uint8]) -> None:
    in_colour = pixels.ndim == 4
    dataset.SamplesPerPixel = 3 if in_colour else 1
    dataset.PhotometricInterpretation = "RGB" if in_colour else "MONOCHROME2"
    if in_colour:
        dataset.PlanarConfiguration = 0
        dataset.UltrasoundColorDataPresent = 0
    dataset.Rows, dataset.Columns = pixels.shape[1:3]
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit = 7
    dataset.PixelRepresentation = 0
    data = pixels.tobytes()
    dataset.PixelData = data + b"\0" * (len(data) % 2)
    dataset["PixelData"].VR = "OB"


def write_study(study: Study, directory: Path, n_frames: int) -> list[dict[str, object]]:
    """Write the objects and masks of a study, and return its rows of the manifest.

    Args:
        study: The study.
        directory: The archive's directory.
        n_frames: Number of frames of its loop.
    """
    rows: list[dict[str, object]] = []
    for image in range(study.images + 1):
        pixels, masks = render_frames(study, image, n_frames if image == study.images else 1)
        name = f"{study.study_id}/{'loop' if len(pixels) > 1 else f'still-{image + 1}'}"
        uri, mask = f"images/{name}.dcm", f"masks/{name}.tif"
        for path in (directory / uri, directory / mask):
            path.parent.mkdir(parents=True, exist_ok=True)
        dicom_object(study, image, pixels).save_as(directory / uri, enforce_file_format=True)
        pages = [Image.fromarray(page) for page in masks]
        pages[0].save(directory / mask, save_all=True, append_images=pages[1:], compression="tiff_adobe_deflate")
        rows.append(
            {
                "study_id": study.study_id,
                "uri": uri,
                "subject_id": study.subject_id,
                "fetus": study.fetus,
                "mask_uri": mask,
                "label": study.disease.label,
            }
        )
    return rows


def write_archive(directory: Path, studies: Iterable[Study], n_frames: int = FRAMES) -> int:
    """Write an archive: DICOM objects in `images/`, masks, the manifest and the reference standard.

    Args:
        directory: Where to write. It is created if it does not exist.
        studies: The studies.
        n_frames: Number of frames of each loop.

    Returns:
        The number of objects.
    """
    directory.mkdir(parents=True, exist_ok=True)
    manifest, reference = [], []
    for study in studies:
        manifest += write_study(study, directory, n_frames)
        reference.append(
            {
                "study_id": study.study_id,
                "label": study.disease.label,
                "diagnosis": str(study.disease.lesion),
                "method": "simulated truth",
            }
        )
    for name, rows in ((MANIFEST, manifest), (REFERENCE, reference)):
        with (directory / name).open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    (directory / "README.md").write_text(NOTICE, encoding="utf-8")
    return len(manifest)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m dataset.dicom_archive", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="directory to write; must be absent or empty")
    parser.add_argument("--studies", type=int, default=4, help="number of studies (default 4)")
    parser.add_argument("--seed", type=int, default=1, help="0 to 2**32 - 1 (default 1)")
    parser.add_argument("--frames", type=int, default=FRAMES, help=f"frames of each loop (default {FRAMES})")
    chosen = parser.parse_args(arguments)
    if chosen.studies < 1 or not 0 <= chosen.seed < 2**32 or chosen.frames < 2:
        parser.error("--studies starts at 1, --frames at 2, and --seed lies in [0, 2**32)")
    if chosen.out.exists() and any(chosen.out.iterdir()):
        parser.error(f"{chosen.out} is not empty; name a new directory, or empty it first")
    n_objects = write_archive(chosen.out, draw_cohort(chosen.seed, Split.OTHER, chosen.studies), chosen.frames)
    print(f"{chosen.studies} simulated studies, {n_objects} DICOM objects in {chosen.out}")


if __name__ == "__main__":
    main()
