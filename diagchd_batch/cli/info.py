"""`info`: what is installed here and what it can use, without loading Ray or TensorFlow."""

import os
import platform
import shutil
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import typer

from diagchd_batch.cli.console import print_json, print_pairs
from diagchd_batch.cli.options import JsonOption

_PACKAGES = ("diagchd-batch", "ray", "tensorflow", "keras", "pyarrow", "pandas", "boto3", "duckdb", "scikit-learn")
_PROCESSOR_FEATURES = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")


def register(app: typer.Typer) -> None:
    app.command()(info)


def info(as_json: JsonOption = False) -> None:
    """Versions, devices and bundled models.

    Example: diagchd-batch info --json
    """
    from diagchd_batch.model.packages.bundled import bundled_models
    from diagchd_batch.model.packages.registry import load_card

    models = {name: load_card(name) for name in bundled_models()}
    report: dict[str, Any] = {
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "cores": len(os.sched_getaffinity(0)),
        "processor_features": _processor_features(),
        "gpus": _gpus(),
        "models": {name: {"version": card.version, "intended_use": card.intended_use} for name, card in models.items()},
    }
    if as_json:
        print_json(report)
        return
    pairs = [("python", report["python"]), *report["packages"].items(), ("cores", report["cores"])]
    pairs.append(("processor features", ", ".join(report["processor_features"]) or "none of those that matter here"))
    pairs.append(("GPUs", "; ".join(report["gpus"]) or "none"))
    pairs += [(f"model {name}", f"{card.version}: {card.intended_use}") for name, card in models.items()]
    print_pairs(pairs)


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _processor_features() -> list[str]:
    """Those of the processor's features that decide how fast the model runs."""
    cpuinfo = Path("/proc/cpuinfo")
    known = set(cpuinfo.read_text(encoding="utf-8").split()) if cpuinfo.exists() else set()
    return [name for name in _PROCESSOR_FEATURES if name in known]


def _gpus() -> list[str]:
    if shutil.which("nvidia-smi") is None:
        return []
    query = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"]
    answer = subprocess.run(query, capture_output=True, text=True, timeout=20, check=False)
    return [line.strip() for line in answer.stdout.splitlines() if line.strip()] if answer.returncode == 0 else []
