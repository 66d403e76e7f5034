"""`index`: makes the index of the archive's DICOM headers, or brings it up to date."""

import time
from collections.abc import Callable, Mapping

from diagchd_batch.config.job_file import JobConfig
from diagchd_batch.config.overlapping_uris import refuse_overlapping_places
from diagchd_batch.process.interrupts import interruptible
from diagchd_batch.results.deletion.records import refuse_unfinished_deletion
from diagchd_batch.scoring.driver.storage_and_limit_checks import check_places
from diagchd_batch.studies.header_index.read_many import ReadChunks, threaded_reader
from diagchd_batch.studies.header_index.update_index import IndexProgress, IndexUpdate, update_index
from diagchd_batch.wording import counted
from diagchd_batch.workspace import Workspace


def index_archive(
    config: JobConfig, environ: Mapping[str, str], progress: IndexProgress, read_chunks: ReadChunks | None = None
) -> IndexUpdate:
    """Bring the index of headers of a job's archive up to date.

    Args:
        config: The job file.
        environ: The environment variables, which may hold the identifier key.
        progress: Receives how far the update is.
        read_chunks: Reads headers; by default, threads of this process do.

    Returns:
        What the update did.

    Raises:
        DiagchdBatchError: A place cannot be used, or disk space or memory runs out. What was read stays.
        RunInterrupted: SIGINT or SIGTERM arrived. What was read stays.
    """
    refuse_overlapping_places(config)
    with interruptible():
        workspace = Workspace.of_job(config, environ)
        check_places(workspace.archive, workspace.storage, workspace.private)
        refuse_unfinished_deletion(workspace.private)
        reader = read_chunks or threaded_reader(workspace.archive)
        return update_index(workspace.archive, workspace.private, reader, progress)


def needs_headers(config: JobConfig) -> bool:
    """Return whether the layout of a job finds its studies in the index of headers.

    Args:
        config: The job file.
    """
    return config.input.layout == "dicom"


class IndexMessages:
    """An `IndexProgress` that tells with a sentence from time to time how far the update is.

    Args:
        say: Receives each sentence.
        interval_s: Seconds between two sentences.
    """

    def __init__(self, say: Callable[[str], None], interval_s: float = 10.0) -> None:
        self._say = say
        self._interval_s = interval_s
        self._began_s: float | None = None
        self._said_s = time.monotonic()

    def listed(self, n_objects: int) -> None:
        """See `IndexProgress.listed`."""
        if self._is_due():
            self._say(f"index: {counted(n_objects, 'object')} listed")

    def reading(self, n_done: int, n_wanted: int) -> None:
        """See `IndexProgress.reading`."""
        if self._began_s is None:
            self._began_s = time.monotonic()
            self._say(f"index: {counted(n_wanted, 'header')} to read")
        elif n_done and self._is_due():
            per_s = n_done / (time.monotonic() - self._began_s)
            left_s = (n_wanted - n_done) / per_s
            self._say(
                f"index: {n_done:,} of {counted(n_wanted, 'header')} read · {per_s:,.0f} headers/s · "
                f"remaining {left_s:,.0f} s"
            )

    def _is_due(self) -> bool:
        now_s = time.monotonic()
        if now_s - self._said_s < self._interval_s:
            return False
        self._said_s = now_s
        return True
