"""What every object says about itself: who made it, for what purpose, and whether its input is simulated."""

from datetime import datetime, timedelta, timezone
from functools import lru_cache

import highdicom
from highdicom.coding_schemes import CodingSchemeIdentificationItem
from highdicom.sr import CodedConcept
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import UID
from pydicom.valuerep import DA, DT, TM

from diagchd_batch.exports.dicom.objects.derived_uids import device_uid
from diagchd_batch.exports.dicom.objects.scored_frames import MAKER, ScoringModel
from diagchd_batch.exports.dicom.objects.source_object import SourceObject

RESEARCH = "RESEARCH USE ONLY"
SIMULATED = "SIMULATED"
CODING_SCHEME = "99DIAGCHD"
"""Designator of the codes that no public scheme has."""

_IMPLEMENTATION_CLASS_UID = UID("2.25.184736593158826437230714437259911853297")
_IMPLEMENTATION_VERSION = "DIAGCHD_BATCH"
_LONGEST_TEXT = 64


def coding_scheme() -> CodingSchemeIdentificationItem:
    """Return what an object says about the scheme of our own codes."""
    return CodingSchemeIdentificationItem(CODING_SCHEME, name="Codes of diagchd-batch", responsible_organization=MAKER)


def own_code(value: str, meaning: str) -> CodedConcept:
    """Return one of our own codes.

    Args:
        value: The code, at most 16 characters.
        meaning: What it means.
    """
    return CodedConcept(value, CODING_SCHEME, meaning[:_LONGEST_TEXT])


def mark(model: ScoringModel) -> str:
    """Return the words that say what an object must not be taken for.

    Args:
        model: What scored.
    """
    return f"{SIMULATED}, {RESEARCH}" if model.simulated else RESEARCH


def series_description(model: ScoringModel, title: str) -> str:
    """Return the description of a series, with its mark first because viewers cut long ones.

    Args:
        model: What scored.
        title: What the series holds.
    """
    return f"{mark(model)}: {title}"[:_LONGEST_TEXT]


@lru_cache(maxsize=8)
def _equipment(model: ScoringModel) -> highdicom.ContributingEquipment:
    item = highdicom.ContributingEquipment(
        MAKER,
        codes.DCM.ProcessingEquipment,
        manufacturer_model_name=model.name[:_LONGEST_TEXT],
        software_versions=model.software_version,
        device_serial_number=model.weights_digest,
        contribution_datetime=DT(model.scored_at.strftime("%Y%m%d%H%M%S+0000")),
        contribution_description=f"{mark(model)}. Predicted the mask and the probability in run {model.run_id}.",
    )
    item.DeviceUID = device_uid(model.weights_digest)
    return item


def equipment(model: ScoringModel) -> list[highdicom.ContributingEquipment]:
    """Return the items of Contributing Equipment for a model.

    Args:
        model: What scored.
    """
    return [_equipment(model)]


def finish(dataset: Dataset, model: ScoringModel, source: SourceObject) -> None:
    """Give a new object what all have in common. highdicom would take the time of now, which changes at each export.

    Args:
        dataset: The object. It is changed.
        model: What scored.
        source: The object that it is about.
    """
    scored_at = _local(model.scored_at, source)
    date, time = DA(scored_at.strftime("%Y%m%d")), TM(scored_at.strftime("%H%M%S"))
    for keyword in ("InstanceCreationDate", "ContentDate", "SeriesDate", "DateOfSecondaryCapture"):
        if keyword in dataset or keyword == "SeriesDate":
            setattr(dataset, keyword, date)
            setattr(dataset, keyword.replace("Date", "Time"), time)
    if scored_at.tzinfo is not None:
        dataset.TimezoneOffsetFromUTC = scored_at.strftime("%z")
    dataset.SpecificCharacterSet = "ISO_IR 192"
    # highdicom names itself, with its version and the time of now.
    dataset.ContributingEquipmentSequence = [
        item for item in dataset.ContributingEquipmentSequence if item.get("ManufacturerModelName") != "highdicom"
    ]
    dataset.file_meta.ImplementationClassUID = _IMPLEMENTATION_CLASS_UID
    dataset.file_meta.ImplementationVersionName = _IMPLEMENTATION_VERSION


def _local(moment: datetime, source: SourceObject) -> datetime:
    """Return a time in the time zone of the source. Without one it is UTC, and has no offset.

    The offset of an object also holds for the times of its study, which are the source's.
    """
    offset = str(source.header.get("TimezoneOffsetFromUTC") or "")
    try:
        sign = {"+": 1, "-": -1}[offset[0]]
        shift = sign * timedelta(hours=int(offset[1:3]), minutes=int(offset[3:5]))
        return moment.astimezone(timezone(shift))
    except (IndexError, KeyError, ValueError):
        return moment.replace(tzinfo=None)
