"""Turns the errors and warnings of a command or job into messages on stderr, and an error into an exit code."""

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from diagchd_batch.cli.console import fail, say
from diagchd_batch.errors import DiagchdBatchError, ItemError
from diagchd_batch.exit_codes import ExitCode


@contextmanager
def errors_as_exit_codes() -> Iterator[None]:
    """Return a context manager in which a user's mistake ends the process with its message, never with a traceback.

    Warnings become messages too.

    Raises:
        SystemExit: An error ended the block. Its code is that of the error.
    """
    try:
        with warnings.catch_warnings():
            # Their texts can repeat what stands in damaged files.
            warnings.showwarning = lambda message, *_, **__: say(f"warning: {message}")
            yield
    except DiagchdBatchError as error:
        fail(str(error))
        sys.exit(error.exit_code)
    except ItemError as error:
        # It comes from a file of the output's own, because errors of images become rows.
        fail(f"a file that this command needs cannot be read: {error}; check its rights and the storage")
        sys.exit(ExitCode.FAILED)
    except KeyboardInterrupt:
        fail("interrupted")
        sys.exit(ExitCode.INTERRUPTED)
    except BrokenPipeError:
        # The reader of our output (`| head`) is gone. That needs no message, and stdout must not be flushed again.
        sys.stderr.close()
        sys.exit(ExitCode.FAILED)
    except OSError as error:
        if error.filename is None:
            raise
        fail(f"{error.filename}: {error.strerror}; check the path, its rights and the space on its disk")
        sys.exit(ExitCode.FAILED)
