"""The nodes that a driver on a cluster waits for, and the actors that it refuses at once."""

import time
from collections.abc import Callable

import pytest

from diagchd_batch.cluster import existing_cluster
from diagchd_batch.cluster.existing_cluster import ExistingCluster, cannot_grow
from diagchd_batch.cluster.resources import NodeResources
from diagchd_batch.config.job_file import ClusterConfig
from diagchd_batch.errors import ConfigError, RunFault

SMALL = NodeResources(cpus=2, gpus=0, memory_bytes=8 << 30)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[ExistingCluster, list[str], list[float]]]:
    """Return a function that makes a simulated cluster, its list of messages and its clock.

    Each query for the nodes returns the next list of nodes; the last list is repeated.
    """

    def make(
        *looks: list[NodeResources], static: bool, cpus: float = 4, gpus: float = 0
    ) -> tuple[ExistingCluster, list[str], list[float]]:
        messages: list[str] = []
        clock, left = [0.0], list(looks)
        monkeypatch.setattr(existing_cluster, "_connect", lambda: None)
        monkeypatch.setattr(existing_cluster, "_is_static", lambda: static)
        monkeypatch.setattr(existing_cluster, "_living_nodes", lambda: left.pop(0) if len(left) > 1 else left[0])
        monkeypatch.setattr(time, "monotonic", lambda: clock[0])
        monkeypatch.setattr(time, "sleep", lambda seconds: clock.__setitem__(0, clock[0] + seconds))
        monkeypatch.setattr(ExistingCluster, "_request_node", lambda self: None)
        return (
            ExistingCluster(ClusterConfig(cpus_per_actor=cpus, gpus_per_actor=gpus), messages.append, 300),
            messages,
            clock,
        )

    return make


@pytest.mark.parametrize(("cpus", "gpus"), [(4, 0), (1, 1)])
def test_an_actor_that_is_too_large_for_a_static_cluster_is_refused_at_once(
    cluster: Callable[..., tuple[ExistingCluster, list[str], list[float]]], cpus: int, gpus: int
) -> None:
    ray, messages, clock = cluster([SMALL], static=True, cpus=cpus, gpus=gpus)
    with pytest.raises(ConfigError, match=r"an actor needs .*the largest node has 2 cores and 0 GPUs, .*no autoscaler"):
        ray.nodes()
    assert (messages, clock) == ([], [0.0])


@pytest.mark.parametrize("static", [True, False])
def test_the_first_node_of_a_cluster_is_waited_for(
    cluster: Callable[..., tuple[ExistingCluster, list[str], list[float]]], static: bool
) -> None:
    large = NodeResources(cpus=8, gpus=0, memory_bytes=8 << 30)
    ray, messages, _ = cluster([], [], [large], static=static)
    assert ray.nodes() == [large]
    assert messages == ["waiting for a node with 4 cores and 0 GPUs, for 5 minutes at most"]


def test_a_larger_node_is_waited_for_where_an_autoscaler_may_add_it(
    cluster: Callable[..., tuple[ExistingCluster, list[str], list[float]]],
) -> None:
    ray, messages, clock = cluster([SMALL], static=False)
    with pytest.raises(RunFault, match=r"no node with 4 cores and 0 GPUs came in 300 s; start one, check the"):
        ray.nodes()
    assert clock[0] > 300
    assert len(messages) == 5


@pytest.mark.parametrize(
    ("types", "is_static"),
    [
        (["node_aa", "node_bb"], True),
        (["node_aa", "worker"], False),
        (["ray.head.default"], False),
        (["node_of_the_cloud"], False),
        ([], False),  # the status is not there yet
    ],
)
def test_whether_a_cluster_can_grow_follows_from_the_types_of_its_nodes(types: list[str], is_static: bool) -> None:
    assert cannot_grow(types, ["aa", "bb", "cc"]) is is_static
