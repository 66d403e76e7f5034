"""Node marks that killed drivers left. The next run removes them, and `verify` mentions them."""

import re
import time
from collections.abc import Iterator

from diagchd_batch import output_layout
from diagchd_batch.errors import ItemError
from diagchd_batch.json_records import MAX_RECORD_BYTES, DamagedRecordError
from diagchd_batch.scoring.liveness.heartbeats import DriverBeat, driver_name
from diagchd_batch.storage import Store

LEFT_AFTER_S = 600.0
"""Seconds without a heartbeat after which a driver's mark is removed.

A living driver renews its heartbeat every few seconds. If it cannot write for so long and its mark is removed, it only
loses the nodes that join it later.
"""


def left_node_marks(output: Store, private: Store) -> list[str]:
    """Return the keys of the node marks whose drivers have ended.

    A mark whose driver has no readable heartbeat in the private tree stays: nothing tells whether the driver lives.

    Args:
        output: The output.
        private: The private tree.
    """
    return [match[0] for match in _left(output, private)]


def remove_left_node_marks(output: Store, private: Store) -> None:
    """Remove the node marks whose drivers have ended, with what nodes were checked against.

    Args:
        output: The output.
        private: The private tree.
    """
    for match in _left(output, private):
        output.delete(match[0])
        private.delete(output_layout.node_proof(match["run_id"], match["submission"]))


def _left(output: Store, private: Store) -> Iterator[re.Match[str]]:
    keys = [info.key for info in output.list(output_layout.RUNS_PREFIX)]
    for match in filter(None, map(output_layout.NODE_MARK.fullmatch, keys)):
        key = output_layout.heartbeat_file(match["run_id"], driver_name(match["submission"]))
        try:
            beat = DriverBeat.from_json(private.read(key, MAX_RECORD_BYTES), key)
        except (ItemError, DamagedRecordError):
            continue
        if beat.ended or time.time() - beat.time_s > LEFT_AFTER_S:
            yield match
