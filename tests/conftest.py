"""Fixtures and settings of all tests."""

import gc
import os
from collections import Counter
from collections.abc import Iterator

import hypothesis
import pytest

pytest_plugins = [
    "tests.support.servers_and_hosts.radosgw",
    "tests.support.servers_and_hosts.ray_cluster",
    "tests.support.servers_and_hosts.orthanc",
]

# Every run tries the same examples. They have no deadline, because an example can be slow on a busy machine.
hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None)
hypothesis.settings.load_profile("repeatable")

LONGEST_FILES = (
    "tests/e2e/test_cluster_faults.py",
    "tests/integration/test_cluster_preflight.py",
    "tests/integration/test_submit_to_a_cluster.py",
    "tests/e2e/test_kill_and_resume.py",
    "tests/e2e/test_overnight.py",
    "tests/e2e/test_storage_trouble.py",
    "tests/e2e/test_tutorial_and_examples.py",
    "tests/e2e/test_no_identifier_leaks.py",
    "tests/e2e/training/test_train_and_score.py",
    "tests/integration/test_autoscaler.py",
    "tests/integration/test_scoring_on_an_existing_cluster.py",
    "tests/e2e/test_another_user.py",
    "tests/e2e/test_installed_wheel.py",
    "tests/e2e/test_report_in_a_browser.py",
    "tests/integration/test_dicomweb_runs.py",
    "tests/unit/model/weights/test_original_format.py",
    "tests/unit/scoring/driver/test_corrections.py",
    "tests/unit/evaluation/test_determinism.py",
)
"""The files that take longest: first those of the slow tests, then those of the others, each the longest first.

With `--dist loadfile` a worker tests one file at a time, so a long file that starts last runs alone.
"""


def pytest_configure(config: pytest.Config) -> None:
    """Let pytest-xdist keep the order of files. By itself it starts those with the most tests first."""
    config.option.loadscopereorder = False


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the files by the time that they take, and give slow tests a longer time limit, unless they set their own.

    All files that are not among the longest follow by their number of selected tests, the most first. The order within
    a file stays.
    """
    ranks = {name: rank for rank, name in enumerate(LONGEST_FILES)}
    files = {item: item.nodeid.partition("::")[0] for item in items}
    n_tests = Counter(files.values())
    places = {name: place for place, name in enumerate(n_tests)}
    items.sort(
        key=lambda item: (
            ranks.get(files[item], len(ranks)),
            -n_tests[files[item]],
            places[files[item]],
        )
    )
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
