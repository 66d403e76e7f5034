"""Hands the index of headers to the layout that plans from it."""

from collections.abc import Iterable

import pyarrow as pa

from diagchd_batch.config.job_file import InputConfig
from diagchd_batch.errors import UsageError
from diagchd_batch.storage import Store
from diagchd_batch.studies.header_index.stored_index import newest_head, stored_headers
from diagchd_batch.studies.inventory import Headers
from diagchd_batch.studies.layouts.dicom import COLUMNS


def headers_for(config: InputConfig, private: Store) -> Headers | None:
    """Return what reads the index of headers, or None for a layout that plans without it.

    Args:
        config: The input block of the job file.
        private: The private tree of the output.

    Returns:
        A function that returns the rows. It raises UsageError if the output has no index.
    """
    if config.layout != "dicom":
        return None

    def read() -> Iterable[pa.RecordBatch]:
        if newest_head(private) is None:
            raise UsageError(
                "layout dicom plans from the index of headers, which this output does not have yet; make it with "
                "the command `index` (submit does so by itself)"
            )
        return stored_headers(private).to_batches(columns=list(COLUMNS))

    return read
