"""Waiting between attempts."""

import random
import time

FIRST_WAIT_S = 0.1
LONGEST_WAIT_S = 20.0


class Backoff:
    """Exponential waits with full jitter, until `timeout_s` since the beginning have passed.

    Full jitter (a wait drawn uniformly from 0 to the exponential bound) keeps many workers that were throttled at the
    same moment from coming back at the same moment.
    """

    def __init__(self, timeout_s: float) -> None:
        self._deadline = time.monotonic() + timeout_s
        self._bound_s = FIRST_WAIT_S

    @property
    def expired(self) -> bool:
        return time.monotonic() >= self._deadline

    def wait(self) -> bool:
        """Sleep before the next attempt; False, at once, where none is left."""
        left_s = self._deadline - time.monotonic()
        if left_s <= 0:
            return False
        time.sleep(min(random.uniform(0, self._bound_s), left_s))
        self._bound_s = min(2 * self._bound_s, LONGEST_WAIT_S)
        return True
