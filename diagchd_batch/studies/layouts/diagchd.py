"""The layout `diagchd` of the original: ``IMAGE/<label>/<name>.png`` and ``MASK/<label>/<name>.png``, label 0 or 1."""

from diagchd_batch.config.job_file import InputConfig
from diagchd_batch.errors import InputError
from diagchd_batch.studies.layouts.names import IS_HIDDEN, is_image_sql
from diagchd_batch.studies.scratch_database import ScratchDatabase
from diagchd_batch.wording import counted

_PARTS = r"'^IMAGE/([01])/([^/]+)\.[^./]+$'"


def fill_entries(database: ScratchDatabase, config: InputConfig) -> str | None:
    """Make one study of each file, named as the file without its extension.

    Args:
        database: A database whose table `listing` is filled.
        config: The input block of the job file.

    Returns:
        None, because there is no manifest whose rows messages could name.

    Raises:
        InputError: There are images elsewhere below ``IMAGE/``.
    """
    misplaced = database.row(f"""
        SELECT count(*) FROM listing
        WHERE starts_with(key, 'IMAGE/') AND {is_image_sql()} AND NOT {IS_HIDDEN} AND NOT regexp_matches(key, {_PARTS})
    """)
    if misplaced and misplaced[0]:
        raise InputError(
            f"found {counted(misplaced[0], 'image file')} below IMAGE/ but outside IMAGE/0/ (normal) and IMAGE/1/ "
            "(CHD); move all image files there, or name the studies in a manifest (layout: manifest)"
        )
    database.execute(f"""
        INSERT INTO entries (row, study, uri, label, mask_uri)
        SELECT row_number() OVER (), image.study, image.key, image.label::TINYINT, mask.key
        FROM (
            SELECT key, regexp_extract(key, {_PARTS}, 1) AS label, regexp_extract(key, {_PARTS}, 2) AS study
            FROM listing WHERE regexp_matches(key, {_PARTS}) AND {is_image_sql()} AND NOT {IS_HIDDEN}
        ) AS image
        LEFT JOIN listing AS mask ON mask.key = 'MASK/' || image.label || '/' || image.study || '.png'
    """)
    return None
