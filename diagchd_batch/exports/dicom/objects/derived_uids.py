"""UIDs that follow from what an object is about, so that a second export makes the same objects."""

import uuid
from enum import StrEnum

OBJECTS_VERSION = 1
"""Raised by hand whenever the contents of the objects change. Then exports make new objects beside the earlier ones."""

_NAMESPACE = uuid.UUID("6f0e2f3c-9a53-4f0b-8f43-0d3c2f6f8a51")


class ObjectKind(StrEnum):
    """The kinds of objects. The values are part of names of files and of what UIDs are derived from."""

    SEGMENTATION = "seg"
    REPORT = "sr"
    CAPTURE = "sc"


def derived_uid(*parts: str | int) -> str:
    """Return a UID below 2.25, the root of UIDs that are made of UUIDs. The same parts give the same UID.

    Args:
        parts: What the UID is about, such as a run's id, the UID of a source object, a frame and a kind.
    """
    text = "\n".join(map(str, (OBJECTS_VERSION, *parts)))
    return f"2.25.{uuid.uuid5(_NAMESPACE, text).int}"


def device_uid(weights_digest: str) -> str:
    """Return the UID of a model as a device. It changes with every training.

    Args:
        weights_digest: SHA-256 of the model's weights.
    """
    return f"2.25.{uuid.uuid5(_NAMESPACE, weights_digest).int}"
