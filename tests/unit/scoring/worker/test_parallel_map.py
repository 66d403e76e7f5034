"""The map over tasks in threads keeps their order and its bounds, raises their errors and never deadlocks."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diagchd_batch.scoring.worker.parallel_map import Item, ParallelMap


def _feed(
    tasks: Sequence[int],
    work: Callable[[int], Iterator[Item]],
    *,
    threads: int = 3,
    max_tasks: int = 4,
    max_bytes: int = 100,
    size_of: Callable[[int], int] = lambda task: 1,
) -> ParallelMap[int, Item]:
    return ParallelMap(tasks, work, threads=threads, max_tasks=max_tasks, max_bytes=max_bytes, size_of=size_of)


@settings(deadline=None, max_examples=60)
@given(
    lengths=st.lists(st.integers(0, 12), max_size=30),
    sizes=st.lists(st.integers(0, 150), min_size=30, max_size=30),
    threads=st.integers(1, 4),
    max_tasks=st.integers(1, 6),
)
def test_items_come_in_order_whatever_the_bounds(
    lengths: list[int], sizes: list[int], threads: int, max_tasks: int
) -> None:
    """Some tasks have more items than fit ahead of the consumer, and some are larger than the limit on bytes."""
    tasks = list(range(len(lengths)))

    def work(task: int) -> Iterator[tuple[int, int]]:
        for item in range(lengths[task]):
            yield task, item

    with _feed(tasks, work, threads=threads, max_tasks=max_tasks, size_of=lambda task: sizes[task]) as feed:
        assert list(feed) == [(task, item) for task in tasks for item in range(lengths[task])]


def test_slow_head_does_not_let_the_others_run_away() -> None:
    begun, release = [], threading.Event()

    def work(task: int) -> Iterator[int]:
        begun.append(task)
        if task == 0:
            release.wait(10)
        yield task

    with _feed(range(50), work, max_tasks=5) as feed:
        items = iter(feed)
        threading.Timer(0.3, release.set).start()
        assert next(items) == 0
        assert max(begun) < 5
        assert list(items) == list(range(1, 50))


def test_bytes_of_begun_tasks_are_bounded() -> None:
    sizes = [10, 95, 10, 10, 300, 10, 10]
    live, most, lock = set(), [0], threading.Lock()

    def work(task: int) -> Iterator[int]:
        with lock:
            live.add(task)
            most[0] = max(most[0], sum(sizes[t] for t in live) if live != {4} else 0)
        time.sleep(0.01)
        yield task

    with _feed(range(len(sizes)), work, max_tasks=7, max_bytes=100, size_of=lambda task: sizes[task]) as feed:
        for task in feed:
            with lock:
                live.discard(task)
    assert most[0] <= 100


def test_a_tasks_exception_is_raised_at_its_place() -> None:
    def work(task: int) -> Iterator[int]:
        yield task
        if task == 2:
            raise OSError("task 2")

    seen = []
    with pytest.raises(OSError, match="task 2"), _feed(range(6), work) as feed:
        for item in feed:
            seen.append(item)
    assert seen == [0, 1, 2]


def test_leaving_early_ends_the_threads() -> None:
    def work(task: int) -> Iterator[int]:
        while True:
            yield task

    before = threading.active_count()
    with _feed(range(10), work) as feed:
        assert next(iter(feed)) == 0
    assert threading.active_count() == before
