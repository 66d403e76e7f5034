"""Shows the progress of a run without the places that its job file names, and notes the full texts elsewhere."""

import secrets
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from diagchd_batch import output_layout
from diagchd_batch.config.job_file import LimitsConfig
from diagchd_batch.config.uri_redaction import UriRedactor
from diagchd_batch.errors import DiagchdBatchError, ItemError
from diagchd_batch.process.interrupts import RunInterrupted
from diagchd_batch.scoring.liveness.driver_log import DriverLog
from diagchd_batch.scoring.liveness.progress_events import RunProgress, RunStart, ShardSummary
from diagchd_batch.workspace import Workspace


class RedactedProgress:
    """A `RunProgress` for a log that others may read.

    Args:
        shown: Gets the events, and the messages without places.
        names: The settings that stand for the places.
        note: Gets the full text of each message that held a place.
    """

    def __init__(self, shown: RunProgress, names: UriRedactor, note: Callable[[str], None]) -> None:
        self._shown = shown
        self._names = names
        self._note = note
        self._has_noted = False

    def listed(self, n_objects: int) -> None:
        """See `RunProgress.listed`."""
        self._shown.listed(n_objects)

    def started(self, start: RunStart) -> None:
        """See `RunProgress.started`."""
        self._shown.started(start)

    def in_flight(self, n_images: int) -> None:
        """See `RunProgress.in_flight`."""
        self._shown.in_flight(n_images)

    def workers(self, n_workers: int) -> None:
        """See `RunProgress.workers`."""
        self._shown.workers(n_workers)

    def shard_done(self, summary: ShardSummary) -> None:
        """See `RunProgress.shard_done`."""
        self._shown.shard_done(summary)

    def message(self, text: str) -> None:
        """See `RunProgress.message`."""
        self._tell(self._names.hide(text), text)

    def fault(self, error: BaseException) -> bool:
        """Show what may be shown of an exception that ended the run.

        Returns:
            Whether full texts were noted: this one's places or traceback, or those of earlier messages.
        """
        if isinstance(error, DiagchdBatchError | RunInterrupted):
            full = f"error: {error}"
            public = full if isinstance(error, RunInterrupted) else f"error: {self._names.public_text(error)}"
        else:
            full = "".join(traceback.format_exception(error))
            public = f"error: {self._names.public_text(error)}"
        self._tell(public, full)
        return self._has_noted

    @contextmanager
    def warnings(self) -> Iterator[None]:
        """Show Python's warnings within the block as messages, because their texts may name places, too."""
        with warnings.catch_warnings():
            warnings.showwarning = lambda message, *_, **__: self.message(f"warning: {message}")
            yield

    def _tell(self, public: str, full: str) -> None:
        self._shown.message(public)
        if public != full:
            self._has_noted = True
            self._note(full)


def keep_full_text(workspace: Workspace, limits: LimitsConfig, run_id: str | None, run_log: DriverLog) -> str:
    """Keep a job's log in the private tree, and return a sentence that says where it is.

    Args:
        workspace: The output with its private tree.
        limits: The time-outs of the job.
        run_id: The run that the log belongs to, if it is known.
        run_log: The log.
    """
    try:
        private = workspace.with_short_timeout(limits).private
        if run_id:
            run_log.keep(private, run_id, secrets.token_hex(4))
            return f"the full text is in the private tree; the command `logs` with --run-id {run_id} prints it"
        key = output_layout.driver_fault_file(f"{time.time_ns() // 1_000_000:013d}-{secrets.token_hex(4)}")
        private.create(key, run_log.text().encode())
    except (DiagchdBatchError, ItemError, OSError) as error:
        return f"the full text is lost, because the private tree cannot be written to ({type(error).__name__})"
    return f"the full text is in the private tree, in {key}"
