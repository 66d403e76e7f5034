"""Planning large archives: memory stays bounded, and the time is reported. Two plans are made at the same time.

The plans of the slow tests have a fifth of the usual memory and passes of a fifth of the rows, so that 200,000 images
strain the memory as a million do. PLANNED_IMAGES in the environment is another number of images, such as 1000000. `new`
includes a plan of layout `tree`, and `frames` one of a manifest.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

import pytest

from tests.support.at_once import running_at_once

FEW, MANY = 10_000, int(os.environ.get("PLANNED_IMAGES", "200000"))
MAX_PEAK_BYTES = 450_000_000 if MANY <= 200_000 else 600_000_000
SHARES = {FEW: 1.0, MANY: 0.2}
INVENTORIES = {FEW: ("manifest", "frames", "new", "dicom"), MANY: ("frames", "new", "diagchd", "dicom")}
PLANS = [
    pytest.param(size, name, id=f"{size}-{name}", marks=[pytest.mark.slow] if size > FEW else [])
    for size, names in INVENTORIES.items()
    for name in names
]


@pytest.fixture(scope="module")
def measurements(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[dict[str, Future[dict[str, Any]]]]:
    directory = tmp_path_factory.mktemp("plans")

    def measure(which: str) -> dict[str, Any]:
        (directory / which).mkdir()
        n_images, inventory = which.split("-")
        words = [sys.executable, "-m", "tests.support.plan_simulated_archive", n_images, inventory, directory / which]
        words.append(SHARES[int(n_images)])
        answer = subprocess.run(list(map(str, words)), capture_output=True, text=True)
        assert answer.returncode == 0, answer.stderr
        return json.loads(answer.stdout)

    with running_at_once(measure, [str(plan.id) for plan in PLANS], request) as futures:
        yield futures


@pytest.mark.parametrize(("n_images", "inventory"), PLANS)
def test_planning_and_a_drivers_start_stay_below_a_limit_of_memory(
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
