"""A PACS as the place for objects: stored through DICOMweb, then read back and compared, every one of them."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import pydicom
import requests

from diagchd_batch.config.job_file import DicomwebConfig
from diagchd_batch.errors import ItemError, UsageError
from diagchd_batch.exports.dicom.storing.dataset_differences import differences
from diagchd_batch.exports.dicom.storing.destination import NewObject, ObjectIdentity, Outcome, Stored
from diagchd_batch.failure_codes import FailureCode
from diagchd_batch.sources import open_source
from diagchd_batch.sources.dicomweb.address import instance_key, parse_address
from diagchd_batch.sources.dicomweb.connection import DicomwebConnection, parse_json, read_body
from diagchd_batch.sources.dicomweb.errors import CutBodyError, Failure, Kind, RequestFailedError
from diagchd_batch.sources.dicomweb.search import search_instances, value_of
from diagchd_batch.sources.request_permits import PermitBook, RequestLimit
from diagchd_batch.uris import normalize_uri
from diagchd_batch.wording import shortened

_MAX_ATTEMPTS = 3
_MAX_CONNECTIONS = 4
_BOUNDARY = "diagchd-batch-object-boundary"
_FAILED_SOPS, _FAILURE_REASON, _REFERENCED_UID = "00081198", "00081197", "00081155"
_SHOWN_DIFFERENCES = 5
_MAX_ANSWER_BYTES = 16 << 20
_MAX_REASON = 0xFFFF  # the element has the type US
_OF_ONE_OBJECT = (Kind.OTHER, Kind.QUERY, Kind.NOT_FOUND)


class PacsDestination:
    """A server with DICOMweb (QIDO-RS, STOW-RS, WADO-RS). See `Destination`."""

    max_batch = 20

    def __init__(self, uri: str, gentle: DicomwebConfig, *, object_timeout_s: float = 300.0) -> None:
        """Prepare the connection. Nothing is contacted.

        Args:
            uri: ``dicomweb+https://host/path``.
            gentle: The limits on requests. Its permission to read without encryption is none to send.
            object_timeout_s: Seconds for which failed requests are retried.

        Raises:
            ConfigError: The address is malformed, or unencrypted and not on this machine.
            UsageError: The address has filters.
        """
        uri = normalize_uri(uri)
        if "?" in uri:
            raise UsageError("the address of a PACS that is sent to has no filters; omit everything from '?' on")
        limit = RequestLimit(PermitBook(gentle.max_requests_in_flight, gentle.max_requests_per_second))
        self._connection = DicomwebConnection(
            parse_address(uri, allow_plaintext=False), limit, object_timeout_s, _MAX_CONNECTIONS
        )
        self._source = open_source(uri, object_timeout_s=object_timeout_s, request_limit=limit)
        self.uri = self._source.place
        self._searched: tuple[str, set[str]] = ("", set())

    def has(self, identity: ObjectIdentity) -> bool:
        """See `Destination.has`. UIDs stand for contents, so an object of the same UID is the same."""
        study_uid, held = self._searched
        if study_uid != identity.study_uid:
            held = self._search(identity.study_uid)
            self._searched = (identity.study_uid, held)
        return identity.sop_uid in held

    def store(self, objects: Sequence[NewObject], *, dry_run: bool) -> list[Stored]:
        """See `Destination.store`. What the PACS does not hold afterwards is sent again, and then reported."""
        if dry_run:
            return [Stored(new.identity, Outcome.STORED) for new in objects]
        done: dict[str, Stored] = {}
        pending = list(objects)
        for _ in range(_MAX_ATTEMPTS):
            reasons = self._send(pending)
            absent = []
            for new in pending:
                uid = new.identity.sop_uid
                held, problem = self._held(new.identity)
                if held is None:
                    absent.append(new)
                    done[uid] = Stored(new.identity, Outcome.FAILED, reasons.get(uid, problem))
                else:
                    done[uid] = _compared(new, held)
            pending = absent
            if not pending:
                break
        return [done[new.identity.sop_uid] for new in objects]

    def _search(self, study_uid: str) -> set[str]:
        try:
            return {instance for _, instance in search_instances(self._connection, study_uid)}
        except RequestFailedError as error:
            if error.failure.kind is Kind.NOT_FOUND:
                return set()
            self._connection.raise_fault(error.failure)

    def _send(self, objects: Sequence[NewObject]) -> Mapping[str, str]:
        """Send objects. Return by UID why the PACS refused them, as far as it says so."""
        body = b"".join(
            b"--%b\r\nContent-Type: application/dicom\r\n\r\n%b\r\n" % (_BOUNDARY.encode(), new.data) for new in objects
        )
        body += b"--%b--\r\n" % _BOUNDARY.encode()
        content_type = f'multipart/related; type="application/dicom"; boundary={_BOUNDARY}'
        try:
            return self._connection.post("/studies", body, content_type, _refusals) or {}
        except RequestFailedError as error:
            if error.failure.kind not in _OF_ONE_OBJECT:
                self._connection.raise_fault(error.failure)
            if len(objects) == 1:
                return {objects[0].identity.sop_uid: f"the PACS refuses it ({error.failure.code})"}
        # One object that the server cannot take must not keep the others out.
        return {uid: reason for new in objects for uid, reason in self._send([new]).items()}

    def _held(self, identity: ObjectIdentity) -> tuple[bytes | None, str]:
        """Return what the PACS holds of an object whatever it said when it was sent; or None, and why."""
        try:
            return self._source.read(instance_key(identity.study_uid, identity.series_uid, identity.sop_uid)), ""
        except ItemError as error:
            if error.code is FailureCode.NOT_FOUND:
                return None, "the PACS accepted it and does not hold it; look into the log of the PACS"
            return None, f"it cannot be read back from the PACS ({error.code.value}); look into the log of the PACS"


def _compared(new: NewObject, data: bytes) -> Stored:
    try:
        changed = differences(pydicom.dcmread(io.BytesIO(new.data)), pydicom.dcmread(io.BytesIO(data)))
    except Exception as error:  # pydicom raises a dozen types of error for damaged files
        return Stored(new.identity, Outcome.FAILED, f"the PACS returns a damaged object ({type(error).__name__})")
    if not changed:
        return Stored(new.identity, Outcome.STORED)
    shown = ", ".join(changed[:_SHOWN_DIFFERENCES]) + (" …" if len(changed) > _SHOWN_DIFFERENCES else "")
    reason = f"the PACS holds it with other values of {shown}; find out there what changes them, and delete it there"
    return Stored(new.identity, Outcome.FAILED, reason)


def _refusals(answer: requests.Response, deadline_s: float) -> dict[str, str]:
    """Return by UID why objects were refused. An answer that cannot be understood says nothing about any."""
    body = bytearray()
    for chunk in read_body(answer, deadline_s):
        body += chunk
        if len(body) > _MAX_ANSWER_BYTES:
            raise RequestFailedError(Failure(Kind.OTHER, "an answer of more than 16 MiB"))
    try:
        found = parse_json(body)
    except (CutBodyError, RequestFailedError):
        return {}
    found = found[0] if isinstance(found, list) and found else found
    element = found.get(_FAILED_SOPS) if isinstance(found, dict) else None
    failed = element.get("Value") if isinstance(element, dict) else None
    return {
        uid: _reason(item)
        for item in (failed if isinstance(failed, list) else [])
        if isinstance(item, dict) and isinstance(uid := value_of(item, _REFERENCED_UID), str)
    }


def _reason(item: Mapping[str, Any]) -> str:
    reason = value_of(dict(item), _FAILURE_REASON)
    is_code = isinstance(reason, int) and 0 <= reason <= _MAX_REASON
    code = f"0x{reason:04X}" if is_code else shortened(reason, 20) if isinstance(reason, str) else "unknown"
    return f"the PACS refuses it (failure reason {code}, see PS3.18 annex I); look into the log of the PACS"
