"""The measurement of cine loops, at a small scale: the pipeline is at least twice as fast as pydicom alone."""

from pathlib import Path

import pytest

from tools.measure_cine import LOOPS_A_TURN, peak_mib, seconds_of_pydicom, seconds_of_the_pipeline, write_loops

N_LOOPS, N_FRAMES = 20, 25


@pytest.mark.slow
def test_loops_are_decoded_at_least_twice_as_fast_as_by_pydicom(tmp_path: Path) -> None:
    """Both take turns, so that a load from elsewhere falls on both. On an idle machine the ratio is far above 2."""
    write_loops(tmp_path, N_LOOPS, N_FRAMES)
    keys = sorted(path.name for path in tmp_path.iterdir())
    ours_s = theirs_s = 0.0
    peaks = []
    for start in range(0, N_LOOPS, LOOPS_A_TURN // 2):
        turn = keys[start : start + LOOPS_A_TURN // 2]
        ours_s += seconds_of_the_pipeline(tmp_path, turn)
        theirs_s += seconds_of_pydicom(tmp_path, turn)
        peaks.append(peak_mib())
    assert theirs_s / ours_s >= 2
    assert peaks[-1] < peaks[0] + 150
