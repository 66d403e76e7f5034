"""What a place for DICOM objects must offer: a folder or a PACS."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from diagchd_batch.exports.dicom.objects.derived_uids import ObjectKind


@dataclass(frozen=True, slots=True)
class ObjectIdentity:
    """One object, before it is made.

    Attributes:
        run_id: The run whose results it holds.
        study_id: Token of the study.
        image_id: Token of the image.
        frame: Number of the frame that it is about, from 0; None for a report, which is about all scored frames.
        kind: What it is.
        study_uid: UID of the study.
        series_uid: UID of its series.
        sop_uid: Its own UID.
    """

    run_id: str
    study_id: str
    image_id: str
    frame: int | None
    kind: ObjectKind
    study_uid: str
    series_uid: str
    sop_uid: str

    @property
    def shown(self) -> str:
        """What messages call it. It holds tokens and no identifier."""
        frame = "" if self.frame is None else f", frame {self.frame}"
        return f"{self.kind} of image {self.image_id}{frame}"

    @property
    def file_name(self) -> str:
        """Its name in a folder."""
        frame = "" if self.frame is None else f"-{self.frame:05d}"
        return f"{self.run_id}/{self.study_id}/{self.image_id}{frame}-{self.kind}.dcm"


@dataclass(frozen=True, slots=True)
class NewObject:
    """An object to store. `data` is a whole file with preamble and file meta information."""

    identity: ObjectIdentity
    data: bytes


class Outcome(StrEnum):
    """What became of an object."""

    STORED = "stored"
    THERE = "there"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Stored:
    """What became of one object. `reason` says why it failed, and what to do."""

    identity: ObjectIdentity
    outcome: Outcome
    reason: str = ""


class Destination(Protocol):
    """A place for objects.

    Attributes:
        uri: The place, for messages.
        max_batch: Largest number of objects that `store` is given at once.
    """

    uri: str
    max_batch: int

    def has(self, identity: ObjectIdentity) -> bool:
        """Return whether an object is there already, so that it need not be made.

        A place that can only tell by comparing contents returns False, and compares in `store`.

        Args:
            identity: The object.

        Raises:
            StorageFault: The place cannot be asked.
        """
        ...

    def store(self, objects: Sequence[NewObject], *, dry_run: bool) -> list[Stored]:
        """Store objects that are not there yet, and make sure that they are.

        Args:
            objects: The objects.
            dry_run: Only find out which ones would be stored.

        Returns:
            What became of each object, in the same order.

        Raises:
            StorageFault: The place as a whole cannot be used.
        """
        ...
