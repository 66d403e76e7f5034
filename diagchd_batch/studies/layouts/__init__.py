"""The layouts of archives. Each module finds the studies of one layout and writes them to table `entries`."""

from collections.abc import Callable

from diagchd_batch.config.job_file import InputConfig
from diagchd_batch.studies.layouts import diagchd, dicom, manifest, tree
from diagchd_batch.studies.scratch_database import ScratchDatabase

Layout = Callable[[ScratchDatabase, InputConfig], str | None]

LAYOUTS: dict[str, Layout] = {
    "manifest": manifest.fill_entries,
    "tree": tree.fill_entries,
    "diagchd": diagchd.fill_entries,
    "dicom": dicom.fill_entries,
}
"""The layouts by their name in the job file.

A layout reads table `listing`, the manifest or table `headers`, fills table `entries`, and raises InputError for an
archive that does not follow it. It returns the word for the manifest's rows in messages (``lines`` or ``rows``), or
None if there is no manifest.
"""
