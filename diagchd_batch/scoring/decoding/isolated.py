"""Decodes in a child process with limits on memory and time. A file can then kill or hang only the child."""

import os
import platform
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from diagchd_batch.errors import ItemError, RunFault
from diagchd_batch.failure_codes import FailureCode
from diagchd_batch.images.formats import ByteRanges
from diagchd_batch.images.identifying import CollectedValues, IdentifyingValue
from diagchd_batch.images.identifying.values import NOTHING_COLLECTED
from diagchd_batch.scoring.decoding.in_process import DecodeSettings, GridFrame, MaskRequest
from diagchd_batch.scoring.decoding.messages import (
    metadata_from_json,
    receive,
    region_from_json,
    send,
    settings_to_json,
)

T = TypeVar("T")

DEATHS_PER_FILE = 2
"""A file is blamed when its child has died or hung this often. A single death may be the fault of the machine."""

KILL_PAUSES_S = (1.0, 5.0, 20.0, 60.0)
"""Pauses before a file is tried again whose child was killed from outside. After the last one the run stops."""

_OUTSIDE_SIGNALS = {-signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT, -signal.SIGHUP}
"""Exit statuses of a child that was killed by the kernel, when memory ran out, or by a person."""

_GREEDY_SHARE = 0.5
"""A killed child that had used more than this share of its memory limit is taken to have used up the memory itself."""

_POLL_INTERVAL_S = 0.05
_EVENT_INTERVAL_S = 1.0
_PEAK = re.compile(r"^VmHWM:\s*(\d+) kB$", re.MULTILINE)
_START_TIMEOUT_S = 60.0
_CHILD_ENVIRONMENT = ("PATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "HOME", "TMPDIR")  # no credentials among them


class _ChildError(Exception):
    """The child died (`worker_crashed`) or did not answer in time (`decode_timeout`)."""

    def __init__(self, code: FailureCode, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


class _KilledError(Exception):
    """The child was killed from outside, and had not used much memory."""

    def __init__(self, status: int) -> None:
        super().__init__(signal.Signals(-status).name)


class _Child:
    """One decoder process, which answers one request at a time."""

    def __init__(self, settings: DecodeSettings, memory_bytes: int) -> None:
        ours, theirs = Pipe()
        environment = {name: os.environ[name] for name in _CHILD_ENVIRONMENT if name in os.environ}
        environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
        environment["OPENBLAS_NUM_THREADS"] = "1"  # the memory of each thread would count against the limit
        with theirs:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-P",  # nothing is imported from the working directory
                    "-m",
                    "diagchd_batch.scoring.decoding.child_main",
                    str(theirs.fileno()),
                    str(os.getpid()),
                    settings_to_json(settings, memory_bytes),
                ],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # warnings of a decoder may show what a file contains
                env=environment,
            )
        self._connection: Connection = ours
        self._started = False
        self._memory_bytes = memory_bytes
        self._peak_bytes = 0

    def ask(self, header: dict[str, Any], data: bytes, timeout_s: float) -> tuple[dict[str, Any], bytes]:
        try:
            send(self._connection, header, data)
            if not self._answers_within(timeout_s if self._started else timeout_s + _START_TIMEOUT_S):
                raise _ChildError(FailureCode.DECODE_TIMEOUT, f"no answer within {timeout_s:g} s")
            answer = receive(self._connection)
        except (EOFError, OSError):
            status = self._process.wait()
            if status in _OUTSIDE_SIGNALS and self._peak_bytes < _GREEDY_SHARE * self._memory_bytes:
                raise _KilledError(status) from None
            raise _ChildError(FailureCode.WORKER_CRASHED, f"the decoder's process ended with status {status}") from None
        self._started = True
        return answer

    def _answers_within(self, timeout_s: float) -> bool:
        """Wait for an answer, and record the peak memory of the child meanwhile.

        The peak cannot be read after the child has died: its `ru_maxrss` is never less than the memory that the parent
        had when it started the child.
        """
        deadline_s = time.monotonic() + timeout_s
        while not self._connection.poll(min(_POLL_INTERVAL_S, max(0.0, deadline_s - time.monotonic()))):
            if time.monotonic() >= deadline_s:
                return False
            with suppress(OSError):  # elsewhere than on Linux the peak stays 0
                if peak := _PEAK.search(Path(f"/proc/{self._process.pid}/status").read_text()):
                    self._peak_bytes = max(self._peak_bytes, int(peak[1]) << 10)
        return True

    def end(self) -> None:
        self._connection.close()
        self._process.kill()
        self._process.wait()


class IsolatedDecoder:
    """A `Decoder` that forwards its requests to a child process, and replaces the child when it dies or hangs.

    A file whose child died or hung twice raises ItemError (`worker_crashed` or `decode_timeout`), and does so at once
    for every further request. For a mask the code is `mask_unreadable`, and the image itself is not blamed.

    A child that was killed from outside tells nothing about its file. The file is tried again after a pause. If its
    children are killed repeatedly, RunFault names the node.
    """

    opens_parts = False
    concurrent_frames = False
    has_frame_offsets = False

    def __init__(
        self,
        settings: DecodeSettings,
        *,
        timeout_s: float,
        memory_bytes: int,
        on_event: Callable[[], None] = lambda: None,
    ) -> None:
        """Prepare a decoder. The child is started with the first request.

        Args:
            settings: How files are decoded.
            timeout_s: The longest time for one answer, in seconds.
            memory_bytes: The limit on the memory of the child.
            on_event: Called after every answer, every death and about every second of a pause, for a watchdog.
        """
        self._settings = settings
        self._timeout_s = timeout_s
        self._memory_bytes = memory_bytes
        self._on_event = on_event
        self._child: _Child | None = None
        self._data: bytes | None = None
        self._opened_in: _Child | None = None
        self._deaths = 0
        self._kills = 0
        self._verdict: ItemError | None = None

    def open(self, data: bytes | ByteRanges) -> int:
        """See `Decoder.open`."""
        assert isinstance(data, bytes), "the child gets whole files"
        self._data, self._opened_in, self._verdict = data, None, None
        self._deaths = self._kills = 0
        return self._blaming_the_image(lambda: self._open_in(self._running_child()))

    def frame(self, index: int) -> GridFrame:
        """See `Decoder.frame`."""
        return self._blaming_the_image(lambda: self._frame(index))

    def stored_bytes(self, index: int) -> bytes:
        """See `Decoder.stored_bytes`. No file is opened in parts.

        Raises:
            ValueError: Always.
        """
        raise ValueError("no file is open in parts")

    def mask(self, data: bytes, request: MaskRequest) -> np.ndarray:
        """See `Decoder.mask`."""
        deaths = 0
        self._kills = 0
        while True:
            try:
                _, values = self._ask(self._running_child(), {"do": "mask", **asdict(request)}, data)
            except _ChildError as error:
                deaths += 1
                if deaths == DEATHS_PER_FILE:
                    raise ItemError(FailureCode.MASK_UNREADABLE, f"{error.code}: {error.detail}, twice") from error
            except _KilledError as killed:
                self._wait_after(killed)
            else:
                return np.frombuffer(values, np.uint8).reshape(self._settings.height, self._settings.width)

    def identifying_values(self, mask: bytes | None = None) -> CollectedValues:
        """See `Decoder.identifying_values`. A file whose child dies has none, and is not blamed for it."""
        try:
            child = self._running_child()
            if mask is None and self._opened_in is not child:
                with suppress(ItemError):  # the child has the headers of a file that it cannot open
                    self._open_in(child)
            answer, _ = self._ask(child, {"do": "identifying_values", "of_mask": mask is not None}, mask or b"")
        except (_ChildError, _KilledError):
            return NOTHING_COLLECTED
        return CollectedValues(tuple(IdentifyingValue(*pair) for pair in answer["values"]), answer["complete"])

    def close(self) -> None:
        """See `Decoder.close`."""
        if self._child is not None:
            self._child.end()
        self._child = self._data = self._opened_in = None

    def _open_in(self, child: _Child) -> int:
        if self._data is None:
            raise ValueError("no file is open")
        answer, _ = self._ask(child, {"do": "open"}, self._data)
        self._opened_in = child
        return int(answer["n_frames"])

    def _frame(self, index: int) -> GridFrame:
        child = self._running_child()
        if self._opened_in is not child:
            self._open_in(child)
        header, pixels = self._ask(child, {"do": "frame", "index": index})
        image_hwc_u8 = np.frombuffer(pixels, np.uint8).reshape(self._settings.height, self._settings.width, 3)
        metadata = metadata_from_json(header["metadata"])
        region = region_from_json(header["region"])
        return GridFrame(image_hwc_u8, header["source_height"], header["source_width"], metadata, region)

    def _blaming_the_image(self, attempt: Callable[[], T]) -> T:
        """Call `attempt` until it succeeds or the file is blamed for the deaths of its children."""
        while self._verdict is None:
            try:
                return attempt()
            except _ChildError as error:
                self._deaths += 1
                if self._deaths == DEATHS_PER_FILE:
                    self._verdict = ItemError(error.code, f"{error.detail}, twice, in a separate process")
            except _KilledError as killed:
                self._wait_after(killed)
        raise self._verdict

    def _wait_after(self, killed: _KilledError) -> None:
        if self._kills == len(KILL_PAUSES_S):
            raise RunFault(
                f"the process that decodes a file was killed {self._kills + 1} times on node {platform.node()} "
                f"({killed}), although it had used little memory; most likely the node's memory is used up. Give "
                "workers more memory, or run fewer of them on a node; if it is always the same shard, set "
                "limits.decode_memory_bytes to less than the node can spare. Then give the same command again"
            )
        end_s = time.monotonic() + KILL_PAUSES_S[self._kills]
        self._kills += 1
        while (left_s := end_s - time.monotonic()) > 0:
            time.sleep(min(left_s, _EVENT_INTERVAL_S))
            self._on_event()

    def _running_child(self) -> _Child:
        if self._child is None:
            try:
                self._child = _Child(self._settings, self._memory_bytes)
            except OSError as error:
                raise RunFault(
                    f"no process can be started for decoding: {os.strerror(error.errno or 0)}; check the memory of "
                    "this machine and its limits of processes and open files, then give the same command again"
                ) from error
        return self._child

    def _ask(self, child: _Child, header: dict[str, Any], data: bytes = b"") -> tuple[dict[str, Any], bytes]:
        try:
            answer, payload = child.ask(header, data, self._timeout_s)
        except (_ChildError, _KilledError):
            child.end()
            self._child = None
            raise
        finally:
            self._on_event()
        if "code" in answer:
            raise ItemError(FailureCode(answer["code"]), answer["detail"])
        return answer, payload
