"""Names the files that a plan misses, skips or has twice. The names can identify people."""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress

from diagchd_batch.errors import ItemError
from diagchd_batch.sources import ListingGaps, Source
from diagchd_batch.sources.source import KEYS_NOT_ADDRESSABLE, LINKS_NOT_FOLLOWED, NAMES_NOT_UTF8, PATHS_TOO_LONG
from diagchd_batch.studies.inventory import skipped_files_sql, unlisted_files_sql
from diagchd_batch.studies.scratch_database import ScratchDatabase

DETAIL_COLUMNS = ("what", "file", "note")

DUPLICATE = "duplicate"

_LEFT_OUT = {
    LINKS_NOT_FOLLOWED: "a link that was not followed: the directory is listed under another name",
    PATHS_TOO_LONG: "a path that is too long to be opened",
    NAMES_NOT_UTF8: "a name that is not valid UTF-8; here a mark stands for each byte that is no text",
    KEYS_NOT_ADDRESSABLE: "an object key with a leading slash, or a '.' or '..' part",
}

_BEGINNING_BYTES = 65_536
"""Files of equal size whose first bytes differ are not read any further."""


def plan_details(database: ScratchDatabase, source: Source, *, by_name: bool) -> Iterator[dict[str, str]]:
    """Yield a row with `DETAIL_COLUMNS` for each file that a plan misses, skips or has twice.

    Files with the same content are found by their size and entity tag, or where there is none, by reading those of
    equal size.

    Args:
        database: The database with the tables `listing`, `entries` and `images`.
        source: The source at `input.uri`.
        by_name: Whether files are taken for images by their names, so that others are skipped.
    """
    rows = """
        SELECT {file}, min(row) FROM images JOIN entries USING (uri) WHERE images.{missing} GROUP BY ALL ORDER BY ALL
    """
    for what, file, missing in (
        ("missing image", "images.uri", "is_missing"),
        ("missing mask", "images.mask_uri", "mask_is_missing"),
    ):
        for name, row in database.rows(rows.format(file=file, missing=missing)):
            yield _detail(what, name, f"line or row {row} of input.manifest")
    if by_name:
        for (name,) in database.rows(f"SELECT key {skipped_files_sql()} ORDER BY key"):
            yield _detail("skipped", name, "no image by its name")
        for (name,) in database.rows(f"SELECT key {unlisted_files_sql()} ORDER BY key"):
            yield _detail("not in the manifest", name, "")
    yield from _duplicates(database, source)
    gaps = source.named_gaps() if isinstance(source, ListingGaps) else {}
    for kind, names in gaps.items():
        for name in names:
            yield _detail("left out", name, _LEFT_OUT[kind])


def count_duplicates(database: ScratchDatabase) -> int | None:
    """Return the number of planned images that have the content of another one, or None if the listing does not tell.

    Only the entity tags of a listing tell, as those of S3. No file is read.

    Args:
        database: The database with the table `images`.
    """
    row = database.row("""
        SELECT count(*), count(*) - count(DISTINCT content)
        FROM (SELECT hash(size_bytes, etag) AS content FROM images WHERE etag IS NOT NULL AND size_bytes > 0)
    """)
    return row[1] if row and row[0] else None


def _detail(what: str, file: str, note: str) -> dict[str, str]:
    return dict(zip(DETAIL_COLUMNS, (what, file, note), strict=True))


def _duplicates(database: ScratchDatabase, source: Source) -> Iterator[dict[str, str]]:
    for etag, names in database.rows("""
        SELECT etag, list(uri ORDER BY uri) FROM images WHERE NOT is_missing AND size_bytes > 0
        GROUP BY size_bytes, etag HAVING count(*) > 1 ORDER BY min(uri)
    """):
        for first, *others in [names] if etag is not None else _with_same_content(names, source):
            for name in others:
                yield _detail(DUPLICATE, name, f"has the content of {first}")


def _with_same_content(names: Sequence[str], source: Source) -> Iterator[Sequence[str]]:
    """Yield the groups of files that have the same bytes, for files of equal size. Unreadable files are left out."""
    for same_beginning in _by_digest(names, lambda name: source.read_range(name, 0, _BEGINNING_BYTES)).values():
        if len(same_beginning) > 1:
            groups = _by_digest(same_beginning, source.read)
            yield from (group for group in groups.values() if len(group) > 1)


def _by_digest(names: Sequence[str], read: Callable[[str], bytes]) -> Mapping[bytes, Sequence[str]]:
    found: dict[bytes, list[str]] = defaultdict(list)
    for name in names:
        with suppress(ItemError):  # scoring says what is wrong with it
            found[hashlib.sha256(read(name)).digest()].append(name)
    return found
