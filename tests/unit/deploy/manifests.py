"""The manifests under test, and functions that extract their parts."""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.checkers.kubernetes_schemas import read_manifests

ROOT = Path(__file__).parents[3]
KUBERAY = ROOT / "deploy" / "kuberay"
PROGRAM_LABEL = {"app.kubernetes.io/part-of": "diagchd-batch"}


def all_manifests() -> list[Any]:
    """Return every object of every file as test parameters, named by file and kind."""
    files = sorted(path for path in KUBERAY.glob("*.yaml") if path.name not in {"kustomization.yaml", "job.yaml"})
    return [
        pytest.param(manifest, id=f"{path.stem}-{manifest['kind']}-{number}")
        for path in files
        for number, manifest in enumerate(read_manifests(path))
    ]


def manifest(name: str) -> dict[str, Any]:
    (only,) = read_manifests(KUBERAY / f"{name}.yaml")
    return copy.deepcopy(only)


def job_file() -> dict[str, Any]:
    return yaml.safe_load((KUBERAY / "job.yaml").read_text(encoding="utf-8"))


def cluster_spec(ray_object: dict[str, Any]) -> dict[str, Any]:
    return ray_object["spec"] if ray_object["kind"] == "RayCluster" else ray_object["spec"]["rayClusterSpec"]


def pod_templates(ray_object: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (role, pod template) for every kind of pod that an object creates."""
    if ray_object["kind"] == "CronJob":
        yield "nightly", ray_object["spec"]["jobTemplate"]["spec"]["template"]
        return
    spec = cluster_spec(ray_object)
    yield "head", spec["headGroupSpec"]["template"]
    for group in spec["workerGroupSpecs"]:
        yield "worker", group["template"]
    if "submitterPodTemplate" in ray_object["spec"]:
        yield "submitter", ray_object["spec"]["submitterPodTemplate"]
