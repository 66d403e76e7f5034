"""The layout `dicom`: studies, subjects and images as the headers of DICOM objects name them, whatever the file names.

The headers come from the index, so nothing of the archive is listed or read here.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import pyarrow as pa

from diagchd_batch.config.job_file import InputConfig, ObjectFilter
from diagchd_batch.errors import InputError
from diagchd_batch.images.frames import n_chosen_frames, takes_two_requests
from diagchd_batch.images.limits import DecodeLimits
from diagchd_batch.studies import passes
from diagchd_batch.studies.layouts.object_counts import ObjectCounts
from diagchd_batch.studies.scratch_database import ScratchDatabase

FILE_STUDY_PREFIX = "file:"
"""Begins the own id of the study of a file that names no study. The key of the file follows."""

ISSUER_SEPARATOR = "^^^"
"""Stands between a PatientID and its issuer in a subject's own id, as in HL7: ``4711^^^HOSPITAL``."""

COLUMNS = {
    "key": "VARCHAR", "size_bytes": "BIGINT", "etag": "VARCHAR", "modified_ns": "BIGINT", "kind": "VARCHAR",
    "study_uid": "VARCHAR", "sop_uid": "VARCHAR", "sop_class_uid": "VARCHAR", "modality": "VARCHAR",
    "n_frames": "BIGINT", "manufacturer": "VARCHAR", "study_date": "DATE", "patient_id": "VARCHAR",
    "issuer_of_patient_id": "VARCHAR", "mother_id": "VARCHAR", "accession_number": "VARCHAR", "body_part": "VARCHAR",
    "series_description": "VARCHAR",
}  # fmt: skip
"""The columns of the index of headers that planning needs, with their types in DuckDB."""

_IS_UNREADABLE = "kind IN ('unreadable', 'not_read')"
_IS_PLANNED_KIND = f"(kind = 'image' OR {_IS_UNREADABLE})"
_OTHER_KINDS = {"not_dicom": "not DICOM", "dicomdir": "DICOMDIR"}
_UNKNOWN_CLASS = "objects of unknown SOP classes"

# Of several copies, an image is preferred to a file that cannot be read, and the largest one to truncated ones. The
# oldest copy is preferred to later ones of its size, so that a copy that is added does not change what is planned.
_ONE_OF_EACH = f"""
INSERT INTO objects BY NAME
SELECT * EXCLUDE (place) FROM (
    SELECT *, row_number() OVER (
        PARTITION BY sop_uid
        ORDER BY kind <> 'image', size_bytes DESC NULLS LAST, modified_ns NULLS LAST, key
    ) AS place
    FROM headers SEMI JOIN copied USING (sop_uid) WHERE {_IS_PLANNED_KIND} AND {{these}}
) WHERE place = 1
"""

_WITHOUT_COPIES = f"""
CREATE TABLE copied AS
SELECT sop_uid, count(*) AS n FROM headers WHERE {_IS_PLANNED_KIND} AND sop_uid IS NOT NULL
GROUP BY sop_uid HAVING count(*) > 1;
CREATE TABLE objects AS SELECT * FROM headers ANTI JOIN copied USING (sop_uid) WHERE {_IS_PLANNED_KIND};
"""

_PLANNED = f"""
DROP TABLE objects;
CREATE VIEW planned_objects AS
SELECT * REPLACE (coalesce(study_uid, '{FILE_STUDY_PREFIX}' || key) AS study_uid),
    study_uid IS NOT NULL AS has_study_uid,
    CASE WHEN patient_id IS NOT NULL THEN 'patient_id' WHEN mother_id IS NOT NULL THEN 'mother' END AS subject_from,
    coalesce(patient_id || coalesce('{ISSUER_SEPARATOR}' || issuer_of_patient_id, ''), mother_id) AS subject
FROM filtered WHERE left_out_by IS NULL;
CREATE TABLE study_subjects (study_uid VARCHAR, subject VARCHAR, subject_from VARCHAR, n_patients BIGINT);
CREATE TABLE study_accessions (study_uid VARCHAR, accession_number VARCHAR);
"""

# The subject that most objects of a study name, patients before mothers; and the accession number likewise.
_OF_STUDIES = """
INSERT INTO study_subjects
SELECT study_uid, subject, subject_from, n_patients FROM (
    SELECT study_uid, subject, subject_from,
        count(*) FILTER (subject_from = 'patient_id') OVER (PARTITION BY study_uid) AS n_patients,
        row_number() OVER (PARTITION BY study_uid ORDER BY subject_from = 'patient_id' DESC, n DESC, subject) AS place
    FROM (
        SELECT study_uid, subject, subject_from, count(*) AS n FROM planned_objects
        WHERE subject IS NOT NULL AND {these} GROUP BY study_uid, subject, subject_from
    )
) WHERE place = 1;
INSERT INTO study_accessions
SELECT study_uid, accession_number FROM (
    SELECT study_uid, accession_number,
        row_number() OVER (PARTITION BY study_uid ORDER BY count(*) DESC, accession_number) AS place
    FROM planned_objects WHERE accession_number IS NOT NULL AND {these} GROUP BY study_uid, accession_number
) WHERE place = 1;
"""

_ENTRIES = """
INSERT INTO entries BY NAME
SELECT row_number() OVER () AS row, study_uid AS study, has_study_uid, subject, study_subjects.subject_from,
    accession_number, key AS uri, sop_uid
FROM (SELECT study_uid, has_study_uid, key, sop_uid FROM planned_objects)
LEFT JOIN study_subjects USING (study_uid)
LEFT JOIN study_accessions USING (study_uid);
INSERT INTO listing SELECT key, size_bytes, etag, modified_ns FROM planned_objects;
"""

# Entity tags with a hyphen are of uploads in parts. They differ with the size of the parts, not only with the content.
_DIFFERING = f"""
SELECT count(*) FILTER (is_different) FROM (
    SELECT coalesce(min(size_bytes) <> max(size_bytes), false)
        OR count(DISTINCT etag) FILTER (NOT contains(etag, '-')) > 1 AS is_different
    FROM headers SEMI JOIN copied USING (sop_uid) WHERE {_IS_PLANNED_KIND} AND {{these}} GROUP BY sop_uid
)
"""
_SOP_CLASSES = "SELECT sop_class_uid, count(*) FROM headers WHERE kind = 'not_an_image' GROUP BY sop_class_uid"
_FRAMES_OF_IMAGES = """
SELECT n_frames, count(*) FROM planned_objects JOIN images ON planned_objects.key = images.uri GROUP BY n_frames
"""
_LEFT_OUT_IMAGES = """
SELECT left_out_by, count(*) FROM filtered WHERE left_out_by IS NOT NULL GROUP BY left_out_by ORDER BY left_out_by
"""
_LEFT_OUT_STUDIES = f"""
SELECT last, count(*) FROM (
    SELECT max(left_out_by) AS last FROM filtered GROUP BY coalesce(study_uid, '{FILE_STUDY_PREFIX}' || key)
    HAVING count(*) = count(left_out_by)
) GROUP BY last ORDER BY last
"""


def insert_headers(database: ScratchDatabase, headers: Iterable[pa.RecordBatch]) -> None:
    """Copy the index of headers to table `headers`.

    Args:
        database: The database to fill.
        headers: Rows of the index. Only the columns that planning needs are kept.
    """
    database.execute(f"CREATE TABLE headers ({', '.join(f'{name} {kind}' for name, kind in COLUMNS.items())})")
    for batch in headers:
        database.insert("headers", batch.select(list(COLUMNS)))


def fill_entries(database: ScratchDatabase, config: InputConfig) -> str | None:
    """Make one study of each Study Instance UID, and one image of each SOP Instance UID.

    Objects whose header cannot be read are entries, too, each a study of its own, so that they become failed rows and
    are not lost silently. Objects that are no images are not entries.

    Args:
        database: A database whose table `headers` is filled. Table `listing` gets the objects that are entries.
        config: The input block of the job file.

    Returns:
        None, because there is no manifest whose rows messages could name.

    Raises:
        InputError: No image is left to plan.
    """
    database.execute(_WITHOUT_COPIES)
    for these in _passes_over_copies(database):
        database.execute(_ONE_OF_EACH.format(these=these))
    conditions = _conditions(config.filter)
    cases = [f"WHEN NOT coalesce({one.sql}, false) THEN {place}" for place, one in enumerate(conditions)]
    left_out_by = f"CASE WHEN {_IS_UNREADABLE} THEN NULL {' '.join(cases)} END" if cases else "NULL"
    values = [value for one in conditions for value in one.values]
    database.execute(f"CREATE TABLE filtered AS SELECT *, ({left_out_by})::INTEGER AS left_out_by FROM objects", values)
    database.execute(_PLANNED)
    for these in passes.by_hash("study_uid", database.count("planned_objects")):
        database.execute(_OF_STUDIES.format(these=these))
    if not database.row("SELECT 1 FROM planned_objects LIMIT 1"):
        raise InputError(_nothing_to_plan(count_objects(database, config)))
    database.execute(_ENTRIES)
    return None


def count_objects(database: ScratchDatabase, config: InputConfig) -> ObjectCounts:
    """Return what became of the objects of the index.

    Args:
        database: A database whose tables `fill_entries` has filled.
        config: The input block of the job file.
    """
    kinds = dict(database.rows("SELECT kind, count(*) FROM headers GROUP BY kind"))
    [(n_copies,)] = database.rows("SELECT coalesce(sum(n - 1), 0)::BIGINT FROM copied")
    differing = [database.row(_DIFFERING.format(these=these)) for these in _passes_over_copies(database)]
    [(n_several_patients,)] = database.rows("SELECT count(*) FROM study_subjects WHERE n_patients > 1")
    keys = [one.key for one in _conditions(config.filter)]
    return ObjectCounts(
        n_objects=sum(kinds.values()),
        not_planned=_not_planned(kinds, database.rows(_SOP_CLASSES)),
        n_unreadable=kinds.get("unreadable", 0) + kinds.get("not_read", 0),
        n_copies=n_copies,
        n_differing=sum(row[0] for row in differing if row),
        left_out_images={keys[place]: n for place, n in database.rows(_LEFT_OUT_IMAGES)},
        left_out_studies={keys[place]: n for place, n in database.rows(_LEFT_OUT_STUDIES)},
        n_several_patients=n_several_patients,
    )


def _passes_over_copies(database: ScratchDatabase) -> list[str]:
    """Return SQL conditions that each hold for a part of the SOP Instance UIDs that several objects have."""
    [(n_objects,)] = database.rows("SELECT coalesce(sum(n), 0)::BIGINT FROM copied")
    return passes.by_hash("sop_uid", n_objects)


def with_frame_counts(objects: ObjectCounts, database: ScratchDatabase, config: InputConfig) -> ObjectCounts:
    """Return the counts with the numbers of frames and of requests that the headers of planned images promise.

    Args:
        objects: The counts.
        database: A database whose tables `fill_entries` has filled, with the table `images` of planned images.
        config: The input block of the job file.
    """
    most = DecodeLimits().max_frames  # a file that claims more becomes one failed row
    lengths = [(n if n and n <= most else 1, n_images) for n, n_images in database.rows(_FRAMES_OF_IMAGES)]
    rule = config.frame_rule
    return objects.model_copy(
        update={
            "n_frames": sum(n_chosen_frames(rule, n) * n_images for n, n_images in lengths),
            "n_frame_requests": sum(n_images for n, n_images in lengths if takes_two_requests(rule, n)),
        }
    )


class _Condition(NamedTuple):
    """One filter of the job file: its key, an SQL condition on a row of the index, and the values of its parameters."""

    key: str
    sql: str
    values: list[object]


def _conditions(chosen: ObjectFilter | None) -> list[_Condition]:
    """Return the filters of the job file in a fixed order, which decides what an object is counted as left out by."""
    found = []
    for key in ("modality", "manufacturer", "body_part", "series_description"):
        if chosen and (patterns := getattr(chosen, key)):
            matches = " OR ".join([f"{key} ILIKE ? ESCAPE '!'"] * len(patterns))
            found.append(_Condition(key, f"({matches})", [_like_pattern(pattern) for pattern in patterns]))
    if chosen and (dates := chosen.study_date):
        limits = [("study_date >= ?", dates.first), ("study_date <= ?", dates.last)]
        found.append(_range("study_date", limits))
    if chosen and (frames := chosen.number_of_frames):
        found.append(_range("number_of_frames", [("n_frames >= ?", frames.min), ("n_frames <= ?", frames.max)]))
    return found


def _range(key: str, limits: Sequence[tuple[str, object]]) -> _Condition:
    given = [(sql, value) for sql, value in limits if value is not None]
    return _Condition(key, " AND ".join(sql for sql, _ in given), [value for _, value in given])


def _like_pattern(pattern: str) -> str:
    """Return DICOM's wildcards as those of LIKE, with ``!`` as the escape character."""
    escaped = re.sub(r"([!%_])", r"!\1", pattern.strip())
    return escaped.replace("*", "%").replace("?", "_")


def _not_planned(kinds: dict[str, int], sop_classes: Sequence[tuple[str | None, int]]) -> dict[str, int]:
    """Return the numbers of objects that are no images, the most frequent kind first, in words of the standard only."""
    from pydicom.uid import UID  # pydicom takes long to import

    found = Counter({word: kinds[kind] for kind, word in _OTHER_KINDS.items() if kind in kinds})
    for uid, n in sop_classes:
        is_standard = uid is not None and UID(uid).type == "SOP Class"
        found[UID(uid).name if uid is not None and is_standard else _UNKNOWN_CLASS] += n
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


def _nothing_to_plan(counts: ObjectCounts) -> str:
    if counts.left_out_images:
        reasons = ", ".join(f"{key} {n:,}" for key, n in counts.left_out_images.items())
        return (
            f"input.filter leaves out every image below input.uri ({reasons}), so nothing is left to score; correct "
            "the filter"
        )
    found = ", ".join(f"{word} {n:,}" for word, n in counts.not_planned.items()) or "nothing"
    return (
        f"no DICOM image was found below input.uri in layout dicom (found: {found}); correct input.uri, or choose "
        "another layout for images of other formats"
    )
