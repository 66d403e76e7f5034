"""Planning large archives: memory stays bounded, and the time is reported. Two plans are made at the same time."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

import pytest

from tests.support.at_once import running_at_once

MAX_PEAK_BYTES = 1_500_000_000
INVENTORIES = ("tree", "manifest", "frames", "new")
SIZES = (10_000, 1_000_000)


@pytest.fixture(scope="module")
def measurements(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[dict[str, Future[dict[str, Any]]]]:
    directory = tmp_path_factory.mktemp("plans")

    def measure(which: str) -> dict[str, Any]:
        (directory / which).mkdir()
        words = [sys.executable, "-m", "tests.support.plan_simulated_archive", *which.split("-"), directory / which]
        answer = subprocess.run(list(map(str, words)), capture_output=True, text=True)
        assert answer.returncode == 0, answer.stderr
        return json.loads(answer.stdout)

    with running_at_once(measure, [f"{size}-{name}" for size in SIZES for name in INVENTORIES], request) as futures:
        yield futures


@pytest.mark.parametrize("inventory", INVENTORIES)
@pytest.mark.parametrize("n_images", [SIZES[0], pytest.param(SIZES[1], marks=pytest.mark.slow)])
def test_planning_and_a_drivers_start_stay_below_1500_mb(
    measurements: dict[str, Future[dict[str, Any]]],
    n_images: int,
    inventory: str,
    record_property: Callable[[str, object], None],
) -> None:
    measured = measurements[f"{n_images}-{inventory}"].result()
    print(measured)
    record_property("measured", measured)
    assert measured["n_images"] == n_images
    assert measured["n_missing"] == 0
    assert measured["n_shards"] <= 5_000
    assert measured["peak_bytes"] < MAX_PEAK_BYTES
