"""What a DICOMweb URI says: the server's base URL, and the filters of its studies and instances."""

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote, urlsplit

from diagchd_batch.errors import ConfigError
from diagchd_batch.uris import without_query

Filters = tuple[tuple[str, str], ...]
"""Attribute and value of each filter, as a query sends them."""

# PS3.18, table 10.6.1-5: the attributes of a study. Every other attribute filters its instances.
_STUDY_ATTRIBUTES = {
    "AccessionNumber",
    "IssuerOfPatientID",
    "ModalitiesInStudy",
    "NameOfPhysiciansReadingStudy",
    "PatientBirthDate",
    "PatientID",
    "PatientName",
    "PatientSex",
    "ReferringPhysicianName",
    "SOPClassesInStudy",
    "StudyDate",
    "StudyDescription",
    "StudyID",
    "StudyInstanceUID",
    "StudyTime",
    "fuzzymatching",
}
_PAGING = {"limit", "offset", "includefield"}
_UID = re.compile(r"(?=.*[A-Za-z0-9])[A-Za-z0-9._-]{1,64}")
_KEY = re.compile(r"studies/([^/]+)/series/([^/]+)/instances/([^/]+)")


@dataclass(frozen=True, slots=True)
class DicomwebAddress:
    """A DICOMweb server and the part of its studies that is read.

    Attributes:
        base_url: URL that the paths ``/studies…`` follow.
        study_filters: Filters that the search for studies sends.
        instance_filters: Filters that the search for the instances of a study sends.
        place: The server for messages: the URI without its filters, because these may name a patient.
    """

    base_url: str
    study_filters: Filters
    instance_filters: Filters
    place: str


def parse_address(uri: str, *, allow_plaintext: bool) -> DicomwebAddress:
    """Return what a normalised DICOMweb URI says.

    Args:
        uri: ``dicomweb+https://host[:port]/path[?filters]``.
        allow_plaintext: Whether ``dicomweb+http://`` may name a host other than this machine.

    Raises:
        ConfigError: A filter is no attribute of DICOM, or the connection would be unencrypted without permission.
    """
    place = without_query(uri)
    base_url = place.removeprefix("dicomweb+")
    if base_url.startswith("http:") and not allow_plaintext and not _is_loopback(base_url):
        raise ConfigError(
            f"{place} would send names and pictures of patients unencrypted: write dicomweb+https://, or, if the "
            "network may carry them, set input.dicomweb.allow_plaintext: true"
        )
    study: list[tuple[str, str]] = []
    instance: list[tuple[str, str]] = []
    for name, value in parse_qsl(uri.partition("?")[2], keep_blank_values=True):
        keyword = _keyword(name)
        (study if keyword in _STUDY_ATTRIBUTES else instance).append((keyword, value))
    return DicomwebAddress(base_url, tuple(study), tuple(instance), place)


def is_uid(text: str) -> bool:
    """Return whether a server's identifier can be a part of a key. Identifiers that break DICOM's rules pass."""
    return _UID.fullmatch(text) is not None


def instance_key(study: str, series: str, instance: str) -> str:
    """Return the key of an instance.

    Args:
        study: UID of the study.
        series: UID of the series.
        instance: UID of the instance.
    """
    return f"studies/{study}/series/{series}/instances/{instance}"


def uids_of(key: str) -> tuple[str, str, str] | None:
    """Return the UIDs of study, series and instance in a key, or None if it is not the key of an instance."""
    found = _KEY.fullmatch(key)
    if found is None or not all(is_uid(uid) for uid in found.groups()):
        return None
    return found[1], found[2], found[3]


def url_path(key: str) -> str:
    """Return the path of a key below the base URL."""
    return "/" + quote(key)


def _keyword(name: str) -> str:
    from pydicom.datadict import keyword_for_tag, tag_for_keyword

    if name == "fuzzymatching":
        return name
    keyword = keyword_for_tag(name) if re.fullmatch(r"[0-9A-Fa-f]{8}", name) else name
    if name in _PAGING or not keyword or tag_for_keyword(keyword) is None:
        known = name if name in _PAGING else "a part of it"
        raise ConfigError(
            f"input.uri has a query that filters by {known}, which is no attribute of DICOM: write keywords such as "
            "ModalitiesInStudy=US&StudyDate=20240101-20241231. Credentials do not belong there (see docs/dicom.md)"
        )
    return keyword


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
