"""Rules of KubeRay 1.7's operator that its schema does not express, for the fields that our manifests use.

The operator reports a violation in the object's status, some time after the API server has accepted the manifest. That
is too late for a run that nobody watches.
"""

import re
from collections.abc import Iterator
from typing import Any

MAX_CLUSTER_NAME = 53
MAX_JOB_NAME = MAX_CLUSTER_NAME - 6  # the operator appends "-xxxxx"
GENERATED_SUFFIX = "abcde"  # stands for the random suffix that Kubernetes appends to generateName
_DNS_1035_LABEL = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_RESOURCE_PARAMETERS = {"num-cpus", "num-gpus", "memory", "resources"}
_MANAGED_ENVIRONMENT = {"RAY_enable_autoscaler_v2", "KUBERAY_GEN_AUTOSCALER_START_CMD"}
OFF_BY_DEFAULT = {"networkPolicy", "tlsOptions", "historyServerOptions"}
"""Fields of a cluster's specification that need a feature gate. These gates are alpha and off by default."""


def problems(manifest: dict[str, Any]) -> list[str]:
    """Return the operator's complaints about a RayJob or RayCluster that its schema accepts."""
    if manifest["kind"] == "RayCluster":
        return [*_name(manifest, MAX_CLUSTER_NAME), *_cluster(manifest["spec"])]
    if manifest["kind"] != "RayJob":
        return [f"{manifest['kind']} is alpha and off by default"]
    spec = manifest["spec"]
    found = [*_name(manifest, MAX_JOB_NAME), *_job(spec)]
    return found + list(_cluster(spec["rayClusterSpec"])) if "rayClusterSpec" in spec else found


def _name(manifest: dict[str, Any], longest: int) -> Iterator[str]:
    metadata = manifest["metadata"]
    name = metadata.get("name") or metadata["generateName"] + GENERATED_SUFFIX
    if len(name) > longest:
        yield f"the name {name} has more than {longest} characters"
    if not _DNS_1035_LABEL.fullmatch(name):
        yield f"the name {name} is not a DNS-1035 label"


def _job(spec: dict[str, Any]) -> Iterator[str]:
    ends = spec.get("shutdownAfterJobFinishes", False)
    mode = spec.get("submissionMode", "K8sJobMode")
    if spec.get("suspend") and not ends:
        yield "suspend needs shutdownAfterJobFinishes"
    if spec.get("suspend") and spec.get("clusterSelector"):
        yield "suspend does not go with clusterSelector"
    if spec.get("ttlSecondsAfterFinished", 0) > 0 and not ends:
        yield "ttlSecondsAfterFinished needs shutdownAfterJobFinishes"
    if spec.get("ttlSecondsAfterFinished", 0) < 0 or spec.get("backoffLimit", 0) < 0:
        yield "ttlSecondsAfterFinished and backoffLimit must not be negative"
    for field in ("activeDeadlineSeconds", "preRunningDeadlineSeconds"):
        if spec.get(field, 1) <= 0:
            yield f"{field} must be positive"
    if not spec.get("rayClusterSpec") and not spec.get("clusterSelector"):
        yield "one of rayClusterSpec and clusterSelector is needed"
    if spec.get("backoffLimit", 0) > 0 and (spec.get("clusterSelector") or mode == "InteractiveMode"):
        yield "backoffLimit makes a new cluster: it goes neither with clusterSelector nor with InteractiveMode"
    if mode == "SidecarMode" and (spec.get("submitterPodTemplate") or spec.get("submitterConfig")):
        yield "SidecarMode does not go with submitterPodTemplate or submitterConfig"
    if "deletionStrategy" in spec:
        yield "deletionStrategy needs a feature gate"


def _cluster(spec: dict[str, Any]) -> Iterator[str]:
    for field in OFF_BY_DEFAULT & spec.keys():
        yield f"{field} is alpha and off by default"
    scaled = spec.get("enableInTreeAutoscaling", False)
    version_2 = scaled and spec.get("autoscalerOptions", {}).get("version") == "v2"
    groups = spec.get("workerGroupSpecs", [])
    for name, group in [("head", spec["headGroupSpec"]), *((group["groupName"], group) for group in groups)]:
        pod = group["template"]["spec"]
        if not pod.get("containers"):
            yield f"{name} has no container"
            continue
        if version_2 and pod.get("restartPolicy", "Never") != "Never":
            yield f"{name}: autoscaler v2 wants restartPolicy Never"
        if group.get("resources") and _RESOURCE_PARAMETERS & group.get("rayStartParams", {}).keys():
            yield f"{name}: resources stand in rayStartParams and in resources"
        if "labels" in group.get("rayStartParams", {}):
            yield f"{name}: labels do not belong into rayStartParams"
        for variable in _MANAGED_ENVIRONMENT & {entry["name"] for entry in pod["containers"][0].get("env", [])}:
            yield f"{name}: {variable} is the operator's to set"
        if "idleTimeoutSeconds" in group and not version_2:
            yield f"{name}: idleTimeoutSeconds of a group needs autoscaler v2"
        if group.get("suspend"):
            yield f"{name}: a group cannot be suspended"
        if group.get("minReplicas", 0) > group.get("maxReplicas", 2**31):
            yield f"{name}: minReplicas is above maxReplicas"
    if spec.get("autoscalerOptions", {}).get("idleTimeoutSeconds", 0) < 0:
        yield "idleTimeoutSeconds must not be negative"
    yield from _authentication(spec)


def _authentication(spec: dict[str, Any]) -> Iterator[str]:
    options = spec.get("authOptions", {})
    if options.get("mode") != "token":
        if options.get("enableK8sTokenAuth"):
            yield "enableK8sTokenAuth needs mode token"
        return
    version = spec.get("rayVersion")
    if not version:
        yield "token authentication needs rayVersion"
    elif tuple(int(part) for part in version.split(".")[:2]) < (2, 52):
        yield f"token authentication needs rayVersion 2.52 or later, not {version}"
