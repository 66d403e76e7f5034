"""A bound on bytes in use, shared among threads."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class ByteBudget:
    """Lends bytes up to `total`; a borrower waits for others to give theirs back.

    Whoever borrows must not wait for another borrower while holding bytes; then no order of calls can deadlock. A
    demand above `total` is cut to it: such a borrower runs alone.
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._free = total
        self._changed = threading.Condition()

    @contextmanager
    def borrow(self, size_bytes: int) -> Iterator[None]:
        amount = min(size_bytes, self._total)
        with self._changed:
            self._changed.wait_for(lambda: self._free >= amount)
            self._free -= amount
        try:
            yield
        finally:
            with self._changed:
                self._free += amount
                self._changed.notify_all()
