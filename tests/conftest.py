"""Fixtures that every test may use."""

pytest_plugins = ["tests.support.radosgw", "tests.support.ray_cluster"]
