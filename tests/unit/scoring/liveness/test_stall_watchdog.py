"""A worker without progress ends itself, even if a decoder never releases Python's global lock."""

import subprocess
import sys
import textwrap
import time

import pytest

SCRIPT = """
    import ctypes, threading, time
    from diagchd_batch.scoring.liveness.stall_watchdog import StallWatchdog

    watchdog = StallWatchdog(1.5)
    watchdog.begin()
    {work}
    watchdog.end()
    print("orderly")
"""


def _run(work: str) -> tuple[subprocess.CompletedProcess[str], float]:
    script = textwrap.dedent(SCRIPT).format(work=work)
    began_s = time.monotonic()
    process = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=60, text=True)
    return process, time.monotonic() - began_s


@pytest.mark.parametrize(
    "hang", ["time.sleep(50)", "ctypes.PyDLL(None).sleep(50)"], ids=["in Python", "holding its lock"]
)
def test_a_stall_ends_the_process(hang: str) -> None:
    process, seconds = _run(hang)
    assert process.returncode != 0
    assert "orderly" not in process.stdout
    assert "Timeout" in process.stderr
    assert seconds < 30


def test_progress_keeps_it_alive_and_the_end_disarms_it() -> None:
    work = (
        "[(time.sleep(0.1), watchdog.progress()) for _ in range(30)]; watchdog.end(); time.sleep(2); watchdog.begin()"
    )
    process, seconds = _run(work)
    assert process.returncode == 0, process.stderr
    assert process.stdout == "orderly\n"
    assert seconds > 5
