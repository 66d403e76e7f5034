"""The header of a source object, and what a new object takes over from it."""

import copy
import io

import pydicom
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import UltrasoundImageStorage
from pydicom.valuerep import DA, TM

from diagchd_batch.errors import ItemError
from diagchd_batch.failure_codes import FailureCode

_SEXES = ("M", "F", "O")
_DAMAGE = (InvalidDicomError, ValueError, LookupError, OSError, AttributeError, TypeError, NotImplementedError)
"""What pydicom raises for damaged files."""

_NEEDED = ("SOPInstanceUID", "SOPClassUID", "StudyInstanceUID", "SeriesInstanceUID", "Rows", "Columns")
_NOT_OF_ONE_FRAME = (
    "NumberOfFrames",
    "FrameOfReferenceUID",
    "FrameIncrementPointer",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
    "ImagePositionPatient",
    "ImageOrientationPatient",
)


class SourceObject:
    """A source object that was read again, to attach results to it.

    Attributes:
        header: The object without its pixels, all texts decoded.
        sop_instance_uid: Its UID.
        sop_class_uid: The UID of its kind.
        study_uid: The UID of its study.
        series_uid: The UID of its series.
        n_frames: Number of frames that it declares.
    """

    def __init__(self, data: bytes) -> None:
        """Read the header.

        Args:
            data: The whole file.

        Raises:
            ItemError: `decode_error`: the header is damaged, or lacks what an object that refers to it needs.
        """
        self.header = _read_header(data)
        missing = [keyword for keyword in _NEEDED if not self.header.get(keyword)]
        if missing:
            raise ItemError(
                FailureCode.DECODE_ERROR,
                f"the object has no {', '.join(missing)}, so nothing can be attached to it; repair it in the archive",
            )
        self.sop_instance_uid = str(self.header.SOPInstanceUID)
        self.sop_class_uid = str(self.header.SOPClassUID)
        self.study_uid = str(self.header.StudyInstanceUID)
        self.series_uid = str(self.header.SeriesInstanceUID)
        self.n_frames = _number(self.header.get("NumberOfFrames"), 1)

    @property
    def is_multiframe(self) -> bool:
        """Whether references to the object name a frame."""
        return "NumberOfFrames" in self.header and self.n_frames > 1

    def instance_number(self, frame: int) -> int:
        """Return the number of a new object in its series. Frames of one object follow each other.

        Args:
            frame: The frame that the object is about, from 0.
        """
        return min(max(_number(self.header.get("InstanceNumber"), 1) - 1, 0) * self.n_frames + frame + 1, 2**31 - 1)

    def as_single_frame(self, height: int, width: int) -> Dataset:
        """Return a header of an image of one frame, of the same patient, study and series, with the same UID.

        highdicom makes no segmentation of one frame of a multi-frame image that has no frame of reference, as
        ultrasound mostly has. So it gets this header instead, and `refer_to_frame` mends the references afterwards.

        Args:
            height: Rows of the frame.
            width: Columns of the frame.
        """
        single = Dataset()
        for element in self.header:
            if element.keyword not in _NOT_OF_ONE_FRAME:
                single.add(copy.deepcopy(element))  # values are set in place
        single.SOPClassUID = UltrasoundImageStorage
        single.Rows, single.Columns = height, width
        for keyword in ("PatientID", "PatientName", "AccessionNumber", "StudyID", "ReferringPhysicianName"):
            if keyword not in single:
                setattr(single, keyword, "")
        if single.get("PatientSex") not in _SEXES:
            single.PatientSex = ""
        for keyword, kind in (("PatientBirthDate", DA), ("StudyDate", DA), ("StudyTime", TM)):
            if not _is_valid(kind, single.get(keyword)):
                setattr(single, keyword, "")
        return single

    def refer_to_frame(self, dataset: Dataset, frame: int) -> None:
        """Mend the references to the source, which were made with the header of `as_single_frame`.

        Args:
            dataset: The new object. It is changed.
            frame: Number of the frame that it is about, from 0.
        """
        for element in dataset:
            if element.VR != "SQ":
                continue
            for item in element.value:
                if item.get("ReferencedSOPInstanceUID") == self.sop_instance_uid:
                    item.ReferencedSOPClassUID = self.sop_class_uid
                    if self.is_multiframe and element.keyword == "SourceImageSequence":
                        item.ReferencedFrameNumber = frame + 1
                self.refer_to_frame(item, frame)


def _read_header(data: bytes) -> Dataset:
    try:
        header = pydicom.dcmread(io.BytesIO(data), stop_before_pixels=True, force=True)
        header = copy.deepcopy(header)
        header.remove_private_tags()
        header.decode()
    except (
        InvalidDicomError,
        ValueError,
        LookupError,
        OSError,
        AttributeError,
        TypeError,
        NotImplementedError,
    ) as error:
        raise ItemError(FailureCode.DECODE_ERROR, f"the header cannot be read: {error}") from error
    return header


def _number(value: object, default: int) -> int:
    try:
        return max(int(str(value)), 1)
    except ValueError:
        return default


def _is_valid(kind: type, value: object) -> bool:
    try:
        return bool(value) and kind(str(value)) is not None
    except (ValueError, TypeError):
        return False
