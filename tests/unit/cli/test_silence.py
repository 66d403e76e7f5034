"""A command that waits says so before it was silent for long."""

import os
import sys
import time
from typing import Any

import pytest

from diagchd_batch.cli.silence import SILENT_AT_MOST_S, no_long_silence
from diagchd_batch.process.native_stderr import native_stderr_silenced
from diagchd_batch.process.waits import note_wait
from diagchd_batch.sources.registry import SourceOptions
from diagchd_batch.sources.s3 import prefix as s3_prefix
from diagchd_batch.sources.s3.prefix import RequestFailedError, S3Prefix


def _wait_for(capsys: pytest.CaptureFixture[str], text: str) -> str:
    printed = ""
    end_s = time.monotonic() + 60
    while text not in printed and time.monotonic() < end_s:
        time.sleep(0.02)
        printed += capsys.readouterr().err
    return printed


def test_a_silent_command_says_that_it_works_and_what_it_waits_for(capsys: pytest.CaptureFixture[str]) -> None:
    with no_long_silence(0.05):
        assert "still at work after" in _wait_for(capsys, "still at work")
        note_wait("s3://bucket", "ConnectTimeoutError", 20)
        note_wait("s3://bucket/\x1b[31m", "ConnectTimeoutError", 20)
        printed = _wait_for(capsys, "no answer from")
    assert "no answer from s3://bucket" in printed and "\x1b" not in printed
    capsys.readouterr()
    time.sleep(0.2)
    assert capsys.readouterr().err == ""  # after the end nothing more is said


def test_a_silent_command_is_heard_while_libraries_are_not(capfd: pytest.CaptureFixture[str]) -> None:
    """Ray and TensorFlow start for half a minute within such a block, and print greetings."""
    with no_long_silence(0.05), native_stderr_silenced():
        os.write(2, b"a greeting\n")
        printed = _wait_for(capfd, "still at work after")
    assert "still at work after" in printed and "a greeting" not in printed
    os.write(2, b"an error\n")
    assert "an error" in capfd.readouterr().err


def test_a_command_that_prints_is_not_disturbed(capsys: pytest.CaptureFixture[str]) -> None:
    out, err = sys.stdout, sys.stderr
    with no_long_silence(60):
        print("a result")
        print("a message", file=sys.stderr)
        assert sys.stderr.isatty() == err.isatty()
    assert (sys.stdout, sys.stderr) == (out, err)
    assert capsys.readouterr() == ("a result\n", "a message\n")
    assert SILENT_AT_MOST_S < 10


def test_each_failed_request_to_storage_is_noted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    noted: list[tuple[Any, ...]] = []
    monkeypatch.setattr(s3_prefix, "note_wait", lambda *wait: noted.append(wait))
    prefix = S3Prefix("s3://bucket/x", SourceOptions(object_timeout_s=0.2))
    monkeypatch.setattr(prefix.clients, "get", lambda: None)

    def refuse(client: Any) -> None:
        raise ConnectionRefusedError

    with pytest.raises(RequestFailedError):
        prefix.request(refuse)
    assert set(noted) == {("s3://bucket/x", "ConnectionRefusedError", 0.2)}
