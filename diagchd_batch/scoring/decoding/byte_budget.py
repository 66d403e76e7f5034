"""A limit on bytes in use, shared by threads."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class ByteBudget:
    """Lends bytes to threads. A thread waits until enough bytes are free.

    A thread must not wait for another borrower while it holds bytes; then no order of calls can deadlock.
    """

    def __init__(self, total_bytes: int) -> None:
        """Start with `total_bytes` free bytes."""
        self._total_bytes = total_bytes
        self._free_bytes = total_bytes
        self._changed = threading.Condition()

    @contextmanager
    def borrow(self, size_bytes: int) -> Iterator[None]:
        """Hold bytes for the duration of a `with` block, and wait for them first if necessary.

        Args:
            size_bytes: How many bytes to hold. More than the budget's total counts as the total, so that such a
                borrower runs alone.
        """
        amount = min(size_bytes, self._total_bytes)
        with self._changed:
            self._changed.wait_for(lambda: self._free_bytes >= amount)
            self._free_bytes -= amount
        try:
            yield
        finally:
            with self._changed:
                self._free_bytes += amount
                self._changed.notify_all()
