"""What Ray starts on a node and maps over shards. Imports nothing that a node may lack."""

import json
import pickle
import platform
from collections.abc import Mapping
from typing import Any

from diagchd_batch.cluster.node_checks.python_requirements import unsuitable_node

OUTCOME = "outcome"
"""The column of the actor's answers."""


class ShardActor:
    """A `ShardWorker`, where the node can run one.

    Faults are answers, not exceptions: Ray would retry those for ever, or give up without naming the node.

    Args:
        settings: Pickled RunSettings.
        reports: The driver's `NodeReports`, if nodes may join during the run. An actor on a node that cannot work
            reports it there and ends itself, so that Ray starts it on another node. Without it the problem is a fault
            that ends the run.
        permits: The driver's actor that hands out the permits of requests to a PACS; None for other archives.
    """

    def __init__(self, settings: bytes, reports: Any = None, permits: Any = None) -> None:
        self._problem = unsuitable_node()
        if not self._problem:
            self._problem = self._start(settings, permits, may_leave=reports is not None)
        if self._problem and reports is not None:
            from diagchd_batch.cluster.node_checks.excluded_nodes import leave_node

            leave_node(reports, self._problem)

    def _start(self, pickled: bytes, permits: Any, *, may_leave: bool) -> str:
        """Make the worker, and return why this node cannot run it, if so."""
        settings = pickle.loads(pickled)
        if may_leave and settings.min_memory_bytes:
            from diagchd_batch.cluster.node_checks.nodes_joining_later import actor_memory_bytes, memory_problem

            if problem := memory_problem(settings.min_memory_bytes, actor_memory_bytes()):
                return problem
        from diagchd_batch.scoring.worker.worker_process import ShardWorker

        if permits is not None:
            from diagchd_batch.cluster.request_permits import RemotePermits

            permits = RemotePermits(permits)
        self._worker = ShardWorker(settings, permits)
        return self._worker.node_problem

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, list[str]]:
        """Score the shard in `batch`, one row of a ShardReference, and return the worker's answer."""
        if self._problem:
            message = f"node {platform.node()}: {self._problem}, then give the same command again"
            return {OUTCOME: [json.dumps({"fault": {"kind": "RunFault", "message": message}})]}
        return {OUTCOME: [self._worker(batch)]}
