"""Faults of a real cluster with S3. Each run gives the same results as without the fault, some after one more submit.

The table of docs/faults.md names these tests.
"""

import json
import os
import random
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

import pyarrow as pa
import pytest

from diagchd_batch.results.output import open_output
from diagchd_batch.runs.verify import verify
from tests.support.scoring_runs import ID_KEY, RUN_ID, kill
from tests.support.servers_and_hosts.cluster_runs import (
    ARCHIVE,
    IMAGES,
    IMAGES_PER_SHARD,
    ClusterRun,
    actors_of,
    upload_cohort,
)
from tests.support.servers_and_hosts.fault_proxy import Fault
from tests.support.servers_and_hosts.ray_cluster import HEAD, WORKERS, RayCluster

pytestmark = [pytest.mark.slow, pytest.mark.s3, pytest.mark.timeout(1800)]

N_IMAGES = 12 * IMAGES_PER_SHARD - 1  # The upload adds one file that cannot be decoded.
DONE_WITH_FAILED_INPUTS = 3
N_KILLS = int(os.environ.get("CLUSTER_FAULT_KILLS", "4"))  # docs/faults.md has the command for ten.


@dataclass(frozen=True)
class Expected:
    """The results of a run on this machine alone."""

    score_bytes: dict[str, bytes]
    predictions: pa.Table


@pytest.fixture(scope="module")
def first_workers() -> Sequence[str]:
    """Leave out the worker that comes during the first test's run."""
    return WORKERS[:1]


@pytest.fixture(scope="module")
def bucket(ray_cluster: RayCluster, tmp_path_factory: pytest.TempPathFactory) -> str:
    name = ray_cluster.s3.new_bucket()
    upload_cohort(ray_cluster, name, N_IMAGES, tmp_path_factory.mktemp("cohort"))
    return name


@pytest.fixture(scope="module")
def expected(ray_cluster: RayCluster, bucket: str, tmp_path_factory: pytest.TempPathFactory) -> Expected:
    run = ClusterRun(ray_cluster, bucket, "here", tmp_path_factory.mktemp("here"))
    ended = run.score_here()
    assert ended.returncode == DONE_WITH_FAILED_INPUTS, ended.stderr
    return Expected(run.score_bytes(), run.predictions())


@pytest.fixture
def run(
    ray_cluster: RayCluster, bucket: str, s3_environ: dict[str, str], tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[ClusterRun]:
    yield ClusterRun(ray_cluster, bucket, request.node.name.replace("_", "-"), tmp_path)
    ray_cluster.proxy.clear()
    ray_cluster.kill_clients()


def _finish(run: ClusterRun, client: subprocess.Popen[str]) -> str:
    """Wait until the client reports the run's end, and return the client's messages."""
    stdout, stderr = run.wait_until_ended(client)
    assert client.returncode == DONE_WITH_FAILED_INPUTS, stderr
    assert json.loads(stdout)["run_id"] == RUN_ID
    return stderr


def _assert_as(expected: Expected, run: ClusterRun) -> None:
    assert run.score_bytes() == expected.score_bytes
    assert run.predictions() == expected.predictions
    verification = verify(open_output(run.output_uri))
    assert verification.ok, verification


def test_two_submits_at_once_a_node_that_comes_during_the_run_and_one_that_dies(
    run: ClusterRun, expected: Expected
) -> None:
    """The run begins on one node, a second node comes and is used, and is killed while it works on a shard."""
    cluster = run.cluster
    run.settings["limits.object_timeout_s"] = 800  # Images are held while a node and its actor start.
    # Each node's images are held after some shards, so that it cannot finish the run before the next step. An actor
    # works on two shards at a time. Therefore it has finished a shard when it has read the images of three.
    first_held = run.hold_images_from("worker-1", after=3 * IMAGES_PER_SHARD)
    clients = [run.submitting(), run.submitting()]
    run.wait_until_committed(clients[0], 1)
    assert run.attempts("worker-2") == set()
    second_held = run.hold_images_from("worker-2", after=3 * IMAGES_PER_SHARD)
    cluster.start_worker("worker-2")
    cluster.wait_for_nodes(3)
    run.wait_until(clients[0], lambda: run.attempts("worker-2", closed=True), "a shard of worker-2")
    run.wait_until_at_work(clients[0], "worker-2")
    cluster.hosts["worker-2"].kill()
    cluster.proxy.remove(first_held)
    cluster.proxy.remove(second_held)
    for client in clients:
        _finish(run, client)
    _assert_as(expected, run)


def test_actors_are_killed(run: ClusterRun, expected: Expected) -> None:
    """Kill each actor while it works on a shard.

    While the test waits for one node, the other node gets no images, because it could finish all remaining shards. The
    node itself gets the images of one shard in each turn, so that shards are left for all turns.

    A shard whose actor was killed four times would be taken for the cause. Therefore the shards of a node's first three
    deaths are finished before the fourth, as would be the case with deaths by chance.
    """
    cluster, moments = run.cluster, random.Random(20)
    cluster.start_missing_workers()
    run.settings["limits.object_timeout_s"] = 800  # Images are held while an actor starts, which may take long.
    cluster.proxy.add(Fault(method="GET", key_contains=IMAGES, delay_s=0.5))  # A shard lasts for a second or two.
    killed: dict[str, set[str]] = {name: set() for name in WORKERS}  # attempts whose actor was killed
    deaths: Counter[str] = Counter()
    client = run.submitting()
    run.wait_until(client, run.attempts, "work begins")
    for number in islice(cycle((1, 2)), N_KILLS):  # One node's actor restarts during the other's turn.
        name, other = f"worker-{number}", f"worker-{3 - number}"
        with run.images_held_from(other):
            if deaths[name] == 3:
                shards = {attempt.partition("/")[0] for attempt in killed[name]}
                run.wait_until(client, lambda s=shards: s <= run.shards(), f"{name}'s shards")  # type: ignore[misc]
            run.wait_until(
                client,
                lambda n=name: run.attempts(n, closed=False) - killed[n],  # type: ignore[misc]
                f"{name} at work again",
            )
            held = run.hold_images_from(name, after=IMAGES_PER_SHARD)
            time.sleep(moments.uniform(0, 1.5))
            for pid in actors_of(cluster.hosts[name]):
                kill(pid)
            in_progress = run.attempts(name, closed=False) - killed[name]
            assert in_progress
            killed[name] |= in_progress
            deaths[name] += 1
        cluster.proxy.remove(held)
    _finish(run, client)
    assert deaths == {"worker-1": (N_KILLS + 1) // 2, "worker-2": N_KILLS // 2}
    _assert_as(expected, run)


def test_s3_fails_in_many_ways_and_a_worker_loses_it_for_thirty_seconds(run: ClusterRun, expected: Expected) -> None:
    cluster = run.cluster
    cluster.start_missing_workers()
    faults = [
        Fault(status=503, code="SlowDown", probability=0.1, times=60),
        Fault(status=500, probability=0.1, times=40),
        Fault(cut_after=100, method="GET", key_contains=IMAGES, probability=0.2, times=20),
        Fault(drop_response=True, method="PUT", key_contains="shard-", times=5),
        Fault(delay_s=2.0, probability=0.05, times=40),
    ]
    for fault in faults:
        cluster.proxy.add(fault)
    held = [run.hold_images_from(name, after=IMAGES_PER_SHARD) for name in WORKERS]
    client = run.submitting()
    run.wait_until(client, lambda: held[0].hits > held[0].skip, "worker-1 reads images")
    cluster.hosts["worker-1"].drop_packets_to(cluster.network.gateway)
    try:
        for fault in held:  # The other worker goes on meanwhile.
            cluster.proxy.remove(fault)
        time.sleep(30)  # the duration of the fault
        assert client.poll() is None
    finally:
        cluster.hosts["worker-1"].restore_packets_to(cluster.network.gateway)
    _finish(run, client)
    assert all(fault.hits for fault in faults)
    _assert_as(expected, run)


def test_the_head_is_killed_and_started_again(run: ClusterRun, expected: Expected) -> None:
    cluster = run.cluster
    cluster.start_missing_workers()
    for name in WORKERS:
        run.hold_images_from(name, after=3 * IMAGES_PER_SHARD)
    client = run.submitting()
    run.wait_until_committed(client, 1)
    cluster.hosts[HEAD].kill()
    _, messages = run.wait_until_ended(client)
    assert client.returncode == 1, messages
    assert "Traceback" not in messages
    committed = run.score_bytes()
    assert len(committed) < len(expected.score_bytes)
    kept = cluster.command("logs", run.output_uri, "--run-id", RUN_ID)
    assert kept.returncode == 0 and '"event": "started"' in kept.stdout, kept.stderr
    cluster.start_head()
    cluster.wait_for_nodes(1)
    for name in WORKERS:  # They end by themselves. In production the cluster manager starts new ones.
        assert cluster.hosts[name].wait(300), f"{name} outlived its head"
    cluster.proxy.clear()
    cluster.start_missing_workers()
    _finish(run, run.submitting())
    assert committed.items() <= run.score_bytes().items()
    _assert_as(expected, run)


def test_all_that_was_left_behind_tells_no_secret_and_no_identifier(ray_cluster: RayCluster) -> None:
    """Search Ray's session directories on all nodes, after all tests above, and the responses of the dashboard."""
    told = {str(path): path.read_bytes() for path in ray_cluster.directory.rglob("*") if path.is_file()}
    told |= {path: ray_cluster.get(path).encode() for path in ("/api/jobs/", "/api/v0/actors", "/api/v0/tasks")}
    assert len(told) > 100
    secrets = (ray_cluster.token, ID_KEY, ray_cluster.s3.environ["AWS_SECRET_ACCESS_KEY"])
    for word in (*secrets, ARCHIVE, "canary", "image-00", "study-00"):
        assert [place for place, text in told.items() if word.encode() in text] == []
