"""How calls that failed for a passing reason are repeated, with `tenacity`: the one place for waits and time limits."""

from collections.abc import Callable
from typing import TypeVar

import tenacity

T = TypeVar("T")

FIRST_WAIT_S = 0.1
LONGEST_WAIT_S = 20.0

# Full jitter: each wait is drawn from 0 to a bound that doubles. Workers that were throttled at the same moment do not
# come back at the same moment.
_jittered_wait_s = tenacity.wait_random_exponential(multiplier=FIRST_WAIT_S, max=LONGEST_WAIT_S)


def call_with_retries(
    operation: Callable[[], T],
    retry_limit_s: Callable[[BaseException], float],
    asked_wait_s: Callable[[BaseException], float] = lambda error: 0.0,
) -> T:
    """Call `operation` until it succeeds or its failure is not worth another attempt.

    Waits are cut to the time that is left, so that the last attempt begins at the time limit and not before it.

    Args:
        operation: Called without arguments, at least once.
        retry_limit_s: Returns, for an exception that `operation` raised, how many seconds after the first attempt it is
            still retried. 0 means that it is not retried at all.
        asked_wait_s: Returns, for such an exception, how many seconds a server asked to be left alone. The wait is at
            least that long, unless the time limit comes first.

    Returns:
        What `operation` returned.

    Raises:
        BaseException: What `operation` raised last.
    """
    last: tenacity.RetryCallState | None = None

    def limit_s(state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        return 0.0 if error is None else retry_limit_s(error)

    def is_retried(state: tenacity.RetryCallState) -> bool:
        nonlocal last
        last = state
        return limit_s(state) > 0

    def left_s(state: tenacity.RetryCallState) -> float:
        return limit_s(state) - (state.seconds_since_start or 0.0)

    def wait_s(state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked_s = 0.0 if error is None else asked_wait_s(error)
        return min(max(_jittered_wait_s(state), asked_s), left_s(state))

    retrying = tenacity.Retrying(
        retry=is_retried,
        stop=lambda state: left_s(state) <= 0,
        wait=wait_s,
        retry_error_callback=lambda state: state.outcome and state.outcome.result(),  # raises the last exception
    )
    try:
        return retrying(operation)
    finally:
        # An exception, its traceback and tenacity's record of it form a cycle. It would keep a file that was read in
        # part in memory until Python next looks for cycles.
        if last is not None:
            last.outcome = None
