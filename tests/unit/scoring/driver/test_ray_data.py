"""A run that is given up while its workers work leaves no thread that uses Ray."""

import subprocess
import sys

import pytest

PROGRAM = """
import threading, time
from ray.data._internal.execution.streaming_executor import StreamingExecutor
from types import SimpleNamespace

from diagchd_batch.cluster.local_cluster import local_ray
from diagchd_batch.cluster.resources import NodeResources
from diagchd_batch.scoring.driver import ray_data
from diagchd_batch.scoring.driver.actor_plan import ActorPlan
from diagchd_batch.studies.plan.planned_images import ShardReference

class Slow:
    def __init__(self, **settings): pass
    def __call__(self, shards):
        time.sleep(0.05)
        return {ray_data.OUTCOME: [b""]}

class GivenUp(Exception): pass

def give_up(summary):
    assert any(isinstance(thread, StreamingExecutor) for thread in threading.enumerate())
    raise GivenUp

ray_data.ShardActor = Slow
ray_data.read_outcomes = lambda outcomes: [None]
shards = [ShardReference(**dict.fromkeys(ShardReference.__dataclass_fields__, 0)) for _ in range(100)]
with local_ray(NodeResources(cpus=1, gpus=0, memory_bytes=1 << 30)):
    try:
        settings = SimpleNamespace(input_uri="/archive")
        ray_data.run_shards(settings, shards, ActorPlan(1, 1, 1, 1.0, 0.0), on_summary=give_up, on_tick=lambda: None)
    except GivenUp:
        pass
    left = [thread.name for thread in threading.enumerate()
            if isinstance(thread, StreamingExecutor) or thread.name == "ray-data"]
print("left", left)
"""


@pytest.mark.slow
def test_no_thread_uses_ray_after_a_run_was_given_up() -> None:
    ended = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=120)
    assert (ended.returncode, ended.stdout) == (0, "left []\n"), ended.stderr
