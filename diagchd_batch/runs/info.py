"""`info`: what is installed on this machine and what it can use, without loading Ray or TensorFlow."""

import platform
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata

from diagchd_batch.cluster.this_machine import this_machine
from diagchd_batch.model.card import ModelCard
from diagchd_batch.model.packages.bundled import bundled_models
from diagchd_batch.model.packages.registry import load_card
from diagchd_batch.process.cores import processor_features

_PACKAGES = ("diagchd-batch", "ray", "tensorflow", "keras", "pyarrow", "pandas", "boto3", "duckdb", "scikit-learn")


@dataclass(frozen=True, slots=True)
class MachineInfo:
    """This machine, as far as scoring depends on it.

    Attributes:
        python: The version of Python.
        packages: The name of each package that matters → its version, or ``not installed``.
        cores: Processor cores that this process may use.
        processor_features: The instruction sets that decide how fast the model runs on a CPU.
        gpus: The name and memory of each NVIDIA GPU.
        models: The name of each bundled model → its card.
    """

    python: str
    packages: Mapping[str, str]
    cores: int
    processor_features: tuple[str, ...]
    gpus: tuple[str, ...]
    models: Mapping[str, ModelCard]


def machine_info() -> MachineInfo:
    """Describe this machine."""
    return MachineInfo(
        python=platform.python_version(),
        packages={name: _version(name) for name in _PACKAGES},
        cores=this_machine().cpus,
        processor_features=processor_features(),
        gpus=_gpus(),
        models={name: load_card(name) for name in bundled_models()},
    )


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _gpus() -> tuple[str, ...]:
    if shutil.which("nvidia-smi") is None:
        return ()
    query = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"]
    answer = subprocess.run(query, capture_output=True, text=True, timeout=20, check=False)
    lines = answer.stdout.splitlines() if answer.returncode == 0 else []
    return tuple(line.strip() for line in lines if line.strip())
