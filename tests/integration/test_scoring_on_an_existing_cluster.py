"""`jobs/score.py` on an existing Ray cluster with token authentication."""

import json
import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support.checkers.planted_modules import IMPORTED, plant_modules
from tests.support.scoring_runs import ID_KEY, PROJECT, Ending, ScoringRun, verify, write_cohort

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

N_IMAGES = 24
SCORES_NEW = ("--select", "new", "--until", (datetime.now(UTC) + timedelta(hours=8)).isoformat())
"""The options of a nightly job."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[dict[str, str]]:
    """Start a Ray head and yield the environment of its clients.

    The node only claims a GPU. This shows which actor gets the GPU, not computing on it.
    """
    environment = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), "RAY_USAGE_STATS_ENABLED": "0"}
    environment["PYTHONPATH"] = str(PROJECT)
    program = PROJECT / "tests" / "support" / "servers_and_hosts" / "ray_head.py"
    with tempfile.TemporaryDirectory(prefix="head-", dir="/tmp") as directory:
        head = subprocess.Popen(
            [sys.executable, str(program), directory, "1"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | environment,
            text=True,
        )
        try:
            yield environment | {"RAY_ADDRESS": head.stdout.readline().strip()}
        finally:
            head.communicate(timeout=300)


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
    settings = [f"{key}={value}" for key, value in run.overrides.items()]
    return subprocess.run(
        [sys.executable, str(PROJECT / "jobs" / "score.py"), str(run.directory / "job.yaml"), *options, *settings],
        cwd=working_directory,
        env=os.environ | {"DIAGCHD_ID_KEY": ID_KEY} | environment,
        capture_output=True,
        text=True,
        timeout=500,
    )


@dataclass(frozen=True)
class FirstNight:
    """The run of a first night on the cluster, which began in `planted`, and the same run on an embedded Ray."""

    run: ScoringRun
    ended: subprocess.CompletedProcess[str]
    score_bytes: dict[str, bytes]
    embedded_ending: Ending
    embedded_score_bytes: dict[str, bytes]
    planted: Path

    def summary(self) -> dict[str, Any]:
        return json.loads(self.ended.stdout)


@pytest.fixture(scope="module")
def first_night(cluster: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> FirstNight:
    directory = tmp_path_factory.mktemp("nights")
    cohort = write_cohort(directory / "cohort", N_IMAGES)
    planted = directory / "planted"
    planted.mkdir()
    plant_modules(planted)
    # The last bits of the scores depend on the threads, which otherwise follow from the cores.
    threads: dict[str, object] = {"cluster.threads_per_actor": 1}
    embedded = ScoringRun(directory / "embedded", cohort, threads, run_id=None)
    actors = {"cluster.gpus_per_actor": 1, "cluster.cpus_per_actor": 2}
    joined = ScoringRun(directory / "joined", cohort, threads | actors, run_id=None)
    with embedded.started("--select", "new") as at_once:
        ended = _score(joined, cluster, *SCORES_NEW, working_directory=planted)
        ending = at_once.ending()
    return FirstNight(joined, ended, joined.score_bytes(), ending, embedded.score_bytes(), planted)


def test_it_scores_as_an_embedded_ray_does_with_the_gpu_that_an_actor_asks_for(first_night: FirstNight) -> None:
    assert first_night.embedded_ending.exit_code == 0, first_night.embedded_ending.messages
    assert first_night.ended.returncode == 0, first_night.ended.stderr
    assert not (first_night.planted / IMPORTED).exists()  # Neither the driver nor an actor looks for modules there.
    assert first_night.summary()["counts"]["n_ok"] == N_IMAGES
    assert len(first_night.score_bytes) == N_IMAGES // 8
    assert first_night.score_bytes == first_night.embedded_score_bytes


def test_the_same_command_repeats_the_outcome_and_the_next_night_scores_what_is_new(
    cluster: dict[str, str], first_night: FirstNight
) -> None:
    run = first_night.run
    named = ("--run-id", first_night.summary()["run_id"])
    again = _score(run, cluster, *named)
    assert json.loads(again.stdout)["repeated"], again.stderr
    study = Path(run.cohort) / "study-0001"
    (study / "image-0002.png").replace(study / "new.png")
    second = _score(run, cluster, *SCORES_NEW)
    assert json.loads(second.stdout)["counts"]["n_images"] == 1, second.stderr
    third = _score(run, cluster, *SCORES_NEW)
    assert json.loads(third.stdout)["nothing_selected"], third.stderr
    assert verify(str(run.output)) == 0


def test_a_deadline_with_a_utc_offset_that_has_passed_begins_no_run(cluster: dict[str, str], tmp_path: Path) -> None:
    run = ScoringRun(tmp_path / "run", write_cohort(tmp_path / "cohort", 2), run_id=None)
    late = _score(run, cluster, "--select", "new", "--until", "2020-01-01T06:00:00+01:00")
    assert (late.returncode, late.stdout) == (0, ""), late.stderr
    assert "deadline has passed" in late.stderr
    assert not run.output.exists()


def test_a_wrong_token_is_refused(cluster: dict[str, str], tmp_path: Path) -> None:
    run = ScoringRun(tmp_path / "run", write_cohort(tmp_path / "cohort", 2))
    refused = _score(run, cluster | {"RAY_AUTH_TOKEN": secrets.token_hex(32)})
    assert refused.returncode == 1, refused.stderr
    assert "Traceback" not in refused.stderr
    assert "its token" in refused.stderr
    assert run.committed() == []


_PLANS = """
import json
import sys
from diagchd_batch.cluster.existing_cluster import ExistingCluster
from diagchd_batch.config.job_file import ClusterConfig
from diagchd_batch.errors import ConfigError
from diagchd_batch.scoring.driver.actor_plan import plan_actors

for cpus, gpus in json.loads(sys.argv[1]):
    config = ClusterConfig(cpus_per_actor=cpus, gpus_per_actor=gpus)
    try:
        actors = plan_actors(config, ExistingCluster(config, print).nodes(), elastic=True)
        print(f"{actors.initial_actors} actor with {actors.cpus:g} cores and {actors.gpus:g} GPUs")
    except ConfigError as error:
        print(f"refused: {error}")
"""
"""A driver's checks that an actor fits on a node. They run in a separate process, because it joins the cluster."""


def test_an_actor_that_fits_no_node_of_a_static_cluster_is_refused_with_the_remedy(cluster: dict[str, str]) -> None:
    wanted = [(2.0, 1.0), (1.0, 2.0), (3.0, 0.0)]  # cores and GPUs of an actor
    ended = subprocess.run(
        [sys.executable, "-c", _PLANS, json.dumps(wanted)],
        env=os.environ | cluster,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ended.returncode == 0, ended.stderr
    fits, *refusals = ended.stdout.splitlines()[-3:]
    assert fits == "1 actor with 2 cores and 1 GPUs"
    for refusal, needed in zip(refusals, ("1 core and 2 GPUs", "3 cores and 0 GPUs"), strict=True):
        assert refusal.startswith(f"refused: an actor needs {needed}; the largest node has 2 cores and 1 GPU, ")
        assert "Lower cluster.cpus_per_actor and cluster.gpus_per_actor" in refusal
