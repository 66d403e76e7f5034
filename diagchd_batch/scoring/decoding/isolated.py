"""Decodes in a child process with limits on memory and time, so that a file can kill or hang no more than the child."""

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
from diagchd_batch.failures import FailureCode
from diagchd_batch.scoring.decoding.in_process import DecodeSettings, GridFrame, MaskRequest
from diagchd_batch.scoring.decoding.messages import receive, send, settings_to_json

T = TypeVar("T")

DEATHS_PER_FILE = 2
"""A file is at fault once its own child died or hung so often; once may be the machine's doing."""

KILL_PAUSES_S = (1.0, 5.0, 20.0, 60.0)
"""Before a file is tried again whose child was killed from outside; killed once more, and the run stops."""

_FROM_OUTSIDE = {-signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT, -signal.SIGHUP}
"""No decoder sends these to itself: the kernel does when memory runs out, or a person."""

_OWN_SHARE = 0.5
"""Of its memory limit: a child that had taken more when it was killed is taken to have used memory up itself."""

_POLL_INTERVAL_S = 0.05
_SIGN_OF_LIFE_S = 1.0
_PEAK = re.compile(r"^VmHWM:\s*(\d+) kB$", re.MULTILINE)
_START_TIMEOUT_S = 60.0
_CHILD_ENVIRONMENT = ("PATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "HOME", "TMPDIR")  # no credentials


class _ChildError(Exception):
    """The child died (`worker_crashed`) or gave no answer in time (`decode_timeout`)."""

    def __init__(self, code: FailureCode, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


class _KilledError(Exception):
    """The child was killed from outside, for no greed of its own."""

    def __init__(self, status: int) -> None:
        super().__init__(signal.Signals(-status).name)


class _Child:
    """One decoder process, answering one request at a time."""

    def __init__(self, settings: DecodeSettings, memory_bytes: int) -> None:
        ours, theirs = Pipe()
        environment = {name: os.environ[name] for name in _CHILD_ENVIRONMENT if name in os.environ}
        environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
        environment["OPENBLAS_NUM_THREADS"] = "1"  # each thread's arena would count against the memory limit
        with theirs:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "diagchd_batch.scoring.decoding.child_main",
                    str(theirs.fileno()),
                    str(os.getpid()),
                    settings_to_json(settings, memory_bytes),
                ],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # decoders' own warnings may show what a file holds
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
            if status in _FROM_OUTSIDE and self._peak_bytes < _OWN_SHARE * self._memory_bytes:
                raise _KilledError(status) from None
            raise _ChildError(FailureCode.WORKER_CRASHED, f"the decoder's process ended with status {status}") from None
        self._started = True
        return answer

    def _answers_within(self, timeout_s: float) -> bool:
        """Keeps account of the child's memory meanwhile: once it is dead, nobody can tell any more what it took. (Its
        `ru_maxrss` cannot: that is never less than what its parent had when it was started.)
        """
        deadline_s = time.monotonic() + timeout_s
        while not self._connection.poll(min(_POLL_INTERVAL_S, max(0.0, deadline_s - time.monotonic()))):
            if time.monotonic() >= deadline_s:
                return False
            with suppress(OSError):  # Linux; elsewhere a child that is killed was never greedy
                if peak := _PEAK.search(Path(f"/proc/{self._process.pid}/status").read_text()):
                    self._peak_bytes = max(self._peak_bytes, int(peak[1]) << 10)
        return True

    def end(self) -> None:
        self._connection.close()
        self._process.kill()
        self._process.wait()


class IsolatedDecoder:
    """A `Decoder` that forwards to a child process, replacing it whenever it dies or hangs.

    For one thread. `on_event` is called after every answer and every death: signs of life for a watchdog. A file whose
    child died or hung twice raises ItemError(`worker_crashed` or `decode_timeout`), at once for every further request;
    for a mask it is `mask_unreadable`, and the image itself is not blamed. A child that was killed from outside says
    nothing of its file: the file is tried again after a pause, and if children go on being killed, RunFault names the
    node.
    """

    def __init__(
        self,
        settings: DecodeSettings,
        *,
        timeout_s: float,
        memory_bytes: int,
        on_event: Callable[[], None] = lambda: None,
    ) -> None:
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

    def open(self, data: bytes) -> int:
        self._data, self._opened_in, self._verdict = data, None, None
        self._deaths = self._kills = 0
        return self._blaming_the_image(lambda: self._open_in(self._running_child()))

    def frame(self, index: int) -> GridFrame:
        return self._blaming_the_image(lambda: self._frame(index))

    def mask(self, data: bytes, request: MaskRequest) -> np.ndarray:
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

    def close(self) -> None:
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
        size, pixels = self._ask(child, {"do": "frame", "index": index})
        image_hwc_u8 = np.frombuffer(pixels, np.uint8).reshape(self._settings.height, self._settings.width, 3)
        return GridFrame(image_hwc_u8, size["source_height"], size["source_width"])

    def _blaming_the_image(self, attempt: Callable[[], T]) -> T:
        while self._verdict is None:
            try:
                return attempt()
            except _ChildError as error:
                self._deaths += 1
                if self._deaths == DEATHS_PER_FILE:
                    self._verdict = ItemError(error.code, f"{error.detail}, twice, in a process of its own")
            except _KilledError as killed:
                self._wait_after(killed)
        raise self._verdict

    def _wait_after(self, killed: _KilledError) -> None:
        if self._kills == len(KILL_PAUSES_S):
            raise RunFault(
                f"the process that a file is decoded in was killed {self._kills + 1} times on node {platform.node()} "
                f"({killed}), although it had taken little memory; most likely the node's memory is used up. Give "
                "workers more memory, or run fewer of them on a node; if it is always the same shard, set "
                "limits.decode_memory_bytes to less than what the node can spare. Then give the same command again"
            )
        end_s = time.monotonic() + KILL_PAUSES_S[self._kills]
        self._kills += 1
        while (left_s := end_s - time.monotonic()) > 0:
            time.sleep(min(left_s, _SIGN_OF_LIFE_S))
            self._on_event()

    def _running_child(self) -> _Child:
        if self._child is None:
            try:
                self._child = _Child(self._settings, self._memory_bytes)
            except OSError as error:
                raise RunFault(
                    f"no process can be started to decode in: {os.strerror(error.errno or 0)}; look at this machine's "
                    "memory and its limits of processes and open files, then give the same command again"
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
