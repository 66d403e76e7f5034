"""When a run begins no further shard: near its deadline, or because somebody asked for its end."""

import threading
import time
from contextlib import suppress
from enum import StrEnum

from diagchd_batch import output_layout
from diagchd_batch.errors import ItemError, StorageFault
from diagchd_batch.storage import Store


class Ending(StrEnum):
    """Why a run ended with shards left. It is resumable, and nothing is wrong."""

    DEADLINE = "deadline"
    STOP = "stop"


class ShardGate:
    """Asked before each shard by the workers, and by the driver meanwhile; any thread may ask.

    `until_s` is the deadline in Unix time, None for none. A stop is asked for by `request_stop`, of one submission
    alone, so that the next one resumes. `private` should have a short time-out: while it cannot be read, work goes on.
    """

    def __init__(self, private: Store, run_id: str, submission: str, until_s: float | None) -> None:
        self._private = private
        self._stop_key = output_layout.stop_request(run_id, submission)
        self._until_s = until_s
        self._lock = threading.Lock()
        self._stop_asked = False
        self._images = 0
        self._seconds = 0.0

    def closed(self) -> Ending | None:
        """Why no shard at all may begin any more; None while one may."""
        if self._until_s is not None and time.time() >= self._until_s:
            return Ending.DEADLINE
        return Ending.STOP if self._is_stop_asked() else None

    def refusal(self, n_images: int) -> Ending | None:
        """Why a shard of so many images may not begin: also where it would end too late, by the shards that `note` was
        told of. Until there is one, a shard may begin.
        """
        if ending := self.closed():
            return ending
        with self._lock:
            expected_s = n_images * self._seconds / self._images if self._images else 0.0
        if self._until_s is not None and time.time() + expected_s > self._until_s:
            return Ending.DEADLINE
        return None

    def note(self, n_images: int, seconds: float) -> None:
        """A shard was finished, so many seconds after it began."""
        with self._lock:
            self._images += n_images
            self._seconds += seconds

    def _is_stop_asked(self) -> bool:
        if not self._stop_asked:
            with suppress(StorageFault, ItemError):
                self._stop_asked = self._private.stat(self._stop_key) is not None
        return self._stop_asked


class RunEnding(Exception):  # noqa: N818 - no error: it ends the wait for workers that are not needed any more
    """No shard may begin any more, and none is in hand."""

    def __init__(self, ending: Ending) -> None:
        super().__init__(str(ending))
        self.ending = ending


def request_stop(private: Store, run_id: str, submission: str) -> None:
    """Ask a submission of a run to end after the shards in hand."""
    private.create(output_layout.stop_request(run_id, submission), b"")
