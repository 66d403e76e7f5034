"""Runs on a cluster that consists only of a head until Ray's own autoscaler starts the nodes that a run needs.

The nodes are real raylets beside the head, which are started by Ray's node provider for tests.
"""

import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.scoring_runs import ID_KEY, RUN_ID, verify, write_cohort
from tests.support.servers_and_hosts.cluster_runs import actors_of
from tests.support.servers_and_hosts.namespaces import Host, HostNetwork
from tests.support.servers_and_hosts.ray_cluster import PROGRAMS, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

HEAD_ID = "f" * 51 + "00000"  # The provider recognises the head by this id.
HEAD_TYPE = "ray.head.default"  # the provider's name for the head's type
GCS_PORT, DASHBOARD_PORT = 6379, 8265
N_IMAGES = 64


class GrowingCluster:
    """A head without cores, and an autoscaler that may add nodes of one core each."""

    def __init__(self, network: HostNetwork, directory: Path, max_nodes: int) -> None:
        self.address = f"http://{network.address(1)}:{DASHBOARD_PORT}"
        self.log = directory / "head.log"
        self._token = secrets.token_hex(32)
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        self.environ = inherited | {
            "DIAGCHD_ID_KEY": ID_KEY,
            "PATH": f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": self._token,
            "RAY_DASHBOARD_STARTUP_TIMEOUT_S": "300",  # as in tests/support/servers_and_hosts/ray_cluster.py
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_worker_niceness": "0",  # as in tests/conftest.py
        }
        config = directory / "autoscaler.json"  # JSON is YAML
        config.write_text(json.dumps(_autoscaler(f"{network.address(1)}:{GCS_PORT}", max_nodes)))
        program = [
            *(PROGRAMS / "ray", "start", "--head", "--block", "--num-cpus=0", f"--autoscaling-config={config}"),
            *(f"--node-ip-address={network.address(1)}", f"--port={GCS_PORT}", f"--temp-dir={directory / 'ray'}"),
            *(f"--dashboard-port={DASHBOARD_PORT}", "--dashboard-host=0.0.0.0", "--object-store-memory=83886080"),
        ]
        own = {
            "AUTOSCALER_UPDATE_INTERVAL_S": "1",
            "RAY_CLOUD_INSTANCE_ID": HEAD_ID,
            "RAY_FAKE_CLUSTER": "1",
            "RAY_OVERRIDE_NODE_ID_FOR_TESTING": HEAD_ID,
            "RAY_enable_autoscaler_v2": "1",
        }
        with self.log.open("wb") as log:
            self.host: Host = network.start("head", 1, program, environ=self.environ | own, log=log)

    def n_living(self) -> int:
        request = urllib.request.Request(f"{self.address}/nodes?view=summary")
        request.add_header("Authorization", f"Bearer {self._token}")
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                nodes = json.load(answer)["data"]["summary"]
        except (urllib.error.URLError, OSError, KeyError, ValueError):
            return 0
        return sum(node["raylet"].get("state") == "ALIVE" for node in nodes)


def _autoscaler(gcs_address: str, max_nodes: int) -> dict[str, object]:
    """Return the autoscaler's configuration.

    Only providers that reach nodes by SSH use the commands and files, but the configuration must name them.
    """
    lists = ("head_setup_commands", "worker_setup_commands", "setup_commands", "initialization_commands")
    lists += ("head_start_ray_commands", "worker_start_ray_commands", "cluster_synced_files", "rsync_exclude")
    return {
        "cluster_name": "growing",
        "max_workers": max_nodes,
        "idle_timeout_minutes": 0.1,
        "provider": {
            "type": "external",
            "module": "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider",
            "gcs_address": gcs_address,
            "head_node_id": HEAD_ID,
            "disable_node_updaters": True,
            "disable_launch_config_check": True,
            "use_internal_ips": True,
        },
        "head_node_type": HEAD_TYPE,
        "available_node_types": {
            HEAD_TYPE: {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
            "worker": {
                "resources": {"CPU": 1, "object_store_memory": 80 << 20},
                "node_config": {},
                "min_workers": 0,
                "max_workers": max_nodes,
            },
        },
        **{name: [] for name in (*lists, "rsync_filter")},
        **{name: {} for name in ("auth", "docker", "file_mounts")},
        "file_mounts_sync_continuously": False,
    }


@pytest.fixture(scope="module")
def cluster() -> Iterator[GrowingCluster]:
    if reason := HostNetwork.why_not():
        pytest.skip(reason)
    with (
        tempfile.TemporaryDirectory(prefix="gc-", dir="/tmp", ignore_cleanup_errors=True) as directory,
        HostNetwork() as network,
    ):
        growing = GrowingCluster(network, Path(directory), max_nodes=2)
        wait_until(lambda: growing.n_living() == 1, "a head", growing.log.read_text)
        yield growing


def test_a_run_has_the_autoscaler_start_its_nodes_and_lets_them_go(cluster: GrowingCluster, tmp_path: Path) -> None:
    job = {
        "version": 1,
        "input": {"uri": str(write_cohort(tmp_path / "archive", N_IMAGES)), "layout": "tree"},
        "model": {"name": "diagchd-compact", "weights": "seed:0", "batch_size": 4},
        "output": {"uri": str(tmp_path / "out")},
        "shards": {"images_per_shard": 8},
        "cluster": {"actors": {"min": 1, "max": 2}, "cpus_per_actor": 1},
    }
    (tmp_path / "job.yaml").write_text(json.dumps(job))
    words = ["submit", tmp_path / "job.yaml", "--run-id", RUN_ID, "--address", cluster.address]
    client = subprocess.Popen(
        [sys.executable, "-m", "diagchd_batch", *map(str, words)],
        env=cluster.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    seen = set()

    def has_ended() -> bool:
        """Stop the first actor until the second node is there, because it could score all images before."""
        seen.add(cluster.n_living())
        for pid in actors_of(cluster.host):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT if 3 in seen else signal.SIGSTOP)
        return client.poll() is not None

    try:
        wait_until(has_ended, "the run's end", cluster.log.read_text)
    finally:
        client.kill()
        told = client.communicate()[0]
    assert client.returncode == 0, f"{told}\n{cluster.log.read_text()}"
    assert "waiting for a node with 1 core" in told
    assert {1, 2, 3} <= seen, told  # The head was alone first, then the nodes of the two actors were added in turn.
    assert verify(str(tmp_path / "out")) == 0
    wait_until(lambda: cluster.n_living() == 1, "the nodes' end", cluster.log.read_text, timeout_s=120)
