"""Threads that share a budget never exceed it, and no thread waits forever."""

import threading
from concurrent.futures import ThreadPoolExecutor

from hypothesis import given, settings
from hypothesis import strategies as st

from diagchd_batch.scoring.decoding.byte_budget import ByteBudget


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(0, 250), max_size=60))
def test_never_overdrawn_and_everyone_gets_their_turn(demands: list[int]) -> None:
    budget, lock, used, most = ByteBudget(100), threading.Lock(), [0], [0]

    def borrow(demand: int) -> int:
        with budget.borrow(demand):
            with lock:
                used[0] += min(demand, 100)
                most[0] = max(most[0], used[0])
            with lock:
                used[0] -= min(demand, 100)
        return demand

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(borrow, demands, timeout=20)) == demands
    assert most[0] <= 100


def test_an_exception_gives_the_bytes_back() -> None:
    budget = ByteBudget(10)
    for _ in range(3):
        try:
            with budget.borrow(10):
                raise RuntimeError
        except RuntimeError:
            pass
    with budget.borrow(10):
        pass
