"""Runs from S3 to S3 on the cluster of `ray_cluster`, and access to what they wrote to the bucket."""

import json
import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tests.support.scoring_runs import RUN_ID, descendants, write_cohort
from tests.support.servers_and_hosts.fault_proxy import Fault
from tests.support.servers_and_hosts.namespaces import Host
from tests.support.servers_and_hosts.ray_cluster import RayCluster, wait_until

ARCHIVE = "archive-of-canary-patient-name"
IMAGES = f"/{ARCHIVE}/"
"""Part of the path of every request for an image. Requests that list the archive have no slash before its name."""

IMAGES_PER_SHARD = 8


def upload_cohort(cluster: RayCluster, bucket: str, n_images: int, directory: Path) -> None:
    """Upload studies of two small images each below ARCHIVE, and one file that cannot be decoded."""
    write_cohort(directory, n_images)
    (directory / "study-0001" / "broken.png").write_bytes(b"not a picture")
    for path in sorted(directory.rglob("*.png")):
        key = f"{ARCHIVE}/{path.relative_to(directory)}"
        cluster.s3.client.put_object(Bucket=bucket, Key=key, Body=path.read_bytes())


@dataclass
class ClusterRun:
    """One run with its output below `name` in the bucket. Its methods read the bucket without the fault proxy."""

    cluster: RayCluster
    bucket: str
    name: str
    directory: Path
    settings: dict[str, object] = field(default_factory=dict)

    @property
    def output_uri(self) -> str:
        return f"s3://{self.bucket}/{self.name}"

    @cached_property
    def job_file(self) -> Path:
        job = {
            "version": 1,
            "input": {"uri": f"s3://{self.bucket}/{ARCHIVE}", "layout": "tree"},
            "model": {"name": "diagchd-compact", "weights": "seed:0", "batch_size": 4},
            "output": {"uri": self.output_uri},
            "shards": {"images_per_shard": IMAGES_PER_SHARD},
            "cluster": {"cpus_per_actor": 1},
        }
        path = self.directory / f"{self.name}.yaml"
        path.write_text(json.dumps(job))
        return path

    def _words(self) -> list[object]:
        settings = [word for key, value in self.settings.items() for word in ("--set", f"{key}={value}")]
        return ["submit", self.job_file, "--run-id", RUN_ID, "--json", *settings]

    def submitting(self, *options: object) -> subprocess.Popen[str]:
        """Start a client that submits the run to the cluster and follows it."""
        return self.cluster.client(*self._words(), "--address", self.cluster.address, *options)

    def submit(self, *options: object) -> subprocess.CompletedProcess[str]:
        return self.cluster.command(*self._words(), "--address", self.cluster.address, *options)

    def score_here(self) -> subprocess.CompletedProcess[str]:
        """Score the same images with a local Ray on this machine."""
        return self.cluster.command(*self._words(), "--set", "cluster.actors.max=1")

    def verify(self) -> subprocess.CompletedProcess[str]:
        return self.cluster.command("verify", self.output_uri)

    def keys(self, below: str) -> list[str]:
        pages = self.cluster.s3.client.get_paginator("list_objects_v2")
        prefix = f"{self.name}/{below}"
        found = pages.paginate(Bucket=self.bucket, Prefix=prefix)
        return [entry["Key"].removeprefix(f"{self.name}/") for page in found for entry in page.get("Contents", [])]

    def read(self, key: str) -> bytes:
        return self.cluster.s3.client.get_object(Bucket=self.bucket, Key=f"{self.name}/{key}")["Body"].read()

    def committed(self) -> list[str]:
        return self.keys("scores/")

    def shards(self) -> set[str]:
        """Return the names of the committed shards, such as ``shard-00000``."""
        return {Path(key).stem for key in self.committed()}

    def score_bytes(self) -> dict[str, bytes]:
        return {key: self.read(key) for key in self.committed()}

    def n_rows(self) -> int:
        """Return the number of rows in all committed shards."""
        return sum(pq.read_metadata(pa.BufferReader(data)).num_rows for data in self.score_bytes().values())

    def predictions(self) -> pa.Table:
        return pa.concat_tables(pq.read_table(pa.BufferReader(self.read(key))) for key in self.keys("predictions/"))

    def driver_log(self) -> str:
        """Return what the driver has logged so far, read from the private tree."""
        return "".join(self.read(key).decode() for key in sorted(self.keys(f"_private/runs/run_id={RUN_ID}/logs/")))

    def attempts(self, node: str | None = None, *, closed: bool | None = None) -> set[str]:
        """Return the names of attempts, such as ``shard-00000/name``.

        Args:
            node: Return only the attempts of this node.
            closed: Return only attempts that have ended (True) or that have not (False). An attempt whose worker was
                killed stays open.
        """
        prefix = f"_private/runs/run_id={RUN_ID}/attempts/"
        keys = {key.removeprefix(prefix) for key in self.keys(prefix)}
        found = {key.removesuffix(".open.json") for key in keys if key.endswith(".open.json")}
        if closed is not None:
            found = {name for name in found if (f"{name}.closed.json" in keys) is closed}
        return {name for name in found if node in (None, self._node(f"{prefix}{name}.open.json"))}

    def images_held_from(self, *nodes: str) -> AbstractContextManager[object]:
        """Leave these nodes' requests for images unanswered within the block."""
        stack = ExitStack()
        for node in nodes:
            address = self.cluster.address_of(node)
            stack.enter_context(self.cluster.proxy.held(method="GET", key_contains=IMAGES, client=address))
        return stack

    def hold_images_from(self, node: str, *, after: int) -> Fault:
        """Answer `after` requests of a node for images and no later one, until the returned fault is removed."""
        address = self.cluster.address_of(node)
        return self.cluster.proxy.add(Fault(method="GET", key_contains=IMAGES, client=address, skip=after, hold=True))

    def wait_until(self, client: subprocess.Popen[str], condition: Callable[[], object], what: str) -> None:
        """Wait for the condition, and fail with the client's messages if the client ends first."""

        def came() -> bool:
            ended = client.poll() is not None
            if condition():
                return True
            assert not ended, f"the client ended before {what}\n{self._told(client)}"
            return False

        wait_until(came, what, lambda: self._told(client))

    def wait_until_committed(self, client: subprocess.Popen[str], count: int) -> None:
        self.wait_until(client, lambda: len(self.committed()) >= count, f"{count} shards")

    def wait_until_at_work(self, client: subprocess.Popen[str], node: str) -> None:
        """Wait until the node has an open attempt. No worker of the node may have been killed before."""
        self.wait_until(client, lambda: self.attempts(node, closed=False), f"{node} at work")

    def wait_until_ended(self, client: subprocess.Popen[str], timeout_s: float = 900.0) -> tuple[str, str]:
        """Wait for the client, and return its stdout and stderr."""
        try:
            return client.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"did not end within {timeout_s:g} s\n{self._told(client)}") from None

    def _node(self, key: str) -> str:
        return json.loads(self.read(key))["worker"]["node"]

    def _told(self, client: subprocess.Popen[str]) -> str:
        client.kill()
        _, messages = client.communicate()
        actors = {host.name: len(actors_of(host)) for host in self.cluster.hosts.values()}
        left = sorted(self.attempts(closed=False))
        return f"{len(self.committed())} shards, actors: {actors}, open attempts: {left}\n{messages}"


def actors_of(host: Host) -> list[int]:
    """Return the process ids of a node's actors, as this machine numbers them."""
    found = []
    for pid in descendants(host.pid):
        try:
            title = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue
        if b"ShardActor" in title:
            found.append(pid)
    return found
