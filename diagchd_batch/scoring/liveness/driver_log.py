"""The log of a run's driver, kept in the private tree, where it outlives the driver's machine or cluster."""

import sys
import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import Self

from diagchd_batch import output_layout
from diagchd_batch.errors import ItemError, StorageFault
from diagchd_batch.escaping import for_console
from diagchd_batch.scoring.liveness.heartbeats import INTERVAL_S
from diagchd_batch.storage import Store

PART_CHARACTERS = 100_000
"""Full parts are not written again; otherwise a long run would write its whole log every few seconds."""


class DriverLog:
    """The messages of one driver, each printed to stderr at once. Use it as a context manager.

    After `keep`, all messages are also written to the private tree, every few seconds and when the block is left. A
    driver that is killed leaves what was written until then. Storage that fails for a while only delays it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._parts = [""]
        self._first_unwritten = 0
        self._is_changed = False
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None

    def write(self, line: str) -> None:
        """Print and keep one message, given without a line end. Any thread may call it."""
        print(for_console(line), file=sys.stderr, flush=True)
        self.note(line)

    def note(self, line: str) -> None:
        """Keep one message that the caller prints itself."""
        with self._lock:
            if len(self._parts[-1]) > PART_CHARACTERS:
                self._parts.append("")
            self._parts[-1] += line + "\n"
            self._is_changed = True

    def text(self) -> str:
        """Return the messages so far, without those parts that are already written."""
        with self._lock:
            return "".join(self._parts)

    def keep(self, private: Store, run_id: str, submission: str) -> None:
        """Start to write the log of a submission to the private tree.

        Args:
            private: The private tree, opened with a short timeout.
            run_id: The run's id.
            submission: The submission's id.
        """
        if self._thread is None:
            # with the time, a run's logs sort in their order
            name = f"{time.time_ns() // 1_000_000:013d}-{submission}"
            self._thread = threading.Thread(target=self._run, args=(private, run_id, name), name="run-log", daemon=True)
            self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.set()
        if self._thread:
            self._thread.join()

    def _run(self, private: Store, run_id: str, name: str) -> None:
        while not self._ending.wait(INTERVAL_S):
            self._save(private, run_id, name)
        self._save(private, run_id, name)

    def _save(self, private: Store, run_id: str, name: str) -> None:
        with self._lock:
            if not self._is_changed:
                return
            first, parts = self._first_unwritten, self._parts[self._first_unwritten :]
            self._is_changed = False
        try:
            for number, text in enumerate(parts, first):
                private.replace(output_layout.log_part(run_id, name, number), text.encode())
        except (StorageFault, ItemError):
            with self._lock:
                self._is_changed = True  # all of it is written again next time
            return
        with self._lock:
            self._first_unwritten = first + len(parts) - 1
            for number in range(self._first_unwritten):
                self._parts[number] = ""


def read_log(private: Store, run_id: str) -> str | None:
    """Return the log of a run's latest driver as far as it was written, or None if no driver left one.

    Args:
        private: The private tree.
        run_id: The run's id.
    """
    keys = (info.key for info in private.list(output_layout.logs_prefix(run_id)))
    parts = [match for match in map(output_layout.LOG_PART.fullmatch, keys) if match]
    if not parts:
        return None
    latest = max(part["name"] for part in parts)
    text = ""
    for number in sorted(int(part["part"]) for part in parts if part["name"] == latest):
        with suppress(ItemError):
            text += private.read(output_layout.log_part(run_id, latest, number)).decode()
    return text
