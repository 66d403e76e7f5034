"""Ends a worker that makes no progress, so that its shards are tried again in isolation."""

import faulthandler
import threading
import time

_REARM_S = 1.0
_STDERR = 2


class StallWatchdog:
    """Exits the process if a shard is being scored and there was no progress for `timeout_s` seconds.

    The timer is that of `faulthandler`, a native thread, so it also fires when a decoder hangs without releasing
    Python's lock. It prints the stacks of all threads (code, no data) to stderr. A process has one such timer.

    Args:
        timeout_s: Seconds without progress.
    """

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._active = 0
        self._armed_s = float("-inf")
        self._lock = threading.Lock()

    def begin(self) -> None:
        """Note that a shard begins."""
        with self._lock:
            self._active += 1
            self._arm()

    def progress(self) -> None:
        """Note progress. It is cheap enough to be called for every file, batch and answer."""
        if time.monotonic() - self._armed_s > _REARM_S:
            with self._lock:
                if self._active:
                    self._arm()

    def end(self) -> None:
        """Note that a shard has ended."""
        with self._lock:
            self._active -= 1
            if self._active:
                self._arm()
            else:
                faulthandler.cancel_dump_traceback_later()

    def _arm(self) -> None:
        self._armed_s = time.monotonic()
        faulthandler.dump_traceback_later(self._timeout_s, exit=True, file=_STDERR)
