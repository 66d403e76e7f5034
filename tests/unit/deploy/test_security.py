"""Patient data require pods without privileges, with a read-only root, secrets by reference and a closed network."""

import inspect
import ipaddress
import re
from typing import Any

import pytest

from diagchd_batch.errors import ConfigError
from diagchd_batch.sources.dicomweb import credentials
from diagchd_batch.sources.dicomweb.credentials import read_credentials
from tests.support.checkers.kubernetes_schemas import read_manifests
from tests.unit.deploy.manifests import KUBERAY, PROGRAM_LABEL, cluster_spec, manifest, pod_templates

POLICIES = read_manifests(KUBERAY / "network-policy.yaml")
TEMPLATES = [
    pytest.param(role, template, id=f"{name}-{role}")
    for name in ("rayjob", "raycluster", "nightly-cronjob")
    for role, template in pod_templates(manifest(name))
]
RAY_TEMPLATES = [parameter for parameter in TEMPLATES if parameter.values[0] in {"head", "worker"}]


@pytest.mark.parametrize(("role", "template"), TEMPLATES)
def test_pod_has_no_privileges(role: str, template: dict[str, Any]) -> None:
    """Pods meet Kubernetes' "restricted" standard, which the namespace enforces, and have a read-only root."""
    pod = template["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault"
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
    assert all(volume.keys() - {"name"} <= {"emptyDir", "configMap", "secret"} for volume in pod.get("volumes", []))
    for container in pod["containers"]:
        _assert_confined(container["securityContext"])


def test_autoscaler_that_the_operator_adds_is_confined_too() -> None:
    for name in ("rayjob", "raycluster"):
        options = cluster_spec(manifest(name))["autoscalerOptions"]
        _assert_confined(options["securityContext"])
        assert {"name": "tmp", "mountPath": "/tmp"} in options["volumeMounts"]


def _assert_confined(context: dict[str, Any]) -> None:
    assert context["allowPrivilegeEscalation"] is False
    assert context["readOnlyRootFilesystem"] is True
    assert context["capabilities"] == {"drop": ["ALL"]}


@pytest.mark.parametrize(("role", "template"), RAY_TEMPLATES)
def test_ray_pod_has_room_to_write_and_shared_memory_within_its_memory(role: str, template: dict[str, Any]) -> None:
    pod = template["spec"]
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    (container,) = pod["containers"]
    mounted = {mount["mountPath"]: volumes[mount["name"]] for mount in container["volumeMounts"]}
    assert mounted["/tmp"]["emptyDir"]["sizeLimit"]
    shared = mounted["/dev/shm"]["emptyDir"]
    assert shared["medium"] == "Memory"
    limits = container["resources"]["limits"]
    assert _bytes(shared["sizeLimit"]) < _bytes(limits["memory"]) / 4
    assert _bytes(mounted["/tmp"]["emptyDir"]["sizeLimit"]) <= _bytes(limits["ephemeral-storage"])


def test_object_store_fits_shared_memory() -> None:
    for name in ("rayjob", "raycluster"):
        spec = cluster_spec(manifest(name))
        for group in [spec["headGroupSpec"], *spec["workerGroupSpecs"]]:
            (size,) = [
                v["emptyDir"]["sizeLimit"] for v in group["template"]["spec"]["volumes"] if "memory" in v["name"]
            ]
            assert int(group["rayStartParams"]["object-store-memory"]) < _bytes(size)


def _bytes(quantity: str) -> int:
    number, unit = re.fullmatch(r"(\d+)(Ki|Mi|Gi)", quantity).groups()
    return int(number) << {"Ki": 10, "Mi": 20, "Gi": 30}[unit]


@pytest.mark.parametrize(("role", "template"), TEMPLATES)
def test_only_head_and_nightly_job_get_an_api_token(role: str, template: dict[str, Any]) -> None:
    pod = template["spec"]
    wanted = {"head": None, "nightly": True, "worker": False, "submitter": False}
    assert pod.get("automountServiceAccountToken") is wanted[role]


def test_identifier_key_goes_to_the_driver_alone() -> None:
    for name in ("rayjob", "raycluster"):
        for role, template in pod_templates(manifest(name)):
            (container,) = template["spec"]["containers"]
            named = {entry["name"]: entry for entry in container.get("env", [])}
            assert ("DIAGCHD_ID_KEY" in named) == (role == "head")
            if role == "head":
                assert "secretKeyRef" in named["DIAGCHD_ID_KEY"]["valueFrom"]


@pytest.mark.parametrize(("role", "template"), RAY_TEMPLATES)
def test_files_for_a_pacs_are_a_secret_that_the_group_alone_may_read(role: str, template: dict[str, Any]) -> None:
    """Every Ray pod may read from the PACS. Without the Secret the pods start as well."""
    pod = template["spec"]
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    (container,) = pod["containers"]
    (mount,) = [one for one in container["volumeMounts"] if one["mountPath"] == "/etc/diagchd-batch-pacs"]
    assert mount["readOnly"] is True
    assert volumes[mount["name"]]["secret"] == {
        "secretName": "diagchd-batch-pacs",
        "optional": True,
        "defaultMode": 0o440,
    }
    assert pod["securityContext"]["fsGroup"] == pod["securityContext"]["runAsGroup"]


def test_variables_for_a_pacs_are_those_that_the_program_reads() -> None:
    lines = (KUBERAY / "environment.env").read_text().splitlines()
    offered = dict(line.removeprefix("# ").split("=") for line in lines if line.startswith("# DIAGCHD_DICOMWEB_"))
    assert all(value.startswith("/etc/diagchd-batch-pacs/") for name, value in offered.items() if name.endswith("FILE"))
    with pytest.raises(ConfigError):  # each is looked at: there are no such files here
        read_credentials({name: offered[name] for name in offered if "TOKEN" not in name})
    read = inspect.getsource(credentials)
    assert all(name.removeprefix(credentials.PREFIX).removesuffix("_FILE") in read for name in offered)


@pytest.mark.parametrize(("role", "template"), TEMPLATES)
def test_no_secret_stands_in_a_manifest(role: str, template: dict[str, Any]) -> None:
    for container in template["spec"]["containers"]:
        for entry in container.get("env", []):
            if re.search("KEY|TOKEN|SECRET|PASSWORD", entry["name"]):
                assert "value" not in entry


def test_no_credential_stands_in_any_file() -> None:
    settings = (KUBERAY / "environment.env").read_text().splitlines()
    assert not [line for line in settings if re.match("[^#]*(KEY|TOKEN|SECRET|PASSWORD).*=", line)]
    for path in (KUBERAY.parent).rglob("*"):
        if path.is_file():
            assert not re.search(b"AKIA[0-9A-Z]{16}", path.read_bytes()), path


def test_nightly_role_may_do_no_more_than_its_job() -> None:
    (role,) = [m for m in read_manifests(KUBERAY / "rbac.yaml") if m["kind"] == "Role"]
    assert role["rules"] == [{"apiGroups": ["ray.io"], "resources": ["rayjobs"], "verbs": ["create", "list", "delete"]}]


# Network policies are evaluated as in Kubernetes: if any policy of a direction selects a pod, the pod may use only the
# connections in that direction that one of its policies allows.

HEAD = {**PROGRAM_LABEL, "ray.io/is-ray-node": "yes", "ray.io/node-type": "head"}
WORKER = {**PROGRAM_LABEL, "ray.io/is-ray-node": "yes", "ray.io/node-type": "worker"}
SUBMITTER = {**PROGRAM_LABEL, "app.kubernetes.io/component": "submitter"}
NIGHTLY = {**PROGRAM_LABEL, "app.kubernetes.io/component": "nightly"}
OPERATOR = {"app.kubernetes.io/name": "kuberay-operator"}
STRANGER = {"app": "stranger"}
OURS, ELSEWHERE = "diagchd-batch", "elsewhere"


def _matches(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    assert selector.keys() <= {"matchLabels"}
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())


def _peer_allows(peer: dict[str, Any], labels: dict[str, str], namespace: str) -> bool:
    if "ipBlock" in peer:
        return False
    if "namespaceSelector" in peer:
        inside = _matches(peer["namespaceSelector"], {"kubernetes.io/metadata.name": namespace})
    else:
        inside = namespace == OURS
    return inside and _matches(peer.get("podSelector", {}), labels)


def _rules(labels: dict[str, str], direction: str) -> list[dict[str, Any]]:
    selecting = [policy["spec"] for policy in POLICIES if _matches(policy["spec"]["podSelector"], labels)]
    assert any(direction in spec["policyTypes"] for spec in selecting), "a pod without a policy may do everything"
    return [rule for spec in selecting for rule in spec.get(direction.lower(), [])]


def _port_allowed(rule: dict[str, Any], port: int) -> bool:
    return "ports" not in rule or port in [entry["port"] for entry in rule["ports"]]


def _may_receive(labels: dict[str, str], port: int, source: dict[str, str], namespace: str) -> bool:
    rules = _rules(labels, "Ingress")
    return any(
        _port_allowed(rule, port) and any(_peer_allows(p, source, namespace) for p in rule["from"]) for rule in rules
    )


def _may_send(labels: dict[str, str], port: int, target: dict[str, str], namespace: str = OURS) -> bool:
    rules = _rules(labels, "Egress")
    return any(
        _port_allowed(rule, port) and any(_peer_allows(p, target, namespace) for p in rule["to"]) for rule in rules
    )


def _may_reach_address(labels: dict[str, str], port: int, address: str) -> bool:
    def inside(block: dict[str, Any]) -> bool:
        networks = [ipaddress.ip_network(entry) for entry in block.get("except", [])]
        host = ipaddress.ip_address(address)
        return host in ipaddress.ip_network(block["cidr"]) and not any(host in network for network in networks)

    rules = _rules(labels, "Egress")
    return any(_port_allowed(r, port) and any(inside(p["ipBlock"]) for p in r["to"] if "ipBlock" in p) for r in rules)


def test_pods_carry_the_labels_that_the_policies_select() -> None:
    expected = {"submitter": SUBMITTER, "nightly": NIGHTLY, "head": PROGRAM_LABEL, "worker": PROGRAM_LABEL}
    for name in ("rayjob", "raycluster", "nightly-cronjob"):
        for role, template in pod_templates(manifest(name)):
            assert template["metadata"]["labels"] == expected[role]  # The operator adds the ray.io/… labels.


def test_ray_nodes_talk_among_themselves_on_any_port() -> None:
    for source, target in [(HEAD, WORKER), (WORKER, HEAD), (WORKER, WORKER)]:
        assert _may_send(source, 34567, target)
        assert _may_receive(target, 34567, source, OURS)


def test_dashboard_answers_submitter_and_operator_only() -> None:
    assert _may_receive(HEAD, 8265, SUBMITTER, OURS)
    assert _may_send(SUBMITTER, 8265, HEAD)
    assert _may_receive(HEAD, 8265, OPERATOR, "kuberay-system")
    assert not _may_receive(HEAD, 8265, STRANGER, OURS)
    assert not _may_receive(HEAD, 8265, STRANGER, ELSEWHERE)
    assert not _may_receive(HEAD, 8265, NIGHTLY, OURS)
    assert not _may_receive(HEAD, 10001, SUBMITTER, OURS)
    assert not _may_receive(WORKER, 8265, OPERATOR, "kuberay-system")


def test_ray_of_another_namespace_is_a_stranger() -> None:
    assert not _may_receive(HEAD, 6379, WORKER, ELSEWHERE)


def test_prometheus_reads_metrics_and_nothing_else() -> None:
    for node in (HEAD, WORKER):
        assert _may_receive(node, 8080, STRANGER, "monitoring")
        assert not _may_receive(node, 8265, STRANGER, "monitoring")


def test_a_pacs_is_reached_by_ray_nodes_alone_and_nothing_beside_it() -> None:
    for node in (HEAD, WORKER):
        assert _may_reach_address(node, 8443, "192.0.2.10")
        assert not _may_reach_address(node, 8443, "192.0.2.11")
        assert not _may_reach_address(node, 104, "192.0.2.10")
    for labels in (SUBMITTER, NIGHTLY):
        assert not _may_reach_address(labels, 8443, "192.0.2.10")


def test_what_reaches_the_outside() -> None:
    dns = {"k8s-app": "kube-dns"}
    for labels in (HEAD, WORKER, SUBMITTER, NIGHTLY):
        assert _may_send(labels, 53, dns, "kube-system")
        assert not _may_reach_address(labels, 443, "169.254.169.254")
        assert not _may_reach_address(labels, 22, "198.51.100.7")
    for labels in (HEAD, WORKER, NIGHTLY):
        assert _may_reach_address(labels, 443, "198.51.100.7")
    assert not _may_reach_address(SUBMITTER, 443, "198.51.100.7")
    assert not _may_receive(NIGHTLY, 443, HEAD, OURS)
