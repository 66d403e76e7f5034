"""Says that a command still works, and which storage it waits for, before it was silent for ten seconds."""

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from diagchd_batch.cli.console import duration
from diagchd_batch.escaping import for_console
from diagchd_batch.process.native_stderr import written_past_silence
from diagchd_batch.process.waits import WAITS_LOGGER

SILENT_AT_MOST_S = 8.0
LINE_INTERVAL_S = 5.0
"""Seconds between lines of progress where there is no terminal. No line about silence may fall between two of them, and
they may come late on a busy machine."""
_CHECKED_EVERY_S = 0.5


class _NotedStream:
    """A stream that says when something is written to it. All else is left to the stream itself."""

    def __init__(self, stream: Any, note: Callable[[], None]) -> None:
        self._stream = stream
        self._note = note

    def write(self, text: str) -> int:
        """Write text, and note it."""
        self._note()
        return int(self._stream.write(text) or 0)

    def __getattr__(self, name: str) -> Any:
        """Return the stream's own attribute."""
        return getattr(self._stream, name)


class _LatestWait(logging.Handler):
    """Keeps the latest message about storage that does not answer."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self._text = ""
        self._said_at_s = float("-inf")

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the message."""
        self._text, self._said_at_s = record.getMessage(), time.monotonic()

    def since(self, moment_s: float) -> str:
        """Return the message if it came after a moment of the monotonic clock, else nothing."""
        return self._text if self._said_at_s >= moment_s else ""


@contextmanager
def no_long_silence(silent_at_most_s: float = SILENT_AT_MOST_S) -> Iterator[None]:
    """Print a line to stderr whenever the block has printed nothing for some seconds.

    Args:
        silent_at_most_s: The seconds.
    """
    began_s = last_s = time.monotonic()
    ended = threading.Event()
    waits = _LatestWait()
    logger = logging.getLogger(WAITS_LOGGER)
    out, err = sys.stdout, sys.stderr

    def note() -> None:
        nonlocal last_s
        last_s = time.monotonic()

    def watch() -> None:
        while not ended.wait(min(_CHECKED_EVERY_S, silent_at_most_s / 4)):
            if time.monotonic() - last_s >= silent_at_most_s:
                wait = waits.since(last_s)
                text = f"still at work after {duration(time.monotonic() - began_s)}{wait and f': {wait}'}"
                note()
                if not written_past_silence(f"{for_console(text)}\n"):
                    print(for_console(text), file=err, flush=True)

    level = logger.level
    logger.addHandler(waits)
    logger.setLevel(logging.INFO)
    sys.stdout, sys.stderr = _NotedStream(out, note), _NotedStream(err, note)
    watcher = threading.Thread(target=watch, name="silence", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()
        sys.stdout, sys.stderr = out, err
        logger.removeHandler(waits)
        logger.setLevel(level)
