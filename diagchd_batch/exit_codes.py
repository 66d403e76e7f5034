"""The exit codes of the commands."""

from enum import IntEnum


class ExitCode(IntEnum):
    """What a command ends with. People script against these numbers, so they never change their meaning."""

    DONE = 0
    FAILED = 1
    """A fault of the run. What is committed stays, and the same command resumes the run."""
    USAGE = 2
    """The command line, the job file, an input table or the platform is not usable as it is."""
    FAILED_INPUTS = 3
    """The run is done, and some inputs became failed rows."""
    FINGERPRINT_MISMATCH = 4
    """The run that was named exists under other settings."""
    INTERRUPTED = 130
    """SIGINT (Ctrl-C); 128 plus the number of the signal, as shells report it."""
    TERMINATED = 143
    """SIGTERM."""
