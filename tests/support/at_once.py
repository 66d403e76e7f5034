"""Run the scenarios of a parametrised test two at a time, because a run spends much of its time waiting.

A module's fixture yields the futures of `running_at_once`, keyed by parameter. Each test takes the result of its own.
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
    """Start the scenario for each parameter whose test was selected. Wait for the running ones when the block ends."""
    collected = [item.name for item in request.session.items if item.path == request.path]
    wanted = [parameter for parameter in parameters if any(name.endswith(f"[{parameter}]") for name in collected)]
    pool = ThreadPoolExecutor(2)
    try:
        yield {parameter: pool.submit(scenario, parameter) for parameter in wanted}
    finally:
        pool.shutdown(cancel_futures=True)
