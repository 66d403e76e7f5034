"""Runs the command line within this process, which is fast, and captures everything that a user would see."""

import io
import sys
from contextlib import nullcontext, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from unittest import mock

from diagchd_batch.cli.main import main


@dataclass(frozen=True)
class Ended:
    """The result of a command. `written` has the bytes of stdout, and `messages` the text of stderr."""

    exit_code: int
    written: bytes
    messages: str

    @property
    def printed(self) -> str:
        return self.written.decode()


def diagchd_batch(*arguments: str, stdin: str = "") -> Ended:
    """Run a command and return its result."""
    stdout, stderr = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline=""), io.StringIO()
    exit_code: object = 0
    with (
        mock.patch.object(sys, "argv", ["diagchd-batch", *arguments]),
        mock.patch.object(sys, "stdin", io.StringIO(stdin)),
        redirect_stdout(stdout),
        redirect_stderr(stderr),
        mock.patch("diagchd_batch.cli.main.no_long_silence", nullcontext),  # a busy machine would add messages
    ):
        try:
            main()
        except SystemExit as end:
            exit_code = end.code or 0
    stdout.flush()
    return Ended(int(str(exit_code)), stdout.buffer.getvalue(), stderr.getvalue())
