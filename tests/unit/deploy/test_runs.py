"""The runs of the manifests: limits, scaling from zero, a job that fits the machines, an entry point that resumes."""

import re
import shlex
import tomllib

import pytest
import yaml

from diagchd_batch.config.loading import load_job
from tests.unit.deploy.manifests import KUBERAY, ROOT, cluster_spec, manifest, pod_templates

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_job_file_is_valid_and_fits_a_worker() -> None:
    job = load_job(KUBERAY / "job.yaml", environ={})
    (group,) = cluster_spec(manifest("rayjob"))["workerGroupSpecs"]
    limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
    assert job.cluster.gpus_per_actor == int(limits["nvidia.com/gpu"])
    assert job.cluster.cpus_per_actor <= int(limits["cpu"]) - 1, "actors that hold every core starve other tasks"  # type: ignore[operator]
    assert job.cluster.actors.max <= group["maxReplicas"]
    assert job.input.uri.startswith("s3://") and job.output.uri.startswith("s3://")


@pytest.mark.parametrize("name", ["rayjob", "raycluster"])
def test_workers_start_from_none_and_go_when_idle(name: str) -> None:
    spec = cluster_spec(manifest(name))
    assert spec["enableInTreeAutoscaling"] is True
    assert 0 < spec["autoscalerOptions"]["idleTimeoutSeconds"] <= 600
    for group in spec["workerGroupSpecs"]:
        assert (group["minReplicas"], group["replicas"]) == (0, 0) and group["maxReplicas"] > 0
    assert spec["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"


@pytest.mark.parametrize("name", ["rayjob", "raycluster"])
def test_gpu_pods_tolerate_the_taint_of_gpu_nodes(name: str) -> None:
    (group,) = cluster_spec(manifest(name))["workerGroupSpecs"]
    pod = group["template"]["spec"]
    assert {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"} in pod["tolerations"]
    resources = pod["containers"][0]["resources"]
    assert resources["limits"]["nvidia.com/gpu"] == resources["requests"]["nvidia.com/gpu"] == "1"


@pytest.mark.parametrize("name", ["rayjob", "raycluster"])
def test_token_authentication_is_on(name: str) -> None:
    assert cluster_spec(manifest(name))["authOptions"] == {"mode": "token"}


def test_job_has_time_limits_ends_its_cluster_and_is_tried_again() -> None:
    spec = manifest("rayjob")["spec"]
    assert spec["preRunningDeadlineSeconds"] < spec["activeDeadlineSeconds"]
    assert spec["shutdownAfterJobFinishes"] is True
    assert spec["backoffLimit"] > 0


def test_entry_point_is_the_bundled_job_and_reads_the_mounted_file() -> None:
    """A retry runs the same command on a new cluster. It must resume, so the command must not request a new run."""
    job = manifest("rayjob")
    python, flag, module, configuration = shlex.split(job["spec"]["entrypoint"])
    assert (python, flag) == ("python", "-m")
    source, packaged = "jobs", "diagchd_batch/bundled_files/jobs"
    assert PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"][source] == packaged
    assert module == f"{packaged.replace('/', '.')}.score"
    assert (ROOT / source / "score.py").is_file()
    head = cluster_spec(job)["headGroupSpec"]["template"]["spec"]
    (mount,) = [mount for mount in head["containers"][0]["volumeMounts"] if mount["name"] == "job"]
    assert configuration == f"{mount['mountPath']}/job.yaml"


def test_the_readme_s_command_makes_a_training_of_the_run() -> None:
    """The manifest of a training is that of a run with another entry point and name."""
    readme = (ROOT / "deploy" / "README.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"^sed '(.*)' deploy/kuberay/rayjob\.yaml \| kubectl create", readme, re.MULTILINE)
    text = (KUBERAY / "rayjob.yaml").read_text(encoding="utf-8")
    for one in command.split("; "):
        _, old, new, _ = one.split("#")
        assert text.count(old) == 1
        text = text.replace(old, new)
    changed, shipped = yaml.safe_load(text), manifest("rayjob")
    assert changed["spec"].pop("entrypoint").split()[2] == "diagchd_batch.bundled_files.jobs.train"
    assert changed["metadata"].pop("generateName") == "diagchd-train-"
    del shipped["spec"]["entrypoint"], shipped["metadata"]["generateName"]
    assert changed == shipped
    assert (ROOT / "jobs" / "train.py").is_file()


def test_nightly_run_keeps_to_its_zone_and_never_overlaps() -> None:
    spec = manifest("nightly-cronjob")["spec"]
    assert spec["concurrencyPolicy"] == "Forbid"
    assert spec["startingDeadlineSeconds"] >= 10, "the controller checks every ten seconds, so less may never start"
    (_, template), *_ = pod_templates(manifest("nightly-cronjob"))
    (container,) = template["spec"]["containers"]
    assert {"name": "TZ", "value": spec["timeZone"]} in container["env"]
    assert "--until" in container["args"] and "--select new" in container["args"]


def test_images_are_this_version_and_the_target_of_their_role() -> None:
    """Names and tags are compared without the registry, which each user chooses."""
    version = PROJECT["project"]["version"]
    for name in ("rayjob", "raycluster", "nightly-cronjob"):
        for role, template in pod_templates(manifest(name)):
            target = "gpu" if role == "worker" else "cpu"
            images = {container["image"].rsplit("/", 1)[-1] for container in template["spec"]["containers"]}
            assert images == {f"diagchd-batch:{version}-{target}"}
    built = re.findall(r"--tag (\S+)", (ROOT / "deploy" / "Dockerfile").read_text())
    assert built == [f"diagchd-batch:{version}-{target}" for target in ("cpu", "gpu")]
