"""Turns SIGINT and SIGTERM into an exception in the main thread, so that every `finally` runs."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from diagchd_batch.exit_codes import ExitCode


class RunInterrupted(KeyboardInterrupt):
    """A KeyboardInterrupt that knows its signal. No `except Exception` swallows it."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal.Signals(signal_number).name)
        self.signal_number = signal_number

    @property
    def exit_code(self) -> ExitCode:
        """INTERRUPTED for Ctrl-C, TERMINATED for SIGTERM."""
        return ExitCode(128 + self.signal_number)


@contextmanager
def interruptible() -> Iterator[None]:
    """Raise RunInterrupted at the first SIGINT or SIGTERM within the block. A second signal has its usual effect.

    In another thread than the main thread, where signals cannot be handled, nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def handle(number: int, frame: FrameType | None) -> None:
        for other, handler in before.items():
            signal.signal(other, handler)
        raise RunInterrupted(number)

    for number in before:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
