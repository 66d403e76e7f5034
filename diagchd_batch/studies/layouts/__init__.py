"""How an archive is laid out: one module a layout, each turning what is there into the rows of table `entries`."""

from collections.abc import Callable

from diagchd_batch.config.models import InputConfig
from diagchd_batch.studies.database import ScratchDatabase
from diagchd_batch.studies.layouts import diagchd, manifest, tree

Layout = Callable[[ScratchDatabase, InputConfig], str | None]

LAYOUTS: dict[str, Layout] = {
    "manifest": manifest.fill_entries,
    "tree": tree.fill_entries,
    "diagchd": diagchd.fill_entries,
}
"""`fill_entries` reads table `listing` (or the manifest) and raises InputError for what it cannot take. It returns what
messages call the rows of the manifest (lines, rows), None where there is no manifest."""
