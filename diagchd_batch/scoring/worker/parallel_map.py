"""A map over tasks in a thread pool that keeps the order of the tasks and bounds the work in flight."""

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Generic, Self, TypeVar, cast

Task = TypeVar("Task")
Item = TypeVar("Item")

_ITEMS_AHEAD = 2
_POLL_INTERVAL_S = 0.2


class _Stopped(Exception):  # noqa: N818 - never seen outside this module
    """The consumer has left the `with` block."""


class _Failure:
    """An exception of a task on its way to the consumer."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


_END = object()


class ParallelMap(Generic[Task, Item]):
    """Runs a generator for each task in threads and yields their items in the order of the tasks.

    Use it as a context manager and iterate over it once. It yields all items of task 0, then all items of task 1, and
    so on. If a task raises, the exception is raised at the place of that task's next item.

    Tasks start in order, so the task whose items are due always has a thread, and the map cannot deadlock. Each task
    runs at most two items ahead of the consumer.
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
        """Prepare the map; no task starts before the iteration.

        Args:
            tasks: The tasks, in the order in which their items are wanted.
            work: Returns an iterator over the items of a task. Runs in one of the threads.
            threads: The number of threads.
            max_tasks: The largest number of tasks that have started and are not yet consumed.
            max_bytes: The largest sum of `size_of` over those tasks. A task that is larger runs alone.
            size_of: Returns the size of a task in bytes.
        """
        self._waiting = deque(tasks)
        self._work = work
        self._max_tasks = max_tasks
        self._max_bytes = max_bytes
        self._size_of = size_of
        self._started: deque[tuple[Task, queue.Queue[object]]] = deque()
        self._started_bytes = 0
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
        self._start_more()
        while self._started:
            task, items = self._started[0]
            while (item := items.get()) is not _END:
                if isinstance(item, _Failure):
                    raise item.error
                yield cast(Item, item)
            self._started.popleft()
            self._started_bytes -= self._size_of(task)
            self._start_more()

    def _start_more(self) -> None:
        while self._waiting and len(self._started) < self._max_tasks:
            task = self._waiting[0]
            if self._started and self._started_bytes + self._size_of(task) > self._max_bytes:
                return
            self._waiting.popleft()
            self._started_bytes += self._size_of(task)
            items: queue.Queue[object] = queue.Queue(_ITEMS_AHEAD)
            self._started.append((task, items))
            self._pool.submit(self._run, task, items)

    def _run(self, task: Task, items: queue.Queue[object]) -> None:
        try:
            for item in self._work(task):
                self._put(items, item)
            self._put(items, _END)
        except _Stopped:
            pass
        except BaseException as error:
            self._put(items, _Failure(error))

    def _put(self, items: queue.Queue[object], item: object) -> None:
        while not self._stopped.is_set():
            try:
                return items.put(item, timeout=_POLL_INTERVAL_S)
            except queue.Full:
                continue
        raise _Stopped
