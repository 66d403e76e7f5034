"""The measurement of the index of headers, at a small scale: killed in the middle, continued, and small in memory."""

from pathlib import Path

import pytest

from tools.measure_header_index import IndexRun, committed_rows, measure, run_index

N_FILES = 2_500


@pytest.mark.slow
def test_a_killed_index_goes_on_within_bounded_memory(tmp_path: Path) -> None:
    lines = list(measure(tmp_path, N_FILES))
    assert lines[0].split()[:2] == ["files", "2,500"]
    assert "taken over, none of them read twice" in lines[2]
    assert committed_rows(tmp_path / "out" / "_private") >= N_FILES
    done = run_index(tmp_path / "job.yaml", tmp_path / "out" / "_private")
    assert isinstance(done, IndexRun) and done.counts is not None
    assert done.counts["n_read"] == 0
    assert 50 < done.peak_memory_mb < 1000
