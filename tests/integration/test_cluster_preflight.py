"""The checks of `submit --address` before scoring, and an orderly stop, on a real cluster of three nodes."""

import json
import os
import re
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
import statsmodels

from tests.support.scoring_runs import PROJECT, RUN_ID, write_cohort
from tests.support.servers_and_hosts.cluster_runs import IMAGES, IMAGES_PER_SHARD, ClusterRun, actors_of, upload_cohort
from tests.support.servers_and_hosts.fault_proxy import Fault
from tests.support.servers_and_hosts.ray_cluster import HEAD, RayCluster

pytestmark = [pytest.mark.slow, pytest.mark.s3, pytest.mark.timeout(1800)]

DASHBOARD = PROJECT / "deploy" / "grafana" / "diagchd-batch.json"
N_IMAGES = 12 * IMAGES_PER_SHARD - 1


@pytest.fixture(scope="module")
def bucket(ray_cluster: RayCluster, tmp_path_factory: pytest.TempPathFactory) -> str:
    name = ray_cluster.s3.new_bucket()
    upload_cohort(ray_cluster, name, N_IMAGES, tmp_path_factory.mktemp("cohort"))
    return name


@pytest.fixture
def run(ray_cluster: RayCluster, bucket: str, tmp_path: Path, request: pytest.FixtureRequest) -> ClusterRun:
    ray_cluster.proxy.clear()
    return ClusterRun(ray_cluster, bucket, request.node.name.replace("_", "-"), tmp_path)


@pytest.fixture(scope="module")
def refused(ray_cluster: RayCluster, bucket: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Submit unsuitable jobs, all at once. Return the messages of their clients by what is unsuitable."""
    own, directory = ray_cluster.own_directory, tmp_path_factory.mktemp("refused")
    ray_cluster.hosts[HEAD].run("sh", "-c", f"mkdir -p {own}/archive/study && echo x > {own}/archive/study/image.png")
    settings: dict[str, dict[str, object]] = {
        "private": {"output.uri": own / "with-private-tree"},
        # All nodes see the private tree, which is in the bucket, but the tables would be on each node's own disk.
        "output": {"output.uri": own / "tables", "output.private_uri": f"s3://{bucket}/refused-output/_private"},
        "input": {"input.uri": own / "archive"},
        "actor": {"cluster.cpus_per_actor": 64},
    }
    runs = {
        what: ClusterRun(ray_cluster, bucket, f"refused-{what}", directory, found) for what, found in settings.items()
    }
    clients = {what: run.submitting() for what, run in runs.items()}
    return {what: _refusal(run, clients[what]) for what, run in runs.items()}


def _refusal(run: ClusterRun, client: subprocess.Popen[str]) -> str:
    _, messages = run.wait_until_ended(client)
    assert client.returncode in (1, 2), messages
    assert "Traceback" not in messages
    assert run.committed() == []
    return messages


def test_an_output_that_the_head_does_not_share_with_the_client_is_refused(refused: dict[str, str]) -> None:
    messages = refused["private"]
    assert "does not see the private tree" in messages
    assert "s3://" in messages


def test_an_output_that_nodes_do_not_share_is_refused(refused: dict[str, str]) -> None:
    messages = refused["output"]
    assert "output.uri is not the same place on every node: worker-1, worker-2" in messages
    assert "mounted at the same path" in messages


def test_an_input_that_nodes_do_not_share_is_refused(refused: dict[str, str]) -> None:
    assert "input.uri is not the same place on every node: worker-1, worker-2" in refused["input"]


def test_an_actor_that_is_too_large_for_every_node_is_refused_at_once(refused: dict[str, str]) -> None:
    """The cluster has no autoscaler, so no larger node can be added."""
    messages = refused["actor"]
    assert "an actor needs 64 cores and 0 GPUs; the largest node has 1 core and 0 GPUs" in messages
    assert "waiting" not in messages
    assert "cluster.cpus_per_actor" in messages


def test_a_node_that_lacks_a_package_is_refused(run: ClusterRun) -> None:
    package = Path(statsmodels.__file__).parent
    node = run.cluster.hosts["worker-2"]
    node.run("mount", "-t", "tmpfs", "none", package)  # This hides the package on the node.
    try:
        messages = _refusal(run, run.submitting())
    finally:
        node.run("umount", package)
    assert re.search(r"node worker-2: its Python 3\.\S+ lacks statsmodels; build the nodes' image", messages)
    assert "worker-1" not in messages


def test_unsuitable_nodes_that_join_later_are_left_out_and_the_run_goes_on(run: ClusterRun) -> None:
    """One late node has an empty directory for the archive, as if nothing were mounted. The next has too little memory.

    The other node cannot commit until both have been excluded. Then the other node's actor is killed. Ray must start it
    again on the same node, although the late node has free cores.
    """
    cluster = run.cluster
    archive = write_cohort(run.directory / "archive", N_IMAGES)
    run.settings |= {"input.uri": archive, "model.batch_size": "auto"}
    late: list[tuple[dict[str, Any], str]] = [
        ({"emptied": [archive]}, "input.uri is not the same place there as for the driver"),
        ({"memory_bytes": 100 << 20}, "an actor has 0.1 GiB of memory there, and the run's batch needs"),
    ]
    client = None
    try:
        with cluster.proxy.held(method="PUT", key_contains="/scores/"):
            for unsuitable, problem in late:
                cluster.hosts["worker-2"].kill()
                cluster.wait_for_nodes(2)
                if client is None:
                    client = run.submitting()
                    run.wait_until_at_work(client, "worker-1")
                cluster.start_worker("worker-2", **unsuitable)
                cluster.wait_for_nodes(3)
                run.wait_until(client, lambda problem=problem: problem in run.driver_log(), problem)  # type: ignore[misc]
            (actor,) = actors_of(cluster.hosts["worker-1"])
            os.kill(actor, signal.SIGKILL)
        _, messages = run.wait_until_ended(client)
    finally:
        if client:
            client.kill()
        cluster.start_worker("worker-2")
        cluster.wait_for_nodes(3)
    assert client.returncode == 0, messages
    assert messages.count("node worker-2 is left out") == len(late), messages
    assert all(messages.count(problem) == 1 for _, problem in late), messages
    assert run.attempts("worker-2") == set()
    assert run.n_rows() == N_IMAGES
    assert "Traceback" not in messages
    assert run.verify().returncode == 0


def _run_metrics(cluster: RayCluster) -> dict[str, float]:
    """Return the metrics of the newest driver, summed over their other labels.

    Ray's endpoint keeps the metrics of earlier drivers for a while, and these tests share one cluster and one run id.
    """
    lines = [line for line in cluster.metrics(HEAD).splitlines() if line.startswith("ray_diagchd_batch_")]
    # The id of a driver begins with the number of its job.
    drivers = [re.search(r'WorkerId="(\w+)"', line)[1] for line in lines]
    found: dict[str, float] = {}
    for line, driver in zip(lines, drivers, strict=True):
        if driver == max(drivers):
            name, value = line.partition("{")[0], line.rpartition(" ")[2]
            found[name] = found.get(name, 0.0) + float(value)
    return found


def _names_in_the_dashboard() -> set[str]:
    return set(re.findall(r"ray_diagchd_batch_\w+", DASHBOARD.read_text()))


def _events(messages: str) -> list[dict[str, Any]]:
    """Return the events in the driver's log, which the client prints among its messages."""
    return [json.loads(line) for line in messages.splitlines() if line.startswith('{"time"')]


def test_a_stop_ends_the_run_after_the_shards_in_progress_and_the_same_submit_goes_on(run: ClusterRun) -> None:
    cluster = run.cluster
    run.settings["model.weights"] = "bundled"  # They lie on every node.
    # Serve enough images for some shards, then none until the stop has been requested.
    cluster.proxy.add(Fault(method="GET", key_contains=IMAGES, skip=6 * IMAGES_PER_SHARD, hold=True))
    client = run.submitting()
    try:
        run.wait_until_committed(client, 1)
        listed = cluster.command("list", "--address", cluster.address, "--json")
        newest = json.loads(listed.stdout)[0]
        assert newest["submission_id"].startswith(f"{RUN_ID}-s")
        assert newest["status"] == "running"
        (before,) = json.loads(cluster.command("status", run.output_uri, "--json").stdout)
        assert before["status"] == "running"
        assert before["workers"] >= 1

        def all_is_told() -> bool:
            return _run_metrics(cluster).get("ray_diagchd_batch_images_total") == run.n_rows()

        run.wait_until(client, all_is_told, "metrics of the run")
        may_be_none = {"ray_diagchd_batch_failures_total"}  # The shard with the bad file may not be committed yet.
        assert set(_run_metrics(cluster)) | may_be_none >= _names_in_the_dashboard()
        asked = cluster.command("stop", run.output_uri, "--run-id", RUN_ID)
        assert asked.returncode == 0, asked.stderr
        (stopping,) = json.loads(cluster.command("status", run.output_uri, "--json").stdout)
        assert stopping["status"] == "stopping"
        cluster.proxy.clear()
        _, stderr = run.wait_until_ended(client)
    finally:
        client.kill()
    assert client.returncode == 0, stderr
    n_committed = len(run.committed())
    assert 0 < n_committed < (N_IMAGES + 1) // IMAGES_PER_SHARD
    assert run.attempts(closed=False) == set()
    shards = [event for event in _events(stderr) if event["event"] == "shard" and event["committed"]]
    assert len({event["shard"] for event in shards}) == n_committed
    assert all(event["attempt"] and event["run"] == RUN_ID for event in shards)
    (state,) = json.loads(cluster.command("status", run.output_uri, "--json").stdout)
    assert (state["status"], state["shards_done"], state["remaining_s"]) == ("stopped", n_committed, None)
    again = cluster.command("stop", run.output_uri, "--run-id", RUN_ID)
    assert "it is stopped" in again.stderr
    ended = run.submit()
    assert ended.returncode == 3, ended.stderr
    assert int(json.loads(ended.stdout)["submission_id"].rpartition("-s")[2]) > int(
        newest["submission_id"].rpartition("-s")[2]
    )
    assert run.verify().returncode == 0
