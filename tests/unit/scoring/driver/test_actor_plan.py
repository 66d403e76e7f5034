"""The number and size of actors for given nodes."""

from typing import Any, Literal

import pytest

from diagchd_batch.cluster.resources import NodeResources
from diagchd_batch.config.job_file import ActorsConfig, ClusterConfig
from diagchd_batch.errors import ConfigError
from diagchd_batch.scoring.driver.actor_plan import ActorPlan, plan_actors

GB = 1 << 30
LAPTOP = NodeResources(8, 0, 16 * GB)
GPU_NODE = NodeResources(16, 4, 128 * GB)
SMALL = NodeResources(2, 0, 8 * GB)


def _config(low: int = 1, high: int | Literal["auto"] = "auto", **resources: Any) -> ClusterConfig:
    return ClusterConfig(actors=ActorsConfig(min=low, max=high), **resources)


@pytest.mark.parametrize(
    ("config", "nodes", "expected"),
    [
        (_config(), [LAPTOP], ActorPlan(1, 1, 1, 8.0, 0.0)),  # one actor takes the node's cores
        (_config(high=2), [LAPTOP], ActorPlan(1, 2, 2, 4.0, 0.0)),  # two share them
        (_config(high=2, cpus_per_actor=1), [SMALL], ActorPlan(1, 2, 2, 1.0, 0.0)),
        (_config(cpus_per_actor=2), [LAPTOP], ActorPlan(1, 4, 4, 2.0, 0.0)),
        (_config(), [LAPTOP, SMALL, SMALL], ActorPlan(1, 6, 6, 2.0, 0.0)),  # Each node takes at least one actor.
        (_config(), [GPU_NODE, GPU_NODE], ActorPlan(1, 8, 8, 4.0, 1.0)),  # one actor per GPU
        (_config(), [GPU_NODE, SMALL], ActorPlan(1, 4, 4, 4.0, 1.0)),  # Nodes without a GPU are not used.
        (_config(gpus_per_actor=0.5), [GPU_NODE], ActorPlan(1, 8, 8, 2.0, 0.5)),
        (_config(gpus_per_actor=0), [GPU_NODE], ActorPlan(1, 1, 1, 16.0, 0.0)),
        (_config(high=3), [GPU_NODE], ActorPlan(1, 3, 3, 4.0, 1.0)),
    ],
)
def test_actors(config: ClusterConfig, nodes: list[NodeResources], expected: ActorPlan) -> None:
    assert plan_actors(config, nodes) == expected


@pytest.mark.parametrize(
    ("config", "nodes"),
    [
        (_config(gpus_per_actor=1), [LAPTOP]),
        (_config(cpus_per_actor=9), [LAPTOP]),
        (_config(low=3, cpus_per_actor=4), [LAPTOP]),
    ],
)
def test_what_does_not_fit_is_refused(config: ClusterConfig, nodes: list[NodeResources]) -> None:
    with pytest.raises(ConfigError, match="cluster"):
        plan_actors(config, nodes)


def test_where_nodes_may_still_come_one_that_fits_is_enough_and_the_greatest_number_is_kept() -> None:
    config = _config(2, 4, cpus_per_actor=6, gpus_per_actor=1)
    one_node = [NodeResources(7, 1, 24 << 30)]
    assert plan_actors(config, one_node, elastic=True) == ActorPlan(2, 4, 4, 6.0, 1.0)
    with pytest.raises(ConfigError):
        plan_actors(config, one_node)
    with pytest.raises(ConfigError):
        plan_actors(config, [NodeResources(7, 0, 24 << 30)], elastic=True)


def test_auto_begins_with_what_fits_now_and_has_no_end_where_nodes_may_still_come() -> None:
    nodes = [NodeResources(8, 0, 16 * GB)] * 2
    assert plan_actors(_config(cpus_per_actor=4), nodes, elastic=True) == ActorPlan(1, 4, None, 4.0, 0.0)
    assert plan_actors(_config(6, cpus_per_actor=4), nodes, elastic=True) == ActorPlan(6, 6, None, 4.0, 0.0)
