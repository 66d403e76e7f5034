"""The largest amount of memory that this process has used."""

from pathlib import Path


def peak_bytes() -> int:
    """Return the peak of the resident memory since this program was started, or since `forget_peak`.

    The peak of `getrusage` would be at least the memory that the parent had when it started this process.
    """
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) << 10


def forget_peak() -> None:
    """Reset the peak to the current memory of the process."""
    Path("/proc/self/clear_refs").write_text("5")
