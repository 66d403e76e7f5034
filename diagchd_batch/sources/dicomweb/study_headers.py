"""Headers of a study's instances as pydicom data sets, from the metadata that a server sends (WADO-RS, DICOM JSON)."""

from contextlib import suppress
from typing import Any

from pydicom import DataElement, Dataset
from pydicom.tag import Tag

from diagchd_batch.sources.dicomweb.address import instance_key, is_uid
from diagchd_batch.sources.dicomweb.connection import DicomwebConnection
from diagchd_batch.sources.dicomweb.errors import Failure, Kind, RequestFailedError
from diagchd_batch.sources.dicomweb.search import INSTANCE_UID, SERIES_UID, value_of
from diagchd_batch.sources.source import ObjectInfo

_AVAILABLE_TRANSFER_SYNTAX = "00083002"
_PIXEL_GROUP = "7FE0"
_VALUES = ("Value", "InlineBinary")


def study_headers(connection: DicomwebConnection, study: str) -> list[tuple[ObjectInfo, Dataset, str | None]]:
    """Return each instance of a study, its header, and its transfer syntax if the server tells it.

    Args:
        connection: The server.
        study: UID of the study.

    Raises:
        RequestFailedError: The server does not send them.
    """
    found, _ = connection.get_json(f"/studies/{study}/metadata")
    headers = []
    for item in found:
        series, instance = value_of(item, SERIES_UID), value_of(item, INSTANCE_UID)
        if not all(isinstance(uid, str) and is_uid(uid) for uid in (series, instance)):
            raise RequestFailedError(Failure(Kind.NOT_DICOMWEB, "metadata without UIDs"))
        info = ObjectInfo(instance_key(study, series, instance))
        headers.append((info, header_of(item), value_of(item, _AVAILABLE_TRANSFER_SYNTAX)))
    return headers


def header_of(item: dict[str, Any]) -> Dataset:
    """Return a DICOM JSON data set without its pixels as a pydicom data set.

    Args:
        item: The data set. Elements that pydicom cannot read are left out.
    """
    header = Dataset()
    for name, element in item.items():
        if name.startswith(_PIXEL_GROUP) or not isinstance(element, dict):
            continue
        kinds = [kind for kind in _VALUES if kind in element]
        value, kind = (element[kinds[0]], kinds[0]) if kinds else ("", None)
        with suppress(Exception):  # whatever a server may send, the other elements are still good
            header[Tag(name)] = DataElement.from_json(Dataset, name, element.get("vr", "UN"), value, kind)
    return header
