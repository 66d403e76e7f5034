"""Layout `diagchd`, the original's: ``IMAGE/<label>/<name>.png`` with ``MASK/<label>/<name>.png``, label 0 or 1."""

from diagchd_batch.config.models import InputConfig
from diagchd_batch.errors import InputError
from diagchd_batch.studies.database import ScratchDatabase
from diagchd_batch.studies.layouts.names import IS_HIDDEN, IS_IMAGE
from diagchd_batch.wording import counted

_PARTS = r"'^IMAGE/([01])/([^/]+)\.[^./]+$'"


def fill_entries(database: ScratchDatabase, config: InputConfig) -> str | None:
    """Each file name without its extension is a study. Images in other directories of ``IMAGE/``: InputError."""
    misplaced = database.row(f"""
        SELECT count(*) FROM listing
        WHERE starts_with(key, 'IMAGE/') AND {IS_IMAGE} AND NOT {IS_HIDDEN} AND NOT regexp_matches(key, {_PARTS})
    """)
    if misplaced and misplaced[0]:
        raise InputError(
            f"{counted(misplaced[0], 'image file')} below IMAGE/ neither in IMAGE/0/ (normal) nor in IMAGE/1/ (CHD); "
            "move them there, or name the studies in a manifest (layout: manifest)"
        )
    database.execute(f"""
        INSERT INTO entries (row, study, uri, label, mask_uri)
        SELECT row_number() OVER (), image.study, image.key, image.label::TINYINT, mask.key
        FROM (
            SELECT key, regexp_extract(key, {_PARTS}, 1) AS label, regexp_extract(key, {_PARTS}, 2) AS study
            FROM listing WHERE regexp_matches(key, {_PARTS}) AND {IS_IMAGE} AND NOT {IS_HIDDEN}
        ) AS image
        LEFT JOIN listing AS mask ON mask.key = 'MASK/' || image.label || '/' || image.study || '.png'
    """)
    return None
