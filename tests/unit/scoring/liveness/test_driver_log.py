"""The log that a driver leaves in the private tree."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from diagchd_batch.scoring.liveness import driver_log
from diagchd_batch.scoring.liveness.driver_log import DriverLog, read_log
from diagchd_batch.storage import open_store
from tests.support.scoring_runs import PROJECT

RUN = "a-run"


def test_what_was_said_before_and_after_the_run_is_known_is_kept_in_order(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    private = open_store(str(tmp_path), owner_only=True)
    assert read_log(private, RUN) is None
    with DriverLog() as log:
        log.write("before")
        log.keep(private, RUN, "11111111")
        log.write("after")
        log.note("shown elsewhere")
    assert read_log(private, RUN) == "before\nafter\nshown elsewhere\n"
    assert capsys.readouterr().err == "before\nafter\n"
    assert read_log(private, "another-run") is None


def test_the_latest_submission_of_a_run_is_told_from_those_before_it(tmp_path: Path) -> None:
    private = open_store(str(tmp_path), owner_only=True)
    for name in ("ffffffff", "00000000"):
        with DriverLog() as log:
            log.keep(private, RUN, name)
            log.write(name)
        time.sleep(0.002)  # The names of logs have the time in milliseconds.
    assert read_log(private, RUN) == "00000000\n"


def test_a_full_part_is_not_written_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver_log, "INTERVAL_S", 0.02)
    monkeypatch.setattr(driver_log, "PART_CHARACTERS", 100)
    private = open_store(str(tmp_path), owner_only=True)
    written = []
    replace = private.replace

    def counting(key: str, data: bytes) -> None:
        written.append(key)
        replace(key, data)

    monkeypatch.setattr(private, "replace", counting)
    lines = [f"line {number}" for number in range(60)]
    with DriverLog() as log:
        log.keep(private, RUN, "11111111")
        for line in lines:
            log.write(line)
            time.sleep(0.01)
    assert read_log(private, RUN) == "\n".join(lines) + "\n"
    parts = sorted(set(written))
    assert len(parts) >= 5
    assert written == sorted(written)  # No part is written after a later part.


def test_a_driver_that_is_killed_leaves_what_it_said_until_the_last_write(tmp_path: Path) -> None:
    program = (
        "import sys, time; from diagchd_batch.scoring.liveness import driver_log\n"
        "from diagchd_batch.storage import open_store\n"
        "driver_log.INTERVAL_S = 0.1\n"
        "log = driver_log.DriverLog()\n"
        f"log.keep(open_store({str(tmp_path)!r}, owner_only=True), {RUN!r}, '11111111')\n"
        "log.write('the last words'); time.sleep(600)\n"
    )
    private = open_store(str(tmp_path), owner_only=True)
    driver = subprocess.Popen([sys.executable, "-c", program], cwd=PROJECT)
    try:
        deadline_s = time.monotonic() + 60
        while not read_log(private, RUN):
            assert time.monotonic() < deadline_s and driver.poll() is None
            time.sleep(0.05)
    finally:
        driver.kill()
        driver.wait()
    assert read_log(private, RUN) == "the last words\n"
