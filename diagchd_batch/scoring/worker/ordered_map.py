"""Runs generators in a pool of threads and yields what they yield, in the order of the tasks, within bounds."""

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Generic, Self, TypeVar

Task = TypeVar("Task")
Item = TypeVar("Item")

_ITEMS_AHEAD = 2
_POLL_S = 0.2


class _Stopped(Exception):  # noqa: N818 - never seen outside
    pass


class _Failure:
    def __init__(self, error: BaseException) -> None:
        self.error = error


_END = object()


class OrderedFeed(Generic[Task, Item]):
    """Iterate over it, inside `with`, to get all items of task 0, then of task 1, …; an exception of a task is raised
    at its place.

    At most `max_tasks` tasks, whose `size_of` sums to no more than `max_bytes` (a single larger task runs alone), are
    begun and not yet consumed; each runs at most two items ahead. Tasks begin in order, so the task whose items are
    due always has a thread: nothing can wait for it that it waits for.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        work: Callable[[Task], Iterator[Item]],
        *,
        threads: int,
        max_tasks: int,
        max_bytes: int,
        size_of: Callable[[Task], int],
    ) -> None:
        self._waiting = deque(tasks)
        self._work = work
        self._max_tasks = max_tasks
        self._max_bytes = max_bytes
        self._size_of = size_of
        self._begun: deque[tuple[Task, queue.Queue]] = deque()
        self._begun_bytes = 0
        self._stopped = threading.Event()
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="decode")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._pool.shutdown(cancel_futures=True)

    def __iter__(self) -> Iterator[Item]:
        self._begin_more()
        while self._begun:
            task, items = self._begun[0]
            while (item := items.get()) is not _END:
                if isinstance(item, _Failure):
                    raise item.error
                yield item
            self._begun.popleft()
            self._begun_bytes -= self._size_of(task)
            self._begin_more()

    def _begin_more(self) -> None:
        while self._waiting and len(self._begun) < self._max_tasks:
            task = self._waiting[0]
            if self._begun and self._begun_bytes + self._size_of(task) > self._max_bytes:
                return
            self._waiting.popleft()
            self._begun_bytes += self._size_of(task)
            items: queue.Queue = queue.Queue(_ITEMS_AHEAD)
            self._begun.append((task, items))
            self._pool.submit(self._run, task, items)

    def _run(self, task: Task, items: queue.Queue) -> None:
        try:
            for item in self._work(task):
                self._put(items, item)
            self._put(items, _END)
        except _Stopped:
            pass
        except BaseException as error:
            self._put(items, _Failure(error))

    def _put(self, items: queue.Queue, item: object) -> None:
        while not self._stopped.is_set():
            try:
                return items.put(item, timeout=_POLL_S)
            except queue.Full:
                continue
        raise _Stopped
