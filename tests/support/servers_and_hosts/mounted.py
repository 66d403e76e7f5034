"""Mounts a small file system for a test."""

import os
import subprocess
from pathlib import Path

import pytest


class mounted:  # noqa: N801 - used as a context manager
    """A context manager that mounts a tmpfs of `size` at `directory`, or skips the test if mounting is not allowed."""

    def __init__(self, directory: Path, size: str) -> None:
        self._directory, self._size = directory, size

    def __enter__(self) -> None:
        command = ["mount", "-t", "tmpfs", "-o", f"size={self._size}", "tmpfs", str(self._directory)]
        if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode != 0:
            pytest.skip("mounting a file system needs root's rights")

    def __exit__(self, *exception: object) -> None:
        subprocess.run(["umount", str(self._directory)], check=True)
