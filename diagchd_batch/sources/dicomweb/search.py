"""Searches a server for studies and instances (QIDO-RS), page by page."""

from collections.abc import Iterator
from typing import Any

from diagchd_batch.sources.dicomweb.address import Filters, is_uid
from diagchd_batch.sources.dicomweb.connection import DicomwebConnection
from diagchd_batch.sources.dicomweb.errors import Failure, Kind, RequestFailedError

STUDY_UID = "0020000D"
SERIES_UID = "0020000E"
INSTANCE_UID = "00080018"
_N_INSTANCES_OF_STUDY = "00201208"

PAGE_SIZE = 500
"""Results that are asked for at a time. Servers may send fewer."""


def search_studies(connection: DicomwebConnection) -> Iterator[tuple[str, int | None]]:
    """Yield the UID of each study that the filters of the address match, and its number of instances if it is told.

    Args:
        connection: The server.

    Raises:
        RequestFailedError: A page cannot be had.
    """
    fields = (("includefield", _N_INSTANCES_OF_STUDY),)
    for item in _pages(connection, "/studies", connection.address.study_filters + fields, STUDY_UID):
        number = value_of(item, _N_INSTANCES_OF_STUDY)
        yield _uid(item, STUDY_UID), number if isinstance(number, int) else None


def search_instances(
    connection: DicomwebConnection, study: str, n_expected: int | None = None
) -> Iterator[tuple[str, str]]:
    """Yield the UIDs of series and instance of each instance in a study that the filters of the address match.

    Args:
        connection: The server.
        study: UID of the study.
        n_expected: The study's number of instances. It saves the request that finds no more of them.

    Raises:
        RequestFailedError: A page cannot be had.
    """
    filters = connection.address.instance_filters
    pages = _pages(connection, f"/studies/{study}/instances", filters, INSTANCE_UID, n_expected)
    for item in pages:
        yield _uid(item, SERIES_UID), _uid(item, INSTANCE_UID)


def has_instance(connection: DicomwebConnection, study: str, series: str, instance: str) -> bool:
    """Return whether the server has an instance.

    Args:
        connection: The server.
        study: UID of the study.
        series: UID of the series.
        instance: UID of the instance.

    Raises:
        RequestFailedError: The request failed.
    """
    path = f"/studies/{study}/series/{series}/instances"
    try:
        found, _ = connection.get_json(path, [("SOPInstanceUID", instance)])
    except RequestFailedError as error:
        if error.failure.kind is Kind.NOT_FOUND:
            return False
        raise
    return any(value_of(item, INSTANCE_UID) == instance for item in found)


def value_of(item: dict[str, Any], tag: str) -> Any:
    """Return the first value of an attribute in a DICOM JSON data set, or None if it has none.

    Args:
        item: The data set.
        tag: The attribute as eight hexadecimal digits.
    """
    element = item.get(tag)
    values = element.get("Value") if isinstance(element, dict) else None
    return values[0] if isinstance(values, list) and values else None


def _pages(
    connection: DicomwebConnection, path: str, filters: Filters, uid_tag: str, n_expected: int | None = None
) -> Iterator[dict[str, Any]]:
    """Yield each result once.

    Servers cut pages to their own limit, so a short page is not the last one. Others ignore limit and offset and send
    everything each time. So a search ends with a page that has nothing new.
    """
    seen: set[str] = set()
    offset = 0
    while True:
        page, has_more = connection.get_json(path, [*filters, ("limit", str(PAGE_SIZE)), ("offset", str(offset))])
        n_before = len(seen)
        for item in page:
            if (uid := _uid(item, uid_tag)) not in seen:
                seen.add(uid)
                yield item
        if len(seen) == n_before:
            if page and has_more:
                raise RequestFailedError(Failure(Kind.NOT_DICOMWEB, "it says that there is more, but ignores offset"))
            return
        if n_expected is not None and len(seen) >= n_expected and not has_more:
            return
        offset += len(page)


def _uid(item: dict[str, Any], tag: str) -> str:
    uid = value_of(item, tag)
    if not isinstance(uid, str) or not is_uid(uid.strip()):
        raise RequestFailedError(Failure(Kind.NOT_DICOMWEB, f"a result without a valid UID in ({tag[:4]},{tag[4:]})"))
    return uid.strip()
