"""Listing a bucket of any size in parallel and in bounded memory.

S3 returns one page of a thousand keys per request, and a page can be requested only after the one before it. To have
several requests in flight, the first levels are listed with a delimiter. Each such page shows up to a thousand
sub-prefixes. They are divided into contiguous ranges of keys, and each range is listed flat. If there are only few
sub-prefixes (an archive of three sites), the level below them is listed with a delimiter first.

The number of requests grows with the number of pages, not of directories. A tree with one directory per study costs no
more than a flat one.
"""

import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from diagchd_batch.sources import ObjectInfo

WORKERS = 8
PAGES_WAITING = 2 * WORKERS
DISCOVERY_LEVELS = 4
"""Largest number of levels that are listed with a delimiter."""

FetchPage = Callable[..., dict[str, Any]]
"""``list_objects_v2`` for one bucket. It takes Prefix, Delimiter, StartAfter and ContinuationToken."""


@dataclass(frozen=True, slots=True)
class _Task:
    """A part of the bucket to list: keys that begin with `prefix`, from `first` to those that begin with `last`.

    If `levels` is above 0, only the objects directly below `prefix` are listed, and its sub-prefixes become new tasks.
    """

    prefix: str
    levels: int = 0
    first: str = ""
    last: str = ""


def list_objects(fetch_page: FetchPage, prefix: str) -> Iterator[list[ObjectInfo]]:
    """Yield the objects below a prefix, page by page and in no particular order.

    Keys that end in a slash, which mark empty directories, are skipped.

    Args:
        fetch_page: ``list_objects_v2`` for one bucket. What it raises is raised here.
        prefix: '' or a prefix that ends in a slash.

    Yields:
        Objects of one page, with their whole keys.

    Raises:
        Exception: The first error that `fetch_page` raised in a thread.
    """
    crawl = _Crawl(fetch_page)
    crawl.add(_Task(prefix, DISCOVERY_LEVELS))
    threads = [threading.Thread(target=crawl.work, name=f"list-{i}", daemon=True) for i in range(WORKERS)]
    for thread in threads:
        thread.start()
    try:
        while (page := crawl.pages.get()) is not None:
            if isinstance(page, BaseException):
                raise page
            yield page
    finally:
        crawl.stop()
        for thread in threads:
            thread.join()


class _Crawl:
    """State that the threads of one listing share: the tasks, and the bounded queue of pages for the reader."""

    def __init__(self, fetch_page: FetchPage) -> None:
        self._fetch_page = fetch_page
        self._tasks: queue.SimpleQueue[_Task | None] = queue.SimpleQueue()
        self._unfinished = 0
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self.pages: queue.Queue[list[ObjectInfo] | BaseException | None] = queue.Queue(PAGES_WAITING)

    def add(self, task: _Task) -> None:
        with self._lock:
            self._unfinished += 1
        self._tasks.put(task)

    def stop(self) -> None:
        self._stopped.set()
        for _ in range(WORKERS):
            self._tasks.put(None)

    def work(self) -> None:
        while (task := self._tasks.get()) is not None and not self._stopped.is_set():
            try:
                self._list(task)
            except BaseException as error:
                self._hand_over(error)
                return
            with self._lock:
                self._unfinished -= 1
                done = self._unfinished == 0
            if done:
                self._hand_over(None)

    def _list(self, task: _Task) -> None:
        arguments = {"Prefix": task.prefix}
        if task.levels:
            arguments["Delimiter"] = "/"
        if task.first:
            arguments["StartAfter"] = task.first
        while not self._stopped.is_set():
            response = self._fetch_page(**arguments)
            contents = response.get("Contents", ())
            objects = [_info(item) for item in contents if _belongs(item["Key"], task)]
            if objects:
                self._hand_over(objects)
            below = [item["Prefix"] for item in response.get("CommonPrefixes", ())]
            for subtask in _divide(below, task, more=bool(response.get("IsTruncated"))):
                self.add(subtask)
            past_the_end = bool(task.last and contents and _is_past(contents[-1]["Key"], task.last))
            if past_the_end or not response.get("IsTruncated"):
                return
            arguments["ContinuationToken"] = response["NextContinuationToken"]

    def _hand_over(self, page: list[ObjectInfo] | BaseException | None) -> None:
        while not self._stopped.is_set():
            try:
                return self.pages.put(page, timeout=0.2)
            except queue.Full:
                continue


def _divide(prefixes: list[str], task: _Task, more: bool) -> Iterator[_Task]:
    """Yield tasks for the sub-prefixes of one page, which S3 returns sorted. `more` says whether more pages follow."""
    if len(prefixes) < WORKERS and task.levels > 1:
        yield from (_Task(prefix, task.levels - 1) for prefix in prefixes)
        return
    # The last request of a range may return only a few keys, so there are no more ranges than keep the workers busy.
    n_ranges = 2 if more else 2 * WORKERS
    size = -(-len(prefixes) // n_ranges) or 1
    for start in range(0, len(prefixes), size):
        group = prefixes[start : start + size]
        if len(group) == 1:
            yield _Task(group[0])
        else:
            yield _Task(task.prefix, first=group[0], last=group[-1])


def _belongs(key: str, task: _Task) -> bool:
    if key.endswith("/"):
        return False
    if not task.last:
        return True
    # Objects directly below the prefix were listed by the task that found the sub-prefixes.
    return "/" in key[len(task.prefix) :] and not _is_past(key, task.last)


def _is_past(key: str, last: str) -> bool:
    return key > last and not key.startswith(last)


def _info(item: dict[str, Any]) -> ObjectInfo:
    return ObjectInfo(item["Key"], item["Size"], etag=item["ETag"].strip('"'))
