"""Running a function as an ordinary user, since root may read and write whatever its mode bits say."""

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
    """What `function` returns, or raises, in a forked child without privileges; called directly if we have none."""
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
    """A temporary directory that ordinary users can enter and write to (pytest's own are closed to them)."""
    directory = Path(tempfile.mkdtemp())
    directory.chmod(0o777)
    try:
        yield directory
    finally:
        for path in directory.rglob("*"):
            if path.is_dir() and not path.is_symlink():
                path.chmod(0o700)
        shutil.rmtree(directory)
