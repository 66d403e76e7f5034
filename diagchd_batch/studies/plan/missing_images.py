"""Refuses a plan of which too many images are missing, and says what may be wrong with their names."""

from diagchd_batch.errors import InputError
from diagchd_batch.studies.plan.stored_plan import PlanHead
from diagchd_batch.studies.scratch_database import ScratchDatabase
from diagchd_batch.wording import counted, plural

FEW_IMAGES = 20
"""A plan of fewer images is refused only if all of them are missing."""

N_SHOWN_ROWS = 5
"""The message names at most this number of rows of the manifest, so that it stays short."""

_MATCHES = {
    "backslashes are read as slashes": "replace({name}, '\\', '/')",
    "letter case is ignored": "lower({name})",
    "accents are written alike (Unicode NFC, where the archive has NFD or the reverse)": "nfc_normalize({name})",
    "only the names of the files are compared, without their directories": "parse_filename({name})",
    "all of this is done": "lower(nfc_normalize(parse_filename(replace({name}, '\\', '/'))))",
}
"""In which case more names would match → the SQL of the name that is compared."""


def refuse_missing_images(database: ScratchDatabase, head: PlanHead, max_missing_fraction: float) -> None:
    """Refuse a plan of which more than a fraction of the images are missing.

    Args:
        database: The database with the tables `images` and `listing`.
        head: The plan in numbers.
        max_missing_fraction: The largest fraction of missing images, in [0, 1].

    Raises:
        InputError: More images are missing. The message names rows of the manifest, and no file.
    """
    is_few = head.n_images < FEW_IMAGES and head.n_missing < head.n_images
    if max_missing_fraction == 1 or is_few or head.n_missing <= max_missing_fraction * head.n_images:
        return
    raise InputError(
        f"input.manifest: {head.n_missing:,} of {counted(head.n_images, 'image')} are not below input.uri, more than "
        f"limits.max_missing_fraction = {max_missing_fraction:g}. {_rows(database)}. {_explanation(database)}; correct "
        "input.manifest or input.uri, or raise the limit if these images are expected to be missing; `plan --details` "
        "writes their names to the private tree"
    )


def _rows(database: ScratchDatabase) -> str:
    """Return which rows of the manifest name the first missing images."""
    found, n = database.row(f"""
        SELECT min(row, {N_SHOWN_ROWS}), count(*) FROM entries
        WHERE excluded_because IS NULL AND uri IN (SELECT uri FROM images WHERE is_missing)
    """) or ([], 0)
    listed = ", ".join(f"{row:,}" for row in found)
    lines = f"{plural('line', n)} (of Parquet: {plural('row', n)})"
    return f"The manifest names them in {lines} {listed}" + (" and others" if n > len(found) else "")


def _explanation(database: ScratchDatabase) -> str:
    """Return under which change of the names more images would be found."""
    best, found = "", 0
    for words, name in _MATCHES.items():
        of_listing, of_image = name.format(name="key"), name.format(name="uri")
        row = database.row(f"""
            WITH there AS (SELECT DISTINCT {of_listing} AS name FROM listing)
            SELECT count(*) FROM images JOIN there ON there.name = {of_image} WHERE is_missing
        """)
        n = row[0] if row else 0
        if n > found:
            best, found = words, n
    if not found:
        n_listed = (database.row("SELECT count(*) FROM listing") or (0,))[0]
        return f"{counted(n_listed, 'file')} lie there, and none has one of their names"
    return f"{found:,} of them would be found if {best}"
