"""The processor of this machine: its features, and the number of cores that this process may use."""

import os
from pathlib import Path

_FEATURES = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")
_CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def available_cores() -> int:
    """Return the number of cores, 1 or more, that the affinity and the container's quota leave to this process.

    `os.cpu_count()` counts all cores of the machine. Threads that are sized by it only take turns in a container or a
    batch job that has a few of many cores.
    """
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, _, period = _CPU_QUOTA.read_text(encoding="ascii").strip().partition(" ")  # such as "150000 100000"
    except OSError:
        return affinity
    if quota.isdigit() and period.isdigit():  # "max 100000" is no limit
        return max(1, min(affinity, int(quota) // int(period)))
    return affinity


def processor_features() -> tuple[str, ...]:
    """Return the instruction sets of this processor on which the last digits of a score and the speed depend."""
    cpuinfo = Path("/proc/cpuinfo")
    known = set(cpuinfo.read_text(encoding="utf-8").split()) if cpuinfo.exists() else set()
    return tuple(name for name in _FEATURES if name in known)
