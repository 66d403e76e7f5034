"""Keeps the requests of a whole run below the limits of `input.dicomweb`.

A permit is taken before each request and given back after it. A `PermitBook` hands them out. A process that is alone
has a book of its own. In a run, one book lies in an actor beside the driver, and all workers share it
(`diagchd_batch.cluster.request_permits`). To divide the limit among the actors instead was set aside: with fewer
requests in flight than actors the parts would be zero, how many actors there will be is not known on a cluster that
grows, and the last actor at work could use only its part. A call of a Ray actor takes about a millisecond, which is
little beside a request to a PACS.
"""

import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

LEASE_S = 30.0
"""Seconds after which the permits of a holder that was not heard of count as given back: its process has died."""

RENEWAL_S = 5.0
"""Seconds between two signs of life of a holder."""

POLL_S = 0.05
"""Seconds until a holder asks again if all permits are taken."""


class Permits(Protocol):
    """What hands out permits."""

    def take(self, holder: str, n_held: int) -> float:
        """Return 0 if the holder gets one more permit, else the seconds after which it should ask again.

        Args:
            holder: A token of the process that asks.
            n_held: The number of permits that it has.
        """
        ...

    def renew(self, holder: str, n_held: int) -> None:
        """Note that a holder lives.

        Args:
            holder: A token of the process.
            n_held: The number of permits that it has.
        """
        ...


class PermitBook:
    """Hands out permits: no more at a time and no more in a second than the limits allow. Any thread may call it.

    Each call of a holder says how many permits it has, so that a lost message cannot make the book wrong for ever.
    """

    def __init__(
        self,
        max_in_flight: int,
        max_per_second: float,
        clock: Callable[[], float] = time.monotonic,
        quiet_s: float = 0.0,
    ) -> None:
        """Make an empty book.

        Args:
            max_in_flight: Largest number of permits at a time.
            max_per_second: Largest number of permits that are given out in a second. They are evenly spaced.
            clock: Returns the present time in seconds.
            quiet_s: Seconds in which no permit is given out, for a book that was lost and waits for the holders of the
                permits that it does not know of.
        """
        self._max_in_flight = max_in_flight
        self._interval_s = 1.0 / max_per_second
        self._clock = clock
        self._lock = threading.Lock()
        self._next_s = clock() + quiet_s
        self._held: dict[str, tuple[int, float]] = {}  # holder → its permits, and when it was last heard of

    def take(self, holder: str, n_held: int) -> float:
        """See `Permits.take`."""
        with self._lock:
            now_s = self._clock()
            self._note(holder, n_held, now_s)
            if now_s < self._next_s:
                return self._next_s - now_s
            if sum(number for number, _ in self._held.values()) >= self._max_in_flight:
                return POLL_S
            self._held[holder] = (n_held + 1, now_s)
            self._next_s = now_s + self._interval_s
            return 0.0

    def renew(self, holder: str, n_held: int) -> None:
        """See `Permits.renew`."""
        with self._lock:
            self._note(holder, n_held, self._clock())

    def _note(self, holder: str, n_held: int, now_s: float) -> None:
        self._held[holder] = (n_held, now_s)
        lost = [name for name, (number, heard_s) in self._held.items() if not number or now_s - heard_s > LEASE_S]
        for name in lost:
            del self._held[name]


class RequestLimit:
    """The limit as one process sees it. Any thread may use it.

    Args:
        permits: The book, or a stand-in for it in another process.
        sleep: Waits for some seconds.
    """

    def __init__(self, permits: Permits, sleep: Callable[[float], None] = time.sleep) -> None:
        self._permits = permits
        self._sleep = sleep
        self._holder = secrets.token_hex(8)
        self._turn = threading.Lock()  # only one thread asks at a time, so that a long queue does not ask often
        self._count = threading.Lock()
        self._n_held = 0
        self._renewer: threading.Thread | None = None

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Wait for a permit, and hold it within the block."""
        with self._turn:
            while wait_s := self._take():
                self._sleep(min(wait_s, RENEWAL_S))
        try:
            yield
        finally:
            with self._count:
                self._n_held -= 1
                self._permits.renew(self._holder, self._n_held)

    def _take(self) -> float:
        with self._count:
            wait_s = self._permits.take(self._holder, self._n_held)
            if not wait_s:
                self._n_held += 1
                self._keep_renewing()
            return wait_s

    def _keep_renewing(self) -> None:
        """Start a thread that renews the permits for as long as there are any."""
        if self._renewer is None:
            self._renewer = threading.Thread(target=self._renew, name="dicomweb-permits", daemon=True)
            self._renewer.start()

    def _renew(self) -> None:
        while True:
            time.sleep(RENEWAL_S)
            with self._count:
                if not self._n_held:
                    self._renewer = None
                    return
                self._permits.renew(self._holder, self._n_held)
