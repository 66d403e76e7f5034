"""`verify` mentions what killed processes left: files, which are no problem, and runs that nothing works on."""

import json
import os
import shutil
import time
from pathlib import Path

from diagchd_batch import output_layout
from diagchd_batch.results.output import open_output
from diagchd_batch.results.verify.findings import ProblemKind
from diagchd_batch.runs.status import run_states
from diagchd_batch.runs.verify import verify
from diagchd_batch.scoring.liveness.heartbeats import DriverBeat, driver_name

KEPT = Path(__file__).parents[2] / "data" / "output_f4f89d0" / "output"


def _copied(root: Path) -> Path:
    shutil.copytree(KEPT, root)
    for path in (root / "private", *(root / "private").rglob("*")):
        path.chmod(0o700 if path.is_dir() else 0o600)
    return root


def test_leftovers_are_mentioned_and_no_problem(tmp_path: Path) -> None:
    root = _copied(tmp_path / "output")
    output = open_output(str(root))
    found = verify(output, "first")
    assert found.ok and found.leftovers == ()

    mark = output_layout.node_mark("first", "0a1b2c3d")
    output.storage.create(mark, b"")
    beat = DriverBeat(ended=False, time_s=time.time() - 3600)
    beat.write(output.private, output_layout.heartbeat_file("first", driver_name("0a1b2c3d")))
    old = [
        root / "scores" / "run_id=first" / ".tmp-0123456789abcdef",
        root / "private" / "_tmp" / ".tmp-0a0a0a0a-7-0123456789abcdef",
    ]
    for path in (*old, root / "_tmp" / ".tmp-0a0a0a0a-7-fedcba9876543210"):  # the last may still be written
        path.parent.mkdir(exist_ok=True)
        path.touch()
    for path in old:
        os.utime(path, (0, 0))
    found = verify(open_output(str(root)), "first")
    assert found.ok
    assert found.leftovers == tuple(sorted(str(path) for path in (*old, root / mark)))


def test_a_run_that_was_killed_is_lost_and_not_running(tmp_path: Path) -> None:
    root = _copied(tmp_path / "output")
    record = root / "runs" / "run_id=first" / "run.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "status": "running", "ended_at": None}))
    output = open_output(str(root))
    heartbeat = output_layout.heartbeat_file("first", driver_name("0a1b2c3d"))
    for seconds_ago, status in ((0.0, "running"), (3600.0, "lost")):
        DriverBeat(ended=False, time_s=time.time() - seconds_ago).write(output.private, heartbeat)
        (problem,) = verify(output, "first").runs[0].problems
        assert (problem.kind, problem.detail) == (ProblemKind.UNFINISHED, f"its status is {status}")
        (state,) = run_states(output, "first")
        assert state.status == status
