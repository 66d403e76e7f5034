"""Planning large archives: memory stays bounded, and the time it takes is reported."""

import json
import subprocess
import sys

import pytest

MAX_PEAK_BYTES = 1_500_000_000


@pytest.mark.parametrize("inventory", ["tree", "manifest", "frames", "new"])
@pytest.mark.parametrize("n_images", [10_000, pytest.param(1_000_000, marks=pytest.mark.slow)])
def test_planning_and_a_drivers_start_stay_below_1500_mb(n_images, inventory, tmp_path, record_property):
    answer = subprocess.run(
        [sys.executable, "-m", "tests.support.plan_simulated_archive", str(n_images), inventory, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
    )
    measured = json.loads(answer.stdout)
    print(measured)
    record_property("measured", measured)
    assert measured["n_images"] == n_images
    assert measured["n_missing"] == 0
    assert measured["n_shards"] <= 5_000
    assert measured["peak_bytes"] < MAX_PEAK_BYTES
