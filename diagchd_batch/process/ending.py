"""Ends this process with the exit code of its command, whatever a library does while the interpreter ends."""

import os
import sys
from contextlib import suppress
from typing import NoReturn


def end_process(exit_code: int) -> NoReturn:
    """End this process with `exit_code`.

    Ray's library can crash while the interpreter ends if its processes were killed from outside. The exit code would
    then be that of the crash, although the command had said what happened and what to do. Where Ray was used, the
    interpreter is therefore not taken apart: all files have been closed by their blocks when this is called.

    Args:
        exit_code: The exit code of the command, from 0 to 255.
    """
    if "ray" not in sys.modules:
        sys.exit(exit_code)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # its reader is gone, or it was closed
            stream.flush()
    os._exit(exit_code)
