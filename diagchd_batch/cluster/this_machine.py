"""The cores, memory and GPUs of this machine that this process may use, within the limits of its container."""

import os
from pathlib import Path

from diagchd_batch.cluster.resources import NodeResources
from diagchd_batch.process.cores import available_cores

_CGROUP = Path("/sys/fs/cgroup")


def this_machine() -> NodeResources:
    """Return what this process may use of this machine."""
    return NodeResources(available_cores(), _gpus(), _memory_bytes())


def _memory_bytes() -> int:
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = _read(_CGROUP / "memory.max")
    return min(physical, int(limit)) if limit.isdigit() else physical


def _gpus() -> int:
    """Return the number of NVIDIA GPUs, by their device files and CUDA_VISIBLE_DEVICES."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    present = [path for path in Path("/dev").glob("nvidia[0-9]*") if path.name[6:].isdigit()]
    if visible is None:
        return len(present)
    return min(len(present), len([name for name in visible.split(",") if name.strip() not in ("", "-1")]))


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
