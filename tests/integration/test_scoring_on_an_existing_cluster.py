"""`jobs/score.py` on an existing Ray cluster with token authentication."""

import json
import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.support.checkers.planted_modules import IMPORTED, plant_modules
from tests.support.scoring_runs import ID_KEY, PROJECT, ScoringRun, verify, write_cohort

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def cluster() -> Iterator[dict[str, str]]:
    with _head(gpus=0) as environment:
        yield environment


@contextmanager
def _head(gpus: int) -> Iterator[dict[str, str]]:
    """Start a Ray head and yield the environment of its clients."""
    environment = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), "RAY_USAGE_STATS_ENABLED": "0"}
    environment["PYTHONPATH"] = str(PROJECT)
    with tempfile.TemporaryDirectory(prefix="head-", dir="/tmp") as directory:
        head = subprocess.Popen(
            [
                sys.executable,
                str(PROJECT / "tests" / "support" / "servers_and_hosts" / "ray_head.py"),
                directory,
                str(gpus),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | environment,
            text=True,
        )
        try:
            yield environment | {"RAY_ADDRESS": head.stdout.readline().strip()}
        finally:
            head.communicate(timeout=60)


def _score(
    run: ScoringRun, environment: dict[str, str], *options: str, working_directory: Path | None = None
) -> subprocess.CompletedProcess[str]:
    job = {
        "version": 1,
        "input": {"uri": str(run.cohort), "layout": "tree"},
        "model": {"name": "diagchd-compact", "weights": "seed:0", "batch_size": 4},
        "output": {"uri": str(run.output)},
        "shards": {"images_per_shard": 8},
    }
    run.directory.mkdir(parents=True, exist_ok=True)
    (run.directory / "job.yaml").write_text(json.dumps(job))
    named = ["--run-id", run.run_id] if run.run_id else []
    return subprocess.run(
        [sys.executable, str(PROJECT / "jobs" / "score.py"), str(run.directory / "job.yaml"), *named, *options],
        cwd=working_directory,
        env=os.environ | {"DIAGCHD_ID_KEY": ID_KEY} | environment,
        capture_output=True,
        text=True,
        timeout=500,
    )


def test_scores_as_an_embedded_ray_does_and_refuses_a_wrong_token(cluster: dict[str, str], tmp_path: Path) -> None:
    cohort = write_cohort(tmp_path / "cohort", 24)
    planted = tmp_path / "planted"
    planted.mkdir()
    plant_modules(planted)
    embedded = ScoringRun(tmp_path / "embedded", cohort)
    joined = ScoringRun(tmp_path / "joined", cohort)
    with embedded.started() as at_once:
        refused = _score(joined, cluster | {"RAY_AUTH_TOKEN": secrets.token_hex(32)})
        assert refused.returncode == 1, refused.stderr
        assert "Traceback" not in refused.stderr
        assert "its token" in refused.stderr
        assert joined.committed() == []
        ended = _score(joined, cluster, working_directory=planted)
        assert ended.returncode == 0, ended.stderr
        assert not (planted / IMPORTED).exists()  # neither the driver nor an actor looks for modules there
        ending = at_once.ending()
    assert ending.exit_code == 0, ending.messages
    assert json.loads(ended.stdout)["counts"]["n_ok"] == 24
    assert joined.score_bytes() == embedded.score_bytes()
    again = _score(joined, cluster)
    assert json.loads(again.stdout)["repeated"]


_FIND_A_NODE = """
import sys
from diagchd_batch.cluster.existing_cluster import ExistingCluster
from diagchd_batch.config.job_file import ClusterConfig
from diagchd_batch.errors import ConfigError
from diagchd_batch.scoring.driver.actor_plan import plan_actors

config = ClusterConfig(cpus_per_actor=float(sys.argv[1]), gpus_per_actor=float(sys.argv[2]))
try:
    actors = plan_actors(config, ExistingCluster(config, print).nodes(), elastic=True)
    print(f"{actors.initial_actors} actor with {actors.cpus:g} cores and {actors.gpus:g} GPUs")
except ConfigError as error:
    print(f"refused: {error}")
"""
"""A driver's check that an actor fits on a node. It runs in a separate process, because it joins the cluster."""


def _find_a_node(environment: dict[str, str], cpus: int, gpus: int) -> str:
    ended = subprocess.run(
        [sys.executable, "-c", _FIND_A_NODE, str(cpus), str(gpus)],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.splitlines()[-1]


@pytest.mark.parametrize(("cpus", "gpus", "needed"), [(1, 1, "1 core and 1 GPU"), (3, 0, "3 cores and 0 GPUs")])
def test_an_actor_that_fits_no_node_of_a_static_cluster_is_refused_with_the_remedy(
    cluster: dict[str, str], cpus: int, gpus: int, needed: str
) -> None:
    refusal = _find_a_node(cluster, cpus, gpus)
    assert refusal.startswith(f"refused: an actor needs {needed}; the largest node has 2 cores and 0 GPUs, ")
    assert "Lower cluster.cpus_per_actor and cluster.gpus_per_actor" in refusal


def test_where_a_node_has_the_gpu_that_an_actor_asks_for_the_run_is_scored(tmp_path: Path) -> None:
    """The node only claims a GPU, so this tests which actor gets the GPU, not computing on it."""
    with _head(gpus=1) as cluster:
        assert _find_a_node(cluster, 2, 1) == "1 actor with 2 cores and 1 GPUs"
        assert "refused: an actor needs 1 core and 2 GPUs" in _find_a_node(cluster, 1, 2)
        run = ScoringRun(tmp_path / "run", write_cohort(tmp_path / "cohort", 8))
        ended = _score(run, cluster, "cluster.gpus_per_actor=1", "cluster.cpus_per_actor=2")
        assert ended.returncode == 0, ended.stderr
        assert json.loads(ended.stdout)["counts"]["n_ok"] == 8


def test_nights(cluster: dict[str, str], tmp_path: Path) -> None:
    """The nightly job's options work: those of its entry point, and a deadline with a UTC offset."""
    run = ScoringRun(tmp_path / "run", write_cohort(tmp_path / "cohort", 8), run_id=None)
    late = _score(run, cluster, "--select", "new", "--until", "2020-01-01T06:00:00+01:00")
    assert (late.returncode, late.stdout) == (0, ""), late.stderr
    assert "deadline has passed" in late.stderr
    assert not run.output.exists()

    until = (datetime.now(UTC) + timedelta(hours=8)).isoformat()
    first = _score(run, cluster, "--select", "new", "--until", until)
    assert first.returncode == 0, first.stderr
    assert json.loads(first.stdout)["counts"]["n_images"] == 8
    (run.cohort / "study-0001" / "image-0002.png").replace(run.cohort / "study-0001" / "new.png")  # type: ignore[operator]
    second = _score(run, cluster, "--select", "new", "--until", until)
    assert json.loads(second.stdout)["counts"]["n_images"] == 1, second.stderr
    third = _score(run, cluster, "--select", "new", "--until", until)
    assert json.loads(third.stdout)["nothing_selected"], third.stderr
    assert verify(str(run.output)) == 0
