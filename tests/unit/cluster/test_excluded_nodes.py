"""The bookkeeping for excluding an unsuitable node that joined during a run, without Ray."""

import pytest

from diagchd_batch.cluster.node_checks.excluded_nodes import NodeReports, filler_sizes


def test_a_node_is_reported_once_however_many_actors_start_on_it() -> None:
    reports = NodeReports()
    reports.report("aa", "worker-2", "no archive")
    assert not reports.is_excluded("aa")
    assert reports.unread() == [("aa", "worker-2", "no archive")]
    reports.exclude("aa")
    reports.report("aa", "worker-2", "no archive")
    assert reports.unread() == []
    assert reports.is_excluded("aa")


@pytest.mark.parametrize(
    ("n_slots", "sizes"), [(0, []), (1, [1]), (2, [1, 1]), (7, [1, 2, 4]), (64, [1, 2, 4, 8, 16, 32, 1])]
)
def test_a_node_is_filled_whole_by_few_tasks(n_slots: int, sizes: list[int]) -> None:
    assert list(filler_sizes(n_slots)) == sizes
