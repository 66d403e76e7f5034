"""Runs a function as an ordinary user, because root can read and write files whatever their mode bits are."""

import contextlib
import os
import pickle
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

NOBODY = 65534


def as_ordinary_user(function: Callable[[], Any]) -> Any:
    """Call `function` in a forked child without privileges, and return or raise what it does.

    If this process is not root, call it directly.
    """
    if os.geteuid() != 0:
        return function()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            outcome = (True, function())
        except BaseException as error:
            outcome = (False, error)
        with contextlib.suppress(BaseException), os.fdopen(writer, "wb") as pipe:
            pickle.dump(outcome, pipe)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        data = pipe.read()
    os.waitpid(child, 0)
    succeeded, value = pickle.loads(data)
    if not succeeded:
        raise value
    return value


@contextlib.contextmanager
def reachable_directory() -> Iterator[Path]:
    """Yield a temporary directory that ordinary users can enter and write to. They cannot enter pytest's own."""
    directory = Path(tempfile.mkdtemp())
    directory.chmod(0o777)
    try:
        yield directory
    finally:
        for path in directory.rglob("*"):
            if path.is_dir() and not path.is_symlink():
                path.chmod(0o700)
        shutil.rmtree(directory)
