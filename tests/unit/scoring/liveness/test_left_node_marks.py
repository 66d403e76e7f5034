"""Marks of nodes whose drivers were killed."""

import time
from pathlib import Path

import pytest

from diagchd_batch import output_layout
from diagchd_batch.scoring.liveness.heartbeats import DriverBeat, driver_name
from diagchd_batch.scoring.liveness.left_node_marks import LEFT_AFTER_S, left_node_marks, remove_left_node_marks
from diagchd_batch.storage import Store, open_store

RUN = "first-run"
SUBMISSIONS = {"live": "0000000a", "slow": "0000000b", "ended": "0000000c", "killed": "0000000d", "unknown": "0000000e"}


@pytest.fixture
def stores(tmp_path: Path) -> tuple[Store, Store]:
    """Return the two trees of an output with a mark of a submission of each kind."""
    output, private = open_store(str(tmp_path / "out")), open_store(str(tmp_path / "private"), owner_only=True)
    now = time.time()
    ages_s = {"live": 0.0, "slow": LEFT_AFTER_S / 2, "ended": 0.0, "killed": LEFT_AFTER_S + 60}
    for kind, submission in SUBMISSIONS.items():
        output.create(output_layout.node_mark(RUN, submission), b"")
        private.create(output_layout.node_proof(RUN, submission), b"{}")
        if kind in ages_s:
            beat = DriverBeat(ended=kind == "ended", time_s=now - ages_s[kind])
            beat.write(private, output_layout.heartbeat_file(RUN, driver_name(submission)))
    return output, private


def test_marks_of_drivers_that_have_ended_are_named_and_removed(stores: tuple[Store, Store]) -> None:
    output, private = stores
    marks = {kind: output_layout.node_mark(RUN, submission) for kind, submission in SUBMISSIONS.items()}
    assert left_node_marks(output, private) == [marks["ended"], marks["killed"]]
    remove_left_node_marks(output, private)
    assert sorted(info.key for info in output.list()) == [marks["live"], marks["slow"], marks["unknown"]]
    proofs = [output_layout.node_proof(RUN, SUBMISSIONS[kind]) for kind in ("live", "slow", "unknown")]
    assert sorted(info.key for info in private.list() if "/nodes/" in info.key) == proofs
    assert left_node_marks(output, private) == []
