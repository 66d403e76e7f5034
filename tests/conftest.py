"""Fixtures and settings of all tests."""

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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give slow tests a longer time limit, unless they set their own."""
    for item in items:
        if item.get_closest_marker("slow") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(900))
