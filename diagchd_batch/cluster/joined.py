"""The Ray cluster that this process was started on, or that the environment names: what a cluster job runs in."""

import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from diagchd_batch.cluster.resources import NodeResources
from diagchd_batch.config.models import ClusterConfig
from diagchd_batch.errors import RunFault
from diagchd_batch.wording import counted

NODE_TIMEOUT_S = 1800.0
"""How long the first node that an actor fits on is waited for: a cloud may have to find a machine with a GPU."""

_LOOK_EVERY_S = 2.0
_SAY_EVERY_S = 60.0


class JoinedRay:
    """The `scoring.actors.Cluster` of a driver inside a cluster. The connection begins when it is first needed.

    An autoscaler is asked for what one actor of `config` needs, where no node has it; `say` tells of the waiting.
    Raises RunFault after `node_timeout_s`.
    """

    elastic = True

    def __init__(
        self, config: ClusterConfig, say: Callable[[str], None], node_timeout_s: float = NODE_TIMEOUT_S
    ) -> None:
        self._cpus = 1.0 if config.cpus_per_actor == "auto" else config.cpus_per_actor
        self._gpus = 0.0 if config.gpus_per_actor == "auto" else config.gpus_per_actor
        self._say = say
        self._node_timeout_s = node_timeout_s

    def nodes(self) -> list[NodeResources]:
        """Nodes that are alive now, at least one of which an actor fits on; an autoscaler may add others later."""
        _connect()
        began_s = time.monotonic()
        said_s = float("-inf")
        while True:
            nodes = _alive()
            if any(node.cpus >= self._cpus and node.gpus >= self._gpus for node in nodes):
                return nodes
            now_s = time.monotonic()
            needed = f"{counted(self._cpus, 'core')} and {counted(self._gpus, 'GPU')}"
            if now_s - began_s > self._node_timeout_s:
                raise RunFault(
                    f"no node with {needed} came in {self._node_timeout_s:.0f} s; start one, look at the autoscaler, "
                    "or lower cluster.cpus_per_actor and cluster.gpus_per_actor, then give the same command again"
                )
            if now_s - said_s > _SAY_EVERY_S:
                said_s = now_s
                self._ask()
                self._say(f"waiting for a node with {needed}, for {self._node_timeout_s / 60:.0f} minutes at most")
            time.sleep(_LOOK_EVERY_S)

    def _ask(self) -> None:
        from ray.autoscaler.sdk import request_resources

        request_resources(bundles=[{"CPU": self._cpus, **({"GPU": self._gpus} if self._gpus else {})}])

    @contextmanager
    def connected(self) -> Iterator[None]:
        _connect()
        import ray

        try:
            yield
        finally:
            with suppress(Exception):  # the cluster may be gone; its wishes are gone with it
                from ray.autoscaler.sdk import request_resources

                request_resources(bundles=[])  # or the autoscaler would keep a node for nobody
            ray.shutdown()  # ends this job's actors, not the cluster

    def check(self) -> None:
        """Ray's library ends a driver whose cluster is gone; there is nothing to ask."""


def _alive() -> list[NodeResources]:
    import ray

    resources = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    nodes = [
        NodeResources(int(found.get("CPU", 0)), int(found.get("GPU", 0)), int(found.get("memory", 0)))
        for found in resources
    ]
    return [node for node in nodes if node.cpus > 0]


def _connect() -> None:
    import ray

    if ray.is_initialized():
        return
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # else its remarks about its internals are in the job's log
    try:
        ray.init(address="auto", log_to_driver=False, logging_level=logging.ERROR)
    except ConnectionError as error:
        raise RunFault(
            "no Ray cluster can be reached from here; set RAY_ADDRESS to its head (host:6379) and, if it asks for one, "
            "its token (RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH)"
        ) from error
