"""Our manifests follow the operator's own rules, and violations on purpose are found."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.checkers.kuberay_rules import problems
from tests.unit.deploy.manifests import ROOT, cluster_spec, manifest


@pytest.mark.parametrize("name", ["rayjob", "raycluster"])
def test_manifest_keeps_the_rules(name: str) -> None:
    assert problems(manifest(name)) == []


def _suspended(job: dict[str, Any]) -> None:
    job["spec"] |= {"suspend": True, "shutdownAfterJobFinishes": False, "ttlSecondsAfterFinished": 0}


def _kept_after_the_end(job: dict[str, Any]) -> None:
    job["spec"]["shutdownAfterJobFinishes"] = False


def _no_time(job: dict[str, Any]) -> None:
    job["spec"]["activeDeadlineSeconds"] = 0


def _old_ray(job: dict[str, Any]) -> None:
    cluster_spec(job)["rayVersion"] = "2.51.3"


def _unsaid_ray(job: dict[str, Any]) -> None:
    del cluster_spec(job)["rayVersion"]


def _restarted_worker(job: dict[str, Any]) -> None:
    cluster_spec(job)["workerGroupSpecs"][0]["template"]["spec"]["restartPolicy"] = "Always"


def _restarted_head(job: dict[str, Any]) -> None:
    cluster_spec(job)["headGroupSpec"]["template"]["spec"]["restartPolicy"] = "OnFailure"


def _alpha_network_policy(job: dict[str, Any]) -> None:
    cluster_spec(job)["networkPolicy"] = {"mode": "DenyAll"}


def _retry_of_a_selected_cluster(job: dict[str, Any]) -> None:
    job["spec"]["clusterSelector"] = {"ray.io/cluster": "diagchd-batch"}


def _sidecar(job: dict[str, Any]) -> None:
    job["spec"]["submissionMode"] = "SidecarMode"


def _resources_twice(job: dict[str, Any]) -> None:
    cluster_spec(job)["headGroupSpec"]["resources"] = {"CPU": "0"}


def _replicas(job: dict[str, Any]) -> None:
    cluster_spec(job)["workerGroupSpecs"][0] |= {"minReplicas": 9}


def _group_timeout(job: dict[str, Any]) -> None:
    cluster_spec(job)["autoscalerOptions"]["version"] = "v1"
    cluster_spec(job)["workerGroupSpecs"][0]["idleTimeoutSeconds"] = 60


def _own_autoscaler_variable(job: dict[str, Any]) -> None:
    container = cluster_spec(job)["headGroupSpec"]["template"]["spec"]["containers"][0]
    container["env"].append({"name": "RAY_enable_autoscaler_v2", "value": "1"})


def _long_name(job: dict[str, Any]) -> None:
    job["metadata"]["generateName"] = "d" * 43


def _capital_name(job: dict[str, Any]) -> None:
    job["metadata"]["generateName"] = "Diagchd-"


def _alpha_kind(job: dict[str, Any]) -> None:
    job["kind"] = "RayCronJob"


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (_suspended, "suspend needs"),
        (_kept_after_the_end, "ttlSecondsAfterFinished needs"),
        (_no_time, "activeDeadlineSeconds must be positive"),
        (_old_ray, "2.52 or later"),
        (_unsaid_ray, "needs rayVersion"),
        (_restarted_worker, "gpu: autoscaler v2 wants restartPolicy Never"),
        (_restarted_head, "head: autoscaler v2 wants restartPolicy Never"),
        (_alpha_network_policy, "networkPolicy is alpha"),
        (_retry_of_a_selected_cluster, "backoffLimit makes a new cluster"),
        (_sidecar, "SidecarMode does not go with"),
        (_resources_twice, "resources stand in"),
        (_replicas, "minReplicas is above"),
        (_group_timeout, "needs autoscaler v2"),
        (_own_autoscaler_variable, "the operator's to set"),
        (_long_name, "more than 47 characters"),
        (_capital_name, "DNS-1035"),
        (_alpha_kind, "RayCronJob is alpha"),
    ],
)
def test_broken_rule_is_found(spoil: Callable[[dict[str, Any]], None], complaint: str) -> None:
    job = manifest("rayjob")
    spoil(job)
    (found,) = problems(job)
    assert complaint in found


def test_ray_is_the_version_that_the_image_installs() -> None:
    (pinned,) = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line.startswith("ray==")]
    for name in ("rayjob", "raycluster"):
        assert f"ray=={cluster_spec(manifest(name))['rayVersion']}" == pinned
