"""Retries: which failures are repeated, for how long, and what remains in memory afterwards."""

import gc
import time
import weakref

import pytest

from diagchd_batch.retries import LONGEST_WAIT_S, call_with_retries


class Flaky:
    """Raises the given errors one after the other, then returns "done"."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.calls = 0

    def __call__(self) -> str:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return "done"


@pytest.fixture
def waits_s(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Patch the clock so that only waiting moves it forward, and return the list of waits in seconds."""
    now, waits = [1000.0], []

    def sleep(seconds: float) -> None:
        assert seconds >= 0
        waits.append(seconds)
        now[0] += seconds

    monkeypatch.setattr(time, "sleep", sleep)
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return waits


def test_transient_failures_are_repeated(waits_s: list[float]) -> None:
    flaky = Flaky(TimeoutError(), TimeoutError(), TimeoutError())
    assert call_with_retries(flaky, lambda error: 10.0) == "done"
    assert flaky.calls == 4
    assert len(waits_s) == 3
    assert all(wait_s <= 0.1 * 2**n for n, wait_s in enumerate(waits_s))


def test_other_failures_are_raised_at_once(waits_s: list[float]) -> None:
    flaky = Flaky(TimeoutError(), ValueError("permanent"))
    with pytest.raises(ValueError, match="permanent"):
        call_with_retries(flaky, lambda error: 10.0 if isinstance(error, TimeoutError) else 0.0)
    assert (flaky.calls, len(waits_s)) == (2, 1)


@pytest.mark.parametrize("limit_s", [0.5, 7.0, 300.0])
def test_the_last_attempt_is_made_at_the_time_limit(waits_s: list[float], limit_s: float) -> None:
    flaky = Flaky(*[TimeoutError(str(number)) for number in range(10_000)])
    with pytest.raises(TimeoutError):
        call_with_retries(flaky, lambda error: limit_s)
    assert sum(waits_s) == pytest.approx(limit_s)
    assert max(waits_s) <= LONGEST_WAIT_S
    assert flaky.calls == len(waits_s) + 1


def test_each_failure_has_its_own_limit(waits_s: list[float]) -> None:
    flaky = Flaky(TimeoutError(), TimeoutError(), TimeoutError(), *[OSError() for _ in range(10_000)])
    with pytest.raises(OSError):
        call_with_retries(flaky, lambda error: 100.0 if isinstance(error, TimeoutError) else 5.0)
    assert sum(waits_s) == pytest.approx(5.0)


@pytest.mark.parametrize("limit_s", [0.0, 0.05])
def test_what_a_failed_call_held_is_released_without_the_garbage_collector(limit_s: float) -> None:
    class Contents:
        pass

    held = []

    def read() -> None:
        contents = Contents()
        held.append(weakref.ref(contents))
        raise TimeoutError

    gc.disable()
    try:
        with pytest.raises(TimeoutError) as caught:
            call_with_retries(read, lambda error: limit_s)
        del caught
        assert held and all(reference() is None for reference in held)
    finally:
        gc.enable()
