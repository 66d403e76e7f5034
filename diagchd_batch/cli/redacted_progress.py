"""Shows the progress of a run without the places that its job file names, and notes the full texts elsewhere."""

import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from diagchd_batch.config.uri_redaction import UriRedactor
from diagchd_batch.errors import DiagchdBatchError
from diagchd_batch.process.interrupts import RunInterrupted
from diagchd_batch.scoring.liveness.progress_events import RunProgress, RunStart, ShardSummary


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
