"""Temporary files on this machine's own disk."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from diagchd_batch.errors import RunFault


@contextmanager
def scratch_faults() -> Iterator[None]:
    """Turn an OSError while a temporary file is written, such as a full disk, into a RunFault.

    Otherwise a full disk here would look like damage to the file that is copied or derived.
    """
    try:
        yield
    except OSError as error:
        raise RunFault(
            f"cannot write below the temporary directory {tempfile.gettempdir()}: {os.strerror(error.errno or 0)}; "
            "free some space or set TMPDIR, then give the same command again"
        ) from error
