"""Runs on the cluster of `ray_cluster`, from S3 to S3, and what they left in the bucket."""

import json
import subprocess
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tests.support.namespaces import Host
from tests.support.ray_cluster import RayCluster, wait_until
from tests.support.scoring_runs import RUN_ID, descendants, write_cohort

ARCHIVE = "archive-of-canary-patient-name"
IMAGES_PER_SHARD = 8


def upload_cohort(cluster: RayCluster, bucket: str, n_images: int, directory: Path) -> None:
    """Studies of two small pictures each below ARCHIVE, and a file that is none."""
    write_cohort(directory, n_images)
    (directory / "study-0001" / "broken.png").write_bytes(b"not a picture")
    for path in sorted(directory.rglob("*.png")):
        key = f"{ARCHIVE}/{path.relative_to(directory)}"
        cluster.s3.client.put_object(Bucket=bucket, Key=key, Body=path.read_bytes())


@dataclass
class ClusterRun:
    """One run, and its output below `name` in the bucket. The bucket is looked at past the fault proxy."""

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

    def submitting(self, *options: object) -> subprocess.Popen:
        """A client that submits the run to the cluster and follows it."""
        return self.cluster.client(*self._words(), "--address", self.cluster.address, *options)

    def submit(self, *options: object) -> subprocess.CompletedProcess[str]:
        return self.cluster.command(*self._words(), "--address", self.cluster.address, *options)

    def score_here(self) -> subprocess.CompletedProcess[str]:
        """The same run with an embedded Ray on this machine."""
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

    def score_bytes(self) -> dict[str, bytes]:
        return {key: self.read(key) for key in self.committed()}

    def n_rows(self) -> int:
        """Of all committed shards."""
        return sum(pq.read_metadata(pa.BufferReader(data)).num_rows for data in self.score_bytes().values())

    def predictions(self) -> pa.Table:
        return pa.concat_tables(pq.read_table(pa.BufferReader(self.read(key))) for key in self.keys("predictions/"))

    def nodes_at_work(self) -> set[str]:
        """Names of nodes with an attempt that is open."""
        keys = self.keys(f"private/runs/run_id={RUN_ID}/attempts/")
        closed = {key.removesuffix(".closed.json") for key in keys}
        opened = [key for key in keys if key.endswith(".open.json") and key.removesuffix(".open.json") not in closed]
        return {json.loads(self.read(key))["worker"]["node"] for key in opened}

    def nodes_that_worked(self) -> set[str]:
        """Names of nodes with an attempt, open or closed."""
        keys = self.keys(f"private/runs/run_id={RUN_ID}/attempts/")
        return {json.loads(self.read(key))["worker"]["node"] for key in keys if key.endswith(".open.json")}

    def wait_until_committed(self, client: subprocess.Popen, count: int) -> None:
        """Fails if the client ends first."""

        def reached() -> bool:
            assert client.poll() is None, client.communicate()
            return len(self.committed()) >= count

        wait_until(reached, f"{count} shards")


def actors_of(host: Host) -> list[int]:
    """Process ids, as this machine counts, of the actors that a node runs."""
    found = []
    for pid in descendants(host.pid):
        try:
            title = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue
        if b"ShardActor" in title:
            found.append(pid)
    return found
