"""The Ray cluster that this process was started on, or that the environment names. Jobs on a cluster run in it."""

import json
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from diagchd_batch.cluster.resources import NodeResources
from diagchd_batch.cluster.worker_import_path import job_config
from diagchd_batch.config.job_file import ClusterConfig
from diagchd_batch.errors import ConfigError, RunFault
from diagchd_batch.wording import counted

NODE_TIMEOUT_S = 1800.0
"""How long the first node that an actor fits on is waited for: a cloud may have to find a machine with a GPU."""

_POLL_S = 2.0
_MESSAGE_INTERVAL_S = 60.0
_STATUS_KEY = "__autoscaling_status"


class ExistingCluster:
    """The `Cluster` of a driver inside a Ray cluster. It connects when it is first used.

    Args:
        config: The job file's `cluster` block. If no node fits one of its actors, the autoscaler is asked for one.
        say: Gets messages while a node is waited for.
        node_timeout_s: Seconds that a node is waited for.
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
        """Return the nodes that live now. An actor fits on at least one of them; others may join later.

        Raises:
            ConfigError: An actor fits on no node, and the cluster has no autoscaler that could add one.
            RunFault: No node that fits came in time.
        """
        _connect()
        began_s = time.monotonic()
        said_s = float("-inf")
        while True:
            nodes = _living_nodes()
            if any(node.cpus >= self._cpus and node.gpus >= self._gpus for node in nodes):
                return nodes
            needed = f"{counted(self._cpus, 'core')} and {counted(self._gpus, 'GPU')}"
            if nodes and _is_static():
                cpus, gpus = max(node.cpus for node in nodes), max(node.gpus for node in nodes)
                raise ConfigError(
                    f"an actor needs {needed}; the largest node has {counted(cpus, 'core')} and {counted(gpus, 'GPU')}"
                    ", and the cluster has no autoscaler. Lower cluster.cpus_per_actor and cluster.gpus_per_actor, or "
                    "start a larger node"
                )
            now_s = time.monotonic()
            if now_s - began_s > self._node_timeout_s:
                raise RunFault(
                    f"no node with {needed} came in {self._node_timeout_s:.0f} s; start one, check the autoscaler, "
                    "or lower cluster.cpus_per_actor and cluster.gpus_per_actor, then give the same command again"
                )
            if now_s - said_s > _MESSAGE_INTERVAL_S:
                said_s = now_s
                self._request_node()
                self._say(f"waiting for a node with {needed}, for {self._node_timeout_s / 60:.0f} minutes at most")
            time.sleep(_POLL_S)

    def _request_node(self) -> None:
        from ray.autoscaler.sdk import request_resources

        request_resources(bundles=[{"CPU": self._cpus, **({"GPU": self._gpus} if self._gpus else {})}])

    @contextmanager
    def connected(self) -> Iterator[None]:
        """Connect to Ray for the block. Leaving it ends this job's actors, not the cluster."""
        _connect()
        import ray

        try:
            yield
        finally:
            with suppress(Exception):  # the cluster may be gone, and the request with it
                from ray.autoscaler.sdk import request_resources

                request_resources(bundles=[])  # otherwise the autoscaler keeps an idle node
            ray.shutdown()

    def check(self) -> None:
        """Do nothing: Ray's library ends a driver whose cluster is gone."""


def cannot_grow(node_types: Iterable[str], node_ids: Iterable[str]) -> bool:
    """Return whether Ray's status says that no autoscaler adds nodes.

    Without an autoscaler Ray gives each node a type of its own, named after the node's id.

    Args:
        node_types: The types of the nodes in the status.
        node_ids: The ids of all nodes, dead ones included.
    """
    types = set(node_types)
    return bool(types) and types <= {f"node_{node_id}" for node_id in node_ids}


def _is_static() -> bool:
    """Return whether the cluster surely has no autoscaler. It may only be starting, so without a status it may."""
    import ray
    from ray.experimental.internal_kv import _internal_kv_get  # there is no public way to ask

    status: Mapping[str, Any] = json.loads(_internal_kv_get(_STATUS_KEY) or b"{}")
    report = status.get("autoscaler_report") or {}
    return cannot_grow(report.get("active_nodes") or (), [node["NodeID"] for node in ray.nodes()])


def _living_nodes() -> list[NodeResources]:
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
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # keeps notes on Ray's internals out of the job's log
    try:
        ray.init(address="auto", log_to_driver=False, logging_level=logging.ERROR, job_config=job_config())
    except ConnectionError as error:
        raise RunFault(
            "no Ray cluster can be reached from here; set RAY_ADDRESS to its head (host:6379) and, if it asks for one, "
            "its token (RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH)"
        ) from error
