"""Validates Kubernetes manifests offline, as strictly as an API server that refuses unknown fields.

The schemas are in `tests/unit/deploy/data`, beside the tests that use them. The README there states their origin.
"""

import json
import lzma
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import yaml

DATA = Path(__file__).parents[2] / "unit" / "deploy" / "data"
KUBERNETES_VERSIONS = ("1.27.0", "1.37.0")  # the first with a stable `timeZone` for CronJobs, and the newest

_DEFINITIONS = {
    ("v1", "Namespace"): "io.k8s.api.core.v1.Namespace",
    ("v1", "ServiceAccount"): "io.k8s.api.core.v1.ServiceAccount",
    ("v1", "ConfigMap"): "io.k8s.api.core.v1.ConfigMap",
    ("batch/v1", "CronJob"): "io.k8s.api.batch.v1.CronJob",
    ("networking.k8s.io/v1", "NetworkPolicy"): "io.k8s.api.networking.v1.NetworkPolicy",
    ("rbac.authorization.k8s.io/v1", "Role"): "io.k8s.api.rbac.v1.Role",
    ("rbac.authorization.k8s.io/v1", "RoleBinding"): "io.k8s.api.rbac.v1.RoleBinding",
}


def read_manifests(path: Path) -> list[dict[str, Any]]:
    return [document for document in yaml.safe_load_all(path.read_text(encoding="utf-8")) if document]


def schema_problems(manifest: dict[str, Any], kubernetes_version: str = KUBERNETES_VERSIONS[-1]) -> list[str]:
    """Return the problems of a manifest, each with its JSON path.

    Raises:
        KeyError: There is no schema of the manifest's kind.
    """
    validator = jsonschema.Draft202012Validator(
        _schema(manifest.get("apiVersion"), manifest.get("kind"), kubernetes_version)
    )
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(manifest)]


@cache
def _schema(api_version: str, kind: str, kubernetes_version: str) -> dict[str, Any]:
    kubernetes = _read(f"kubernetes-{kubernetes_version}.json.xz")
    if api_version != "ray.io/v1":
        return {**kubernetes, "$ref": f"#/$defs/{_DEFINITIONS[api_version, kind]}"}
    schema = to_json_schema(_read("kuberay-1.7.0.json.xz")[kind])
    schema["properties"] |= {
        "apiVersion": {"const": api_version},
        "kind": {"const": kind},
        "metadata": {"$ref": "#/$defs/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"},
    }
    return {**kubernetes, **schema, "required": ["apiVersion", "kind", "metadata", "spec"]}


def to_json_schema(structural: dict[str, Any]) -> dict[str, Any]:
    """Convert a custom resource's structural schema to JSON Schema.

    An API server drops fields that a structural schema does not name. Here they are errors, because a field that was
    dropped silently is noticed only when its effect is missing.
    """
    schema = {key: value for key, value in structural.items() if not key.startswith("x-kubernetes-")}
    if "items" in schema:
        schema["items"] = to_json_schema(schema["items"])
    if "properties" in schema:
        schema["properties"] = {name: to_json_schema(value) for name, value in schema["properties"].items()}
    if isinstance(schema.get("additionalProperties"), dict):
        schema["additionalProperties"] = to_json_schema(schema["additionalProperties"])
    elif schema.get("type") == "object" and not structural.get("x-kubernetes-preserve-unknown-fields"):
        schema.setdefault("additionalProperties", False)
    if structural.get("x-kubernetes-int-or-string"):
        schema["type"] = ["integer", "string"]
    if schema.pop("nullable", False) and "type" in schema:
        types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        schema["type"] = [*types, "null"]
    return schema


@cache
def _read(name: str) -> dict[str, Any]:
    return json.loads(lzma.decompress((DATA / name).read_bytes()))
