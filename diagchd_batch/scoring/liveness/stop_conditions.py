"""Decides when a run begins no further shard: near its deadline, or after a request to stop."""

import threading
import time
from contextlib import suppress
from enum import StrEnum

from diagchd_batch import output_layout
from diagchd_batch.errors import ItemError, StorageFault
from diagchd_batch.storage import Store


class Ending(StrEnum):
    """Why a run ended in order with shards left. It can be resumed."""

    DEADLINE = "deadline"
    STOP = "stop"


class StopConditions:
    """Workers ask it before each shard, and the driver asks it while it waits. Any thread may ask.

    Args:
        private: The private tree with a short timeout. While it cannot be read, work goes on.
        run_id: The run.
        submission: The submission. A stop is requested of one submission alone, so that the next one resumes.
        until_s: The deadline in Unix time, or None.
        least_s_per_image: Seconds that an image takes at least, as the limit of requests to a PACS has it.
        also_stopped_by: Key in the private tree of a further request that ends this run too, such as that of the
            training whose out-of-fold predictions the run is; None for none.
    """

    def __init__(
        self,
        private: Store,
        run_id: str,
        submission: str,
        until_s: float | None,
        least_s_per_image: float = 0.0,
        also_stopped_by: str | None = None,
    ) -> None:
        self._private = private
        self._stop_keys = [output_layout.stop_request(run_id, submission), *filter(None, [also_stopped_by])]
        self._until_s = until_s
        self._least_s_per_image = least_s_per_image
        self._lock = threading.Lock()
        self._stop_asked = False
        self._images = 0
        self._seconds = 0.0

    def closed(self) -> Ending | None:
        """Return why no shard may begin any more, or None if one may."""
        if self._until_s is not None and time.time() >= self._until_s:
            return Ending.DEADLINE
        return Ending.STOP if self._is_stop_asked() else None

    def refusal(self, n_images: int) -> Ending | None:
        """Return the reason not to start a shard of `n_images` images, or None.

        A shard that would finish after the deadline, judged by earlier shards and by the limit of requests, is refused.
        """
        if ending := self.closed():
            return ending
        with self._lock:
            measured_s = self._seconds / self._images if self._images else 0.0
        expected_s = n_images * max(measured_s, self._least_s_per_image)
        if self._until_s is not None and time.time() + expected_s > self._until_s:
            return Ending.DEADLINE
        return None

    def note(self, n_images: int, seconds: float) -> None:
        """Note that a shard of `n_images` images took `seconds`.

        Args:
            n_images: Images of the shard.
            seconds: Wall-clock seconds from its start to its commit.
        """
        with self._lock:
            self._images += n_images
            self._seconds += seconds

    def _is_stop_asked(self) -> bool:
        if not self._stop_asked:
            with suppress(StorageFault, ItemError):
                self._stop_asked = any(self._private.stat(key) is not None for key in self._stop_keys)
        return self._stop_asked


class RunEnding(Exception):  # noqa: N818 - not an error: it ends the wait for workers that are no longer needed
    """Raised when no shard may start any more and none is in progress."""

    def __init__(self, ending: Ending) -> None:
        super().__init__(str(ending))
        self.ending = ending


def request_stop(private: Store, run_id: str, submission: str) -> None:
    """Request that a submission of a run ends after the shards in progress.

    Args:
        private: The private tree.
        run_id: The run's id.
        submission: The submission's id.
    """
    private.create(output_layout.stop_request(run_id, submission), b"")
