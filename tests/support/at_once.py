"""Scenarios of a parametrised test, run two at a time: a run needs one core for most of its time, and waits for others.

A module's fixture yields what `running_at_once` does, by the tests' parameters; each test takes its own `result()`.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import pytest

T = TypeVar("T")


@contextmanager
def running_at_once(
    scenario: Callable[[str], T], parameters: Iterable[str], request: pytest.FixtureRequest
) -> Iterator[dict[str, Future[T]]]:
    """Those of `parameters` whose tests are to be run. At the block's end none runs any more."""
    collected = [item.name for item in request.session.items if item.path == request.path]
    wanted = [parameter for parameter in parameters if any(name.endswith(f"[{parameter}]") for name in collected)]
    pool = ThreadPoolExecutor(2)
    try:
        yield {parameter: pool.submit(scenario, parameter) for parameter in wanted}
    finally:
        pool.shutdown(cancel_futures=True)
