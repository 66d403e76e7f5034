"""The inventory: the images that the input block names, joined to the listing of the storage, checked, with tokens."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import groupby

import pyarrow as pa

from diagchd_batch.config.job_file import InputConfig
from diagchd_batch.errors import ConfigError, InputError
from diagchd_batch.images.formats import image_suffixes
from diagchd_batch.sources import ListingGaps, Source
from diagchd_batch.sources.source import LINKS_NOT_FOLLOWED
from diagchd_batch.studies import passes
from diagchd_batch.studies.identifiers import Pseudonymizer
from diagchd_batch.studies.layouts import LAYOUTS, dicom
from diagchd_batch.studies.layouts.names import IS_HIDDEN, is_image_sql
from diagchd_batch.studies.scratch_database import ScratchDatabase, scratch_database

Progress = Callable[[int], None]
"""Is called with the number of objects listed so far."""

Headers = Callable[[], Iterable[pa.RecordBatch]]
"""Returns the rows of the index of headers (`header_index.header_columns.HEADERS`)."""

# Values that must be equal in all rows with the same key: (key, value, the message if they differ). A null agrees with
# every value. Text is compared by its hash, because DuckDB cannot spill the minimum and maximum of text to disk.
_AGREEMENTS = (
    ("uri, frame", "row", "name the same file and frame; keep one"),
    ("uri", "(frame IS NULL)::INTEGER", "name one file with and without a frame; name the frame in all or in none"),
    ("uri", "hash(study)", "give one file to two studies; a file belongs to one"),
    ("uri", "hash(coalesce(mask_uri, ''))", "give one file two masks, or one to only some of its frames"),
    ("study", "label", "give one study both label 0 and label 1; correct the wrong one"),
    (
        "study",
        "if(subject IS NULL, NULL, hash(subject))",
        "give one study two subjects; a study is of one pregnancy",
    ),
    (
        "study",
        "if(fetus IS NULL, NULL, hash(fetus))",
        "give one study two fetuses; make it two studies of one subject",
    ),
)

_EMPTY_TABLES = """
CREATE TABLE studies (
    subject_id VARCHAR, study_id VARCHAR, source_subject_id VARCHAR, source_study_id VARCHAR, fetus VARCHAR,
    label TINYINT, exclude_reasons VARCHAR[], subject_from VARCHAR, accession_number VARCHAR
);
CREATE TABLE images (
    subject_id VARCHAR, study_id VARCHAR, image_id VARCHAR, uri VARCHAR, frames INTEGER[],
    size_bytes BIGINT, etag VARCHAR, modified_ns BIGINT,
    mask_uri VARCHAR, mask_size_bytes BIGINT, mask_etag VARCHAR, mask_modified_ns BIGINT,
    is_missing BOOLEAN, mask_is_missing BOOLEAN, fold INTEGER
);
"""

# The rows of a study or file agree (see above), so `any_value`, which skips nulls, gives the only value that there is.
# Lists are sorted when they are complete, because an ORDER BY within `list` takes several times as much memory.
_STUDIES = """
INSERT INTO studies BY NAME
SELECT CASE WHEN subject IS NULL THEN subject_of_study_token(study) ELSE subject_token(subject) END AS subject_id,
    CASE WHEN has_study_uid THEN study_uid_token(study) ELSE study_token(study) END AS study_id,
    subject AS source_subject_id, study AS source_study_id, fetus, label,
    coalesce(list_transform(excluded, lambda one: one.reason), []) AS exclude_reasons, subject_from, accession_number
FROM (
    SELECT study, any_value(subject) AS subject, any_value(fetus) AS fetus, any_value(label) AS label,
        any_value(has_study_uid) AS has_study_uid, any_value(subject_from) AS subject_from,
        any_value(accession_number) AS accession_number,
        list_sort(list({{'row': row, 'reason': excluded_because}}) FILTER (excluded_because IS NOT NULL)) AS excluded
    FROM entries WHERE {these} GROUP BY study
)
"""

# Each step is a table of its own, so that DuckDB knows how many rows it joins and looks the few up in the many.
_IMAGES = """
CREATE OR REPLACE TEMP TABLE some_studies AS
SELECT subject_id, study_id, source_study_id FROM studies WHERE {these};
CREATE OR REPLACE TEMP TABLE some_files AS
SELECT uri, any_value(study) AS study, any_value(mask_uri) AS mask_uri, any_value(sop_uid) AS sop_uid,
    list_sort(list(frame) FILTER (frame IS NOT NULL)) AS frames
FROM entries SEMI JOIN some_studies ON some_studies.source_study_id = entries.study
WHERE excluded_because IS NULL GROUP BY uri;
CREATE OR REPLACE TEMP TABLE some_objects AS
SELECT * FROM listing SEMI JOIN (
    SELECT uri AS key FROM some_files UNION ALL SELECT mask_uri FROM some_files WHERE mask_uri IS NOT NULL
) AS named USING (key);
INSERT INTO images BY NAME
SELECT some_studies.subject_id, some_studies.study_id,
    CASE WHEN file.sop_uid IS NULL THEN image_token(file.uri) ELSE sop_uid_token(file.sop_uid) END AS image_id,
    file.uri, file.frames,
    image.size_bytes, image.etag, image.modified_ns,
    file.mask_uri, mask.size_bytes AS mask_size_bytes, mask.etag AS mask_etag, mask.modified_ns AS mask_modified_ns,
    image.key IS NULL AS is_missing, file.mask_uri IS NOT NULL AND mask.key IS NULL AS mask_is_missing
FROM some_files AS file
JOIN some_studies ON some_studies.source_study_id = file.study
LEFT JOIN some_objects AS image ON image.key = file.uri
LEFT JOIN some_objects AS mask ON mask.key = file.mask_uri;
"""

_END_OF_PASSES = """
DROP TABLE some_studies;
DROP TABLE some_files;
DROP TABLE some_objects;
CREATE TABLE included_studies AS SELECT study_id, count(*) AS n_images FROM images GROUP BY study_id;
"""

# Queries in which a token appears twice if two identifiers have the same token.
_TOKENS = (
    "SELECT study_id AS token FROM studies",
    "SELECT image_id AS token FROM images",
    """SELECT DISTINCT subject_id AS token, source_subject_id IS NULL, coalesce(source_subject_id, source_study_id)
       FROM studies""",
)


@contextmanager
def open_inventory(
    config: InputConfig,
    storage: Source,
    pseudonymizer: Pseudonymizer,
    *,
    headers: Headers | None = None,
    progress: Progress | None,
    max_memory_bytes: int,
    may_exclude_all: bool = False,
) -> Iterator[ScratchDatabase]:
    """Open a database with the tables `studies`, `images` and `included_studies` besides `listing` and `entries`.

    Args:
        config: The input block of the job file.
        storage: The source at `input.uri`. It is listed once, unless the layout takes the objects from the index.
        pseudonymizer: Makes the tokens.
        headers: The index of headers, for layout `dicom`; other layouts ignore it.
        progress: Is called with the number of objects listed so far.
        max_memory_bytes: The memory that the database may use before it spills to disk.
        may_exclude_all: Whether a manifest may exclude every row, as a correction of an earlier run does.

    Yields:
        The database, which is deleted at the end of the context.

    Raises:
        InputError: The inventory contradicts itself, or leaves no image to score.
        ConfigError: Two identifiers have the same token under this key.
        RunFault: Disk space or memory runs out.
    """
    with scratch_database(max_memory_bytes) as database:
        if config.layout == "dicom":
            assert headers is not None, "layout dicom plans from the index of headers"
            dicom.insert_headers(database, headers())
        else:
            database.insert_listing(storage.list(progress=progress))
        rows_called = LAYOUTS[config.layout](database, config)
        if config.manifest and isinstance(storage, ListingGaps) and storage.listing_gaps().get(LINKS_NOT_FOLLOWED):
            _list_files_named_by_links(database, storage)
        _refuse_contradictions(database, rows_called)
        _refuse_nothing_to_do(database, config, may_exclude_all=may_exclude_all)
        _add_tokens(database, pseudonymizer)
        yield database


def _list_files_named_by_links(database: ScratchDatabase, storage: Source) -> None:
    """Add the files to the listing that the manifest names by a link to a directory that is listed elsewhere."""
    keys = database.stream("""
        SELECT key FROM (SELECT uri AS key FROM entries UNION SELECT mask_uri FROM entries) AS named
        WHERE key IS NOT NULL AND NOT EXISTS (SELECT 1 FROM listing WHERE listing.key = named.key) ORDER BY key
    """)
    names = [key for batch in keys for key in batch["key"].to_pylist()]
    database.insert_listing(info for key in names if (info := storage.stat(key)) is not None)


def _refuse_contradictions(database: ScratchDatabase, rows_called: str | None) -> None:
    for key, value, complaint in _possible_contradictions(database):
        first = database.row(f"""
            SELECT arg_min(row, {value}) AS one, arg_max(row, {value}) AS other FROM entries
            GROUP BY {key} HAVING min({value}) <> max({value}) ORDER BY least(one, other), greatest(one, other) LIMIT 1
        """)
        if first:
            where = f"input.manifest, {rows_called} {min(first)} and {max(first)}" if rows_called else "two image files"
            raise InputError(f"{where} {complaint}")


def _possible_contradictions(database: ScratchDatabase) -> Iterator[tuple[str, str, str]]:
    """Yield the agreements that some rows break. There is one search for each key, not for each agreement."""
    for key, agreements in groupby(_AGREEMENTS, key=lambda agreement: agreement[0]):
        of_key = list(agreements)
        differ = ", ".join(f"min({value}) <> max({value}) AS differ_{n}" for n, (_, value, _) in enumerate(of_key))
        any_differ = ", ".join(f"bool_or(differ_{n})" for n in range(len(of_key)))
        broken = database.row(f"SELECT {any_differ} FROM (SELECT {differ} FROM entries GROUP BY {key})") or ()
        yield from (agreement for agreement, is_broken in zip(of_key, broken, strict=True) if is_broken)


def _refuse_nothing_to_do(database: ScratchDatabase, config: InputConfig, *, may_exclude_all: bool) -> None:
    total, included = database.row("SELECT count(*), count(*) FILTER (excluded_because IS NULL) FROM entries") or (0, 0)
    if included or (total and may_exclude_all):
        return
    if total:
        raise InputError("input.manifest excludes every row, so nothing is left to score")
    if config.manifest:
        raise InputError("input.manifest has no rows below the line that names its columns")
    raise InputError(
        f"no image file ({', '.join(image_suffixes())}) was found below input.uri in layout {config.layout}; "
        "correct input.uri or input.layout"
    )


def _add_tokens(database: ScratchDatabase, pseudonymizer: Pseudonymizer) -> None:
    database.add_text_function("study_token", pseudonymizer.study)
    database.add_text_function("subject_token", pseudonymizer.subject)
    database.add_text_function("subject_of_study_token", pseudonymizer.subject_of_study)
    database.add_text_function("image_token", pseudonymizer.image)
    database.add_text_function("study_uid_token", pseudonymizer.study_of_uid)
    database.add_text_function("sop_uid_token", pseudonymizer.image_of_uid)
    _add_studies_and_images(database)
    for tokens in _TOKENS:
        if database.row(f"SELECT token FROM ({tokens}) GROUP BY token HAVING count(*) > 1 LIMIT 1"):
            raise ConfigError(
                "two identifiers of this inventory have the same token under this key, which is very unlikely; "
                "choose another output.uri, so that another key is made, or give another key"
            )


def _add_studies_and_images(database: ScratchDatabase) -> None:
    """Fill the tables `studies`, `images` and `included_studies`. Images are nearly in the order of their studies."""
    n_entries = database.count("entries")
    database.execute(_EMPTY_TABLES)
    for these in passes.by_hash("study", n_entries):
        database.execute(_STUDIES.format(these=these))
    for these in passes.by_token("study_id", "s", n_entries):
        database.execute(_IMAGES.format(these=these))
    database.execute(_END_OF_PASSES)


_NOT_NAMED = """
    NOT EXISTS (SELECT 1 FROM entries WHERE entries.uri = listing.key)
    AND NOT EXISTS (SELECT 1 FROM entries WHERE entries.mask_uri = listing.key)
"""


def skipped_files_sql() -> str:
    """Return FROM and WHERE for the listed files that are no images by name, hidden files left out.

    Files that a row names are left out, too.
    """
    return f"FROM listing WHERE NOT {is_image_sql()} AND NOT {IS_HIDDEN} AND {_NOT_NAMED}"


def unlisted_files_sql() -> str:
    """Return FROM and WHERE for the listed image files that no row names, neither as image nor as mask."""
    return f"FROM listing WHERE {is_image_sql()} AND NOT {IS_HIDDEN} AND {_NOT_NAMED}"


def count_skipped(database: ScratchDatabase) -> dict[str, int]:
    """Return the number of listed files that are no images by name, by the ending of their names in small letters.

    Hidden files and files that a row names are left out. Endings that are not one to five letters or digits could be
    a part of somebody's name, so they are counted together under ''.
    """
    found = database.rows(rf"""
        SELECT regexp_extract(lower(key), '\.([a-z0-9]{{1,5}})$', 1) AS ending, count(*) {skipped_files_sql()}
        GROUP BY ending ORDER BY ending
    """)
    return dict(found)


def count_unlisted(database: ScratchDatabase) -> int:
    """Return the number of listed image files that no row names, neither as image nor as mask."""
    row = database.row(f"SELECT count(*) {unlisted_files_sql()}")
    return row[0] if row else 0
