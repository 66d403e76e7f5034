"""The largest amount of memory that this process has used."""

from pathlib import Path


def peak_bytes() -> int:
    """Return the peak of the resident memory since this program was started, or since `forget_peak`.

    The peak that `getrusage` tells is no less than what the parent process had when it started this one.
    """
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) << 10


def forget_peak() -> None:
    """Begin the peak anew with the memory that the process has now."""
    Path("/proc/self/clear_refs").write_text("5")
