"""The layout `tree`: each directory with image files is a study, named by its path below `input.uri`."""

from diagchd_batch.config.job_file import InputConfig
from diagchd_batch.errors import InputError
from diagchd_batch.studies.layouts.names import IS_HIDDEN, is_image_sql
from diagchd_batch.studies.scratch_database import ScratchDatabase
from diagchd_batch.wording import counted


def fill_entries(database: ScratchDatabase, config: InputConfig) -> str | None:
    """Make one study of each directory with image files. Hidden files and files of other kinds are skipped.

    Args:
        database: A database whose table `listing` is filled.
        config: The input block of the job file.

    Returns:
        None, because there is no manifest whose rows messages could name.

    Raises:
        InputError: There are image files directly in `input.uri`, which belong to no study.
    """
    database.execute(f"""
        INSERT INTO entries (row, study, uri)
        SELECT row_number() OVER (), parse_dirpath(key, 'forward_slash'), key
        FROM listing WHERE {is_image_sql()} AND NOT {IS_HIDDEN}
    """)
    at_root = database.row("SELECT count(*) FROM entries WHERE study = ''")
    if at_root and at_root[0]:
        raise InputError(
            f"found {counted(at_root[0], 'image file')} directly in input.uri, outside the directory of any study; put "
            "each study's files into a directory of its own, or name the studies in a manifest (layout: manifest)"
        )
    return None
