"""What Ray starts on a node and maps over shards. Imports nothing that may be missing there."""

import json
import pickle
import platform
from collections.abc import Mapping
from typing import Any

from diagchd_batch.cluster.node_checks.requirements import unsuitable_node

OUTCOME = "outcome"
"""The column of what it answers."""


class ShardActor:
    """A `ShardWorker`, where the node's Python can run one. `settings`: pickled RunSettings.

    Faults come back as rows, not as exceptions: Ray would retry those for ever, or give up without naming the node.
    """

    def __init__(self, settings: bytes) -> None:
        self._problem = unsuitable_node()
        if not self._problem:
            from diagchd_batch.scoring.worker.shard_worker import ShardWorker

            self._worker = ShardWorker(pickle.loads(settings))

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, list[str]]:
        if self._problem:
            fault = {"kind": "RunFault", "message": f"node {platform.node()}: {self._problem}"}
            return {OUTCOME: [json.dumps({"fault": fault})]}
        return {OUTCOME: [self._worker(batch)]}
