"""`index`: makes the index of the archive's DICOM headers, or brings it up to date."""

import time
from collections.abc import Callable, Mapping

from diagchd_batch.cluster.existing_cluster import ExistingCluster
from diagchd_batch.cluster.header_tasks import ray_reader
from diagchd_batch.cluster.job_api import ClusterJobs
from diagchd_batch.cluster.node_checks.nodes_at_start import check_nodes
from diagchd_batch.config.job_file import JobConfig
from diagchd_batch.config.overlapping_uris import refuse_overlapping_places
from diagchd_batch.exit_codes import ExitCode
from diagchd_batch.process.interrupts import interruptible
from diagchd_batch.results.deletion.records import refuse_unfinished_deletion
from diagchd_batch.scoring.driver.storage_and_limit_checks import check_places
from diagchd_batch.studies.header_index.read_many import ReadChunks, threaded_reader
from diagchd_batch.studies.header_index.stored_index import IndexHead, newest_head
from diagchd_batch.studies.header_index.update_index import IndexProgress, IndexUpdate, update_index
from diagchd_batch.wording import counted
from diagchd_batch.workspace import Workspace

_FAULTS = set(ExitCode) - {ExitCode.DONE, ExitCode.FAILED_INPUTS}

SUBMISSION_NAME = "index-of-headers"
"""Begins the name of a submission of the job API, where that of a run has its run id."""


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


def index_on_joined_ray(
    config: JobConfig, environ: Mapping[str, str], progress: IndexProgress, say: Callable[[str], None]
) -> IndexUpdate:
    """Do the same with tasks on the Ray cluster that this process belongs to, once every node has been checked.

    Args:
        config: The job file.
        environ: The environment variables, which may hold the identifier key.
        progress: Receives how far the update is.
        say: Receives messages while a node is waited for.

    Returns:
        What the update did.

    Raises:
        DiagchdBatchError: The errors of `index_archive`, and an error if a node is not suitable.
        RunInterrupted: SIGINT or SIGTERM arrived. What was read stays.
    """
    cluster = ExistingCluster(config.cluster, say)
    cluster.nodes()
    check_nodes(config)
    with cluster.connected():
        return index_archive(config, environ, progress, ray_reader(Workspace.of_job(config, environ).archive))


def index_on_cluster(
    config: JobConfig,
    environ: Mapping[str, str],
    address: str,
    *,
    write_log: Callable[[str], None],
    say: Callable[[str], None],
) -> tuple[ExitCode, IndexHead | None]:
    """Update the index on a cluster through its job API, and pass on what the job writes until it ends.

    An update of the same output that is running there is followed instead of starting a second one.

    Args:
        config: The job file.
        environ: The environment variables, which may hold the identifier key.
        address: The cluster's address, such as ``http://head:8265``.
        write_log: Receives the log piece by piece.
        say: Receives sentences for the user.

    Returns:
        The exit code of the command, and the index as it is now if the job succeeded.

    Raises:
        ConfigError: The cluster refuses this client, or the job file cannot be used there.
        RunFault: The cluster does not answer.
    """
    refuse_overlapping_places(config)
    jobs = ClusterJobs(address)
    private = Workspace.of_job(config, environ).private
    submission_id, attached = jobs.submit(config, private, SUBMISSION_NAME, ["--index"])
    say(f"{'attached to' if attached else 'submitted'} {submission_id}")
    status, driver_exit_code = jobs.follow(submission_id, write_log)
    if status == "SUCCEEDED":
        found = newest_head(private)
        head = found[1] if found else None
        return (ExitCode.FAILED_INPUTS if head and head.counts.n_failed else ExitCode.DONE), head
    say(f"Ray reports that the job {status.lower()}; the same command goes on")
    return ExitCode(driver_exit_code) if driver_exit_code in _FAULTS else ExitCode.FAILED, None


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
        self._n_listed = 0
        self._n_listed_said: int | None = None

    def listed(self, n_objects: int) -> None:
        """See `IndexProgress.listed`."""
        self._n_listed = n_objects
        if self._is_due():
            self._say_listed()

    def _say_listed(self) -> None:
        self._say(f"index: {counted(self._n_listed, 'object')} listed")
        self._n_listed_said = self._n_listed

    def reading(self, n_done: int, n_wanted: int) -> None:
        """See `IndexProgress.reading`."""
        if self._began_s is None:
            self._began_s = time.monotonic()
            if self._n_listed_said not in (None, self._n_listed):
                self._say_listed()
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
