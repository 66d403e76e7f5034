"""How many actors a run starts, and how many cores and GPUs each gets."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from diagchd_batch.cluster.resources import NodeResources
from diagchd_batch.config.job_file import ClusterConfig
from diagchd_batch.errors import ConfigError


@dataclass(frozen=True, slots=True)
class ActorPlan:
    """How many actors a run starts, and their size.

    Attributes:
        min_actors: The fewest actors, while nodes come and go.
        initial_actors: The actors at the start.
        max_actors: The most actors; None for as many as the nodes have room for.
        cpus: Processor cores of one actor.
        gpus: GPUs of one actor.
    """

    min_actors: int
    initial_actors: int
    max_actors: int | None
    cpus: float
    gpus: float


def plan_actors(config: ClusterConfig, nodes: Sequence[NodeResources], *, elastic: bool = False) -> ActorPlan:
    """Return how many actors of which size fit on the nodes.

    With `auto`, an actor gets one GPU and its share of the node's cores. Without GPUs an actor gets all cores of a
    node, or the actors that `actors.max` asks for share them.

    Args:
        config: The job file's `cluster` block.
        nodes: The nodes that are there now.
        elastic: Whether nodes may join later. Then one actor that fits is enough, a number in `actors.max` is asked for
            at once, and `auto` begins with what fits now.

    Raises:
        ConfigError: Fewer actors fit than are needed.
    """
    gpus = _gpus_per_actor(config, nodes)
    usable = [node for node in nodes if node.gpus > 0] if gpus else list(nodes)
    if not usable:
        raise ConfigError(f"cluster.gpus_per_actor is {gpus:g}, but no node has a GPU; set it to auto or 0")
    node = min(usable, key=lambda candidate: candidate.cpus)
    per_node = max(1, math.floor(node.gpus / gpus)) if gpus else 1
    if config.actors.max != "auto" and not gpus:
        per_node = math.ceil(config.actors.max / len(usable))
    cpus = config.cpus_per_actor
    if cpus == "auto":
        cpus = float(max(1, node.cpus // per_node))
    fitting = [min(n.cpus // cpus, n.gpus // gpus if gpus else math.inf) for n in usable]
    n_fitting = int(sum(fitting))
    needed = 1 if elastic else config.actors.min
    if n_fitting < needed:
        raise ConfigError(
            f"{needed} actor(s) with {cpus:g} cores and {gpus:g} GPUs each do not fit: the largest node has "
            f"{max(n.cpus for n in usable)} cores and {max(n.gpus for n in usable)} GPUs; lower cluster.actors.min, "
            "cluster.cpus_per_actor or cluster.gpus_per_actor"
        )
    if config.actors.max == "auto":
        initial = n_fitting
    else:
        initial = config.actors.max if elastic else min(config.actors.max, n_fitting)
    initial = max(initial, config.actors.min)
    most = None if elastic and config.actors.max == "auto" else initial
    return ActorPlan(config.actors.min, initial, most, float(cpus), float(gpus))


def _gpus_per_actor(config: ClusterConfig, nodes: Sequence[NodeResources]) -> float:
    if config.gpus_per_actor == "auto":
        return 1.0 if any(node.gpus for node in nodes) else 0.0
    return float(config.gpus_per_actor)
