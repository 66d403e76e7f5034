"""Temporary files on this machine's own disk."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from diagchd_batch.errors import RunFault
from diagchd_batch.process.owner_only_directory import private_directory
from diagchd_batch.process.trusted_tmpdir import temporary_base


@contextmanager
def scratch_directory() -> Iterator[Path]:
    """Make an empty directory for temporary files, which only this user can enter, and remove it after the block.

    If the process is killed, the next start removes the directory. Use `scratch_file` for a single file.

    Raises:
        RunFault: The directory cannot be made, or there is no place that is safe from other users.
    """
    with private_directory() as directory:
        yield directory


@contextmanager
def scratch_file() -> Iterator[BinaryIO]:
    """Open an empty temporary file for reading and writing, and close it after the block.

    The file has no name. It therefore ends with its process, even if that is killed, and nobody can open it or put
    another file in its place.

    Raises:
        RunFault: The file cannot be made, or there is no place that is safe from other users.
    """
    base = temporary_base()
    with scratch_faults():
        file = tempfile.TemporaryFile(dir=base)  # noqa: SIM115 - closing it may fail, and then only the disk is full
    try:
        yield file
    finally:
        with suppress(OSError):
            file.close()


@contextmanager
def scratch_faults() -> Iterator[None]:
    """Return a context manager for writing temporary files, in which an OSError such as a full disk becomes a RunFault.

    Otherwise a full disk here would look like damage to the file that is copied or derived.

    Raises:
        RunFault: A temporary file cannot be written.
    """
    try:
        yield
    except OSError as error:
        raise RunFault(
            f"cannot write below the temporary directory {temporary_base()}: {os.strerror(error.errno or 0)}; "
            "free some space or set TMPDIR, then give the same command again"
        ) from error
