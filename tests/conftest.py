"""Fixtures and settings of all tests."""

import gc
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import hypothesis
import pytest
from threadpoolctl import threadpool_limits

if TYPE_CHECKING:
    from diagchd_batch.model import Predictor

pytest_plugins = [
    "tests.support.servers_and_hosts.radosgw",
    "tests.support.servers_and_hosts.ray_cluster",
    "tests.support.servers_and_hosts.orthanc",
]

# Every run tries the same examples. They have no deadline, because an example can be slow on a busy machine.
hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None)
hypothesis.settings.load_profile("repeatable")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give slow tests a longer time limit, unless they set their own."""
    for item in items:
        if item.get_closest_marker("slow") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(900))


def pytest_collection_finish() -> None:
    """Exempt all imported modules from garbage collection.

    They have a million objects. Visiting them takes a second, and some tests call functions that collect garbage.
    """
    gc.collect()
    gc.freeze()


def pytest_unconfigure() -> None:
    """Let Python free the modules when it ends. Some of their libraries complain about what was not freed."""
    gc.unfreeze()


@pytest.fixture(scope="session", autouse=True)
def writes_that_do_not_wait_for_the_disk() -> Iterator[None]:
    """Let files that the tests' own process writes stay in the cache of the operating system.

    Only a power failure would show the difference. A run in this process waits more than a hundred times. Processes
    that tests start wait as always, and a test of the order of calls finds its own function in place of this one.
    """
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture(scope="session", autouse=True)
def workers_of_ray_with_ordinary_priority() -> Iterator[None]:
    """Give Ray's workers the priority of the other processes.

    Ray starts them with a niceness of 15. Beside another busy process of the tests they would hardly get a core, and
    runs would wait minutes for a worker that loads its model.
    """
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("RAY_worker_niceness", "0")
        yield


@pytest.fixture(scope="session", autouse=True)
def one_thread_of_linear_algebra() -> Iterator[None]:
    """Let NumPy and SciPy use one thread in the tests' own process.

    Threads that wait for each other keep the cores busy, which two workers share: a quarter of the time of tests of
    statistics. Processes that tests start use as many threads as always.
    """
    with threadpool_limits(limits=1):
        yield


@pytest.fixture(scope="session")
def bundled_predictor() -> "Predictor":
    """Return the bundled compact model in float32, for batches of four. To load and compile it takes five seconds."""
    from diagchd_batch.model import Predictor, resolve_model  # most tests need no Keras

    return Predictor(resolve_model("diagchd-compact", "bundled", "float32"), 4)
