"""A real Ray cluster: a head and two workers on separate hosts, with token authentication and S3 through a fault proxy.

`ray_cluster` is the cluster of a test module. Its nodes are `namespaces.Host`s, so killing one has the effect of a
power failure. Tests are skipped with a reason if hosts or the S3 server cannot be started.
"""

import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support.scoring_runs import ID_KEY
from tests.support.servers_and_hosts.fault_proxy import FaultProxy
from tests.support.servers_and_hosts.namespaces import Host, HostNetwork
from tests.support.servers_and_hosts.radosgw import S3Server

HEAD, WORKERS = "head", ("worker-1", "worker-2")
PROGRAMS = Path(sys.executable).parent
METRICS_PORT = 8080
_OBJECT_STORE_BYTES = 80 << 20
_TIMEOUT_S = 600.0  # on a busy machine
_MAX_STARTS_AGAIN = 5


class RayCluster:
    """A head and two workers.

    `environ` is a client's environment. `directory` holds each node's files. Each node has its own, initially empty
    `own_directory`.
    """

    def __init__(self, network: HostNetwork, s3: S3Server, proxy: FaultProxy, directory: Path) -> None:
        self.network = network
        self.s3 = s3
        self.proxy = proxy
        self.directory = directory
        self.own_directory = directory / "own"
        self.own_directory.mkdir()
        self.token = secrets.token_hex(32)
        self.hosts: dict[str, Host] = {}
        self._starting: dict[str, tuple[tuple[str, ...], Sequence[Path]]] = {}
        self._clients: list[subprocess.Popen[str]] = []
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "RAY_"))}
        self.environ = (
            inherited
            | s3.environ
            | {
                "AWS_ENDPOINT_URL_S3": proxy.url,
                "DIAGCHD_ID_KEY": ID_KEY,
                "DIAGCHD_BATCH_LOG": "json",
                "PATH": f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}",
                "RAY_AUTH_MODE": "token",
                "RAY_AUTH_TOKEN": self.token,
                "RAY_USAGE_STATS_ENABLED": "0",
                "RAY_worker_niceness": "0",  # as in tests/conftest.py
                "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
                "RAY_DASHBOARD_STARTUP_TIMEOUT_S": "300",  # By default a minute, which is too short on a busy machine.
                # Ray notices a killed node after about fifteen seconds. As by default, five health checks in a row must
                # fail, but each has a timeout of two seconds instead of ten.
                "RAY_health_check_period_ms": "1000",
                "RAY_health_check_timeout_ms": "2000",
                "RAY_gcs_rpc_server_reconnect_timeout_s": "15",  # Workers end so long after their head, not a minute.
            }
        )

    @property
    def address(self) -> str:
        return f"http://{self.network.address(1)}:8265"

    def address_of(self, name: str) -> str:
        """Return the address of a node, which need not run."""
        return self.network.address((HEAD, *WORKERS).index(name) + 1)

    def start(self, workers: Sequence[str]) -> None:
        """Start the head and these workers one after the other, because each starts many processes."""
        self.start_head()
        self.wait_for_nodes(1)
        for number, name in enumerate(workers, start=2):
            self.start_worker(name)
            self.wait_for_nodes(number)

    def start_missing_workers(self) -> None:
        """Start the workers that do not run, and wait until the head lists all."""
        for name in WORKERS:
            if name not in self.hosts or not self.hosts[name].is_running():
                self.start_worker(name)
        self.wait_for_nodes(1 + len(WORKERS))

    def start_head(self) -> None:
        self._start(
            HEAD,
            *("--head", "--port=6379", "--num-cpus=0", "--dashboard-host=0.0.0.0", "--dashboard-port=8265"),
            "--include-dashboard=true",
        )

    def start_worker(self, name: str, *, emptied: Sequence[Path] = (), memory_bytes: int | None = None) -> None:
        """Start a worker node.

        Args:
            name: The node's name.
            emptied: Directories of this machine that are empty on the node.
            memory_bytes: The memory that Ray may assign to actors on the node. The default is Ray's own.
        """
        memory = [] if memory_bytes is None else [f"--memory={memory_bytes}"]
        self._start(name, f"--address={self.network.address(1)}:6379", "--num-cpus=1", *memory, emptied=emptied)

    def wait_for_nodes(self, count: int) -> None:
        """Wait until the head lists this number of live nodes.

        A node that ended while it started is started again: Ray allows half a minute, which is too short on a busy
        machine.
        """
        n_left = _MAX_STARTS_AGAIN

        def are_there() -> bool:
            nonlocal n_left
            for name, (options, emptied) in self._starting.items():
                if not self.hosts[name].is_running():
                    assert n_left > 0, f"{name} does not start\n{self._logs()}"
                    n_left -= 1
                    self._start(name, *options, emptied=emptied)
            return self._living() == count

        wait_until(are_there, f"{count} nodes", self._logs)
        self._starting.clear()

    def get(self, path: str) -> str:
        """Return the dashboard's response."""
        request = urllib.request.Request(self.address + path, headers={"Authorization": f"Bearer {self.token}"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.read().decode()

    def metrics(self, name: str) -> str:
        """Return the metrics that a node exports to Prometheus."""
        url = f"http://{self.hosts[name].address}:{METRICS_PORT}/metrics"
        with urllib.request.urlopen(url, timeout=30) as answer:
            return answer.read().decode()

    def client(self, *words: object, **environ: str) -> subprocess.Popen[str]:
        """Start a `diagchd-batch` command. It is killed at the latest with the cluster."""
        process = subprocess.Popen(
            [PROGRAMS / "diagchd-batch", *map(str, words)],
            env=self.environ | environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._clients.append(process)
        return process

    def kill_clients(self) -> None:
        for process in self._clients:
            process.kill()

    def command(self, *words: object, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run a `diagchd-batch` command to its end."""
        process = self.client(*words, **environ)
        stdout, stderr = process.communicate(timeout=_TIMEOUT_S)
        return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)

    def _start(self, name: str, *options: str, emptied: Sequence[Path] = ()) -> None:
        number = (HEAD, *WORKERS).index(name) + 1
        files = self.directory / name
        program = [
            *(PROGRAMS / "ray", "start", "--block", f"--node-ip-address={self.address_of(name)}"),
            *(f"--object-store-memory={_OBJECT_STORE_BYTES}", f"--temp-dir={files}"),
            *(f"--metrics-export-port={METRICS_PORT}", "--disable-usage-stats", *options),
        ]
        if name in self.hosts:
            self.hosts[name].kill()
        self._starting[name] = (options, emptied)
        with (self.directory / f"{name}.log").open("ab") as log:
            self.hosts[name] = self.network.start(
                name, number, program, environ=self.environ, log=log, own_directories=[self.own_directory, *emptied]
            )

    def _living(self) -> int:
        try:
            nodes: list[dict[str, Any]] = json.loads(self.get("/nodes?view=summary"))["data"]["summary"]
        except (urllib.error.URLError, OSError, KeyError, ValueError):
            return 0
        return sum(node["raylet"].get("state") == "ALIVE" for node in nodes)

    def _logs(self) -> str:
        return "\n".join(path.read_text()[-2000:] for path in self.directory.glob("*.log"))


def wait_until(
    condition: Callable[[], object], what: str, detail: Callable[[], str] = str, timeout_s: float = _TIMEOUT_S
) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, f"timed out while waiting for {what}\n{detail()}"
        time.sleep(0.5)


@pytest.fixture(scope="module")
def first_workers() -> Sequence[str]:
    """Return the workers that start with the cluster. A test module may override it."""
    return WORKERS


@pytest.fixture(scope="module")
def ray_cluster(s3_server: S3Server, first_workers: Sequence[str]) -> Iterator[RayCluster]:
    if reason := HostNetwork.why_not():
        pytest.skip(reason)
    with (
        tempfile.TemporaryDirectory(prefix="rc-", dir="/tmp", ignore_cleanup_errors=True) as directory,
        HostNetwork() as network,
        FaultProxy(s3_server.endpoint_url, host=network.gateway) as proxy,
    ):
        cluster = RayCluster(network, s3_server, proxy, Path(directory))
        try:
            cluster.start(first_workers)
            yield cluster
        finally:
            cluster.kill_clients()
