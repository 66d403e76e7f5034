"""The manifests fit the schemas of Kubernetes and KubeRay, and the validator finds errors made on purpose."""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.checkers.kubernetes_schemas import (
    KUBERNETES_VERSIONS,
    read_manifests,
    schema_problems,
    to_json_schema,
)
from tests.unit.deploy.manifests import KUBERAY, all_manifests, cluster_spec, manifest


@pytest.mark.parametrize("version", KUBERNETES_VERSIONS)
@pytest.mark.parametrize("checked", all_manifests())
def test_manifest_is_valid(checked: dict[str, Any], version: str) -> None:
    assert schema_problems(checked, version) == []


def test_every_kind_that_is_promised_is_there() -> None:
    kinds = {parameter.values[0]["kind"] for parameter in all_manifests()}
    assert kinds >= {"RayJob", "RayCluster", "CronJob", "NetworkPolicy", "Role", "RoleBinding", "ServiceAccount"}


def _set(document: Any, path: Sequence[str | int], value: Any) -> None:
    *parents, last = path
    for key in parents:
        document = document[key]
    document[last] = value


_HEAD = ["spec", "rayClusterSpec", "headGroupSpec"]
_WORKER = ["spec", "rayClusterSpec", "workerGroupSpecs", 0]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["spec", "activeDeadlineSecond"], 5),  # unknown field
        (["spec", "activeDeadlineSeconds"], "5"),  # a string for a number
        (["spec", "rayClusterSpec", "autoscalerOptions", "version"], "v3"),  # not in the enumeration
        ([*_HEAD, "rayStartParams", "num-cpus"], 0),  # a number for a string, the most common mistake
        ([*_HEAD, "template", "spec", "volumes", 0, "emptyDir", "medum"], "Memory"),
        ([*_HEAD, "template", "spec", "containers", 0, "resources", "limits", "cpu"], "four"),
        ([*_HEAD, "template", "spec", "containers", 0, "name"], None),
        ([*_WORKER, "maxReplicas"], None),
        (["metadata", "label"], {}),
        (["apiVersion"], "ray.io/v1"),
    ],
)
def test_validator_refuses(path: list[str | int], value: Any) -> None:
    broken = manifest("rayjob")
    if path == ["apiVersion"]:
        del broken["spec"]
    else:
        _set(broken, path, value)
    assert schema_problems(broken)


def test_validator_accepts_an_integer_or_a_string_where_the_schema_says_so() -> None:
    changed = manifest("rayjob")
    _set(changed, [*_HEAD, "template", "spec", "containers", 0, "resources", "limits", "cpu"], 4)
    assert schema_problems(changed) == []


def test_validator_refuses_unknown_fields_of_kubernetes_own_kinds() -> None:
    broken = manifest("nightly-cronjob")
    broken["spec"]["timezone"] = "Europe/Berlin"
    assert schema_problems(broken)


def test_structural_schemas_become_json_schema() -> None:
    structural = {
        "type": "object",
        "properties": {
            "port": {"anyOf": [{"type": "integer"}, {"type": "string"}], "x-kubernetes-int-or-string": True},
            "note": {"type": "string", "nullable": True},
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
            "named": {"type": "object", "additionalProperties": {"type": "object"}},
        },
    }
    assert to_json_schema(structural) == {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "port": {"anyOf": [{"type": "integer"}, {"type": "string"}], "type": ["integer", "string"]},
            "note": {"type": ["string", "null"]},
            "free": {"type": "object"},
            "named": {
                "type": "object",
                "additionalProperties": {"type": "object", "additionalProperties": False},
            },
        },
    }


def test_job_and_standing_cluster_do_not_drift_apart() -> None:
    """Both files describe the same cluster, except that the job's head mounts the job file."""
    of_job, standing = cluster_spec(manifest("rayjob")), cluster_spec(manifest("raycluster"))
    head = of_job["headGroupSpec"]["template"]["spec"]
    head["volumes"] = [volume for volume in head["volumes"] if volume["name"] != "job"]
    container = head["containers"][0]
    container["volumeMounts"] = [mount for mount in container["volumeMounts"] if mount["name"] != "job"]
    assert of_job == standing


def test_kustomization_names_existing_files_and_the_maps_that_pods_ask_for() -> None:
    kustomization = yaml.safe_load((KUBERAY / "kustomization.yaml").read_text(encoding="utf-8"))
    files = set(kustomization["resources"])
    for generator in kustomization["configMapGenerator"]:
        files |= set(generator.get("files", [])) | set(generator.get("envs", []))
    assert {name for name in files if not (KUBERAY / name).is_file()} == set()
    made = {generator["name"] for generator in kustomization["configMapGenerator"]}
    assert kustomization["generatorOptions"]["disableNameSuffixHash"] is True
    text = (KUBERAY / "rayjob.yaml").read_text() + (KUBERAY / "nightly-cronjob.yaml").read_text()
    assert all(f"{{name: {name}}}" in text for name in made)


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="needs kubectl, for its kustomize")
def test_kustomization_builds_into_valid_manifests(tmp_path: Path) -> None:
    built = subprocess.run(["kubectl", "kustomize", KUBERAY], capture_output=True, text=True, check=True, timeout=60)
    (tmp_path / "built.yaml").write_text(built.stdout)
    manifests = read_manifests(tmp_path / "built.yaml")
    assert [problem for made in manifests for problem in schema_problems(made)] == []
    assert {made["metadata"].get("namespace", "diagchd-batch") for made in manifests} == {"diagchd-batch"}
