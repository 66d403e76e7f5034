"""The limit of requests to a PACS: how many at a time, how many a second, and holders that die."""

import threading
import time

import pytest

from diagchd_batch.sources.request_permits import LEASE_S, PermitBook, RequestLimit


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_permits_are_spaced_evenly_over_all_holders(clock: Clock) -> None:
    book = PermitBook(100, 4.0, clock)
    limits = [RequestLimit(book, clock.sleep) for _ in range(3)]
    for number in range(40):
        with limits[number % 3].slot():
            pass
    assert clock.now_s - 100 == pytest.approx(39 / 4)


def test_no_holder_gets_more_than_is_left(clock: Clock) -> None:
    book = PermitBook(3, 1000.0, clock)
    held = {"a": 0, "b": 0}
    for holder in "abababab":
        clock.sleep(1)
        if not book.take(holder, held[holder]):
            held[holder] += 1
    assert sum(held.values()) == 3
    book.renew("a", held["a"] - 1)
    clock.sleep(1)
    assert book.take("b", held["b"]) == 0


def test_the_permits_of_a_dead_process_come_back(clock: Clock) -> None:
    book = PermitBook(2, 1000.0, clock)
    for number in range(2):
        clock.sleep(1)
        assert book.take("dead", number) == 0
    clock.sleep(1)
    assert book.take("living", 0) > 0
    clock.sleep(LEASE_S)
    assert book.take("living", 0) == 0


def test_a_living_holder_keeps_its_permits_by_renewing(clock: Clock) -> None:
    book = PermitBook(1, 1000.0, clock)
    assert book.take("slow", 0) == 0
    for _ in range(10):
        clock.sleep(LEASE_S / 2)
        book.renew("slow", 1)
        assert book.take("other", 0) > 0


def test_a_book_that_was_lost_waits_and_then_knows_what_is_out(clock: Clock) -> None:
    book = PermitBook(1, 1000.0, clock, quiet_s=10.0)
    assert book.take("new", 0) == pytest.approx(10.0)
    book.renew("old", 1)
    clock.sleep(10)
    assert book.take("new", 0) > 0
    book.renew("old", 0)
    clock.sleep(1)
    assert book.take("new", 0) == 0


def test_threads_and_processes_never_exceed_it() -> None:
    book = PermitBook(3, 100_000.0)
    open_now, most, lock = [0], [0], threading.Lock()

    def work(limit: RequestLimit) -> None:
        for _ in range(5):
            with limit.slot():
                with lock:
                    open_now[0] += 1
                    most[0] = max(most[0], open_now[0])
                time.sleep(0.001)
                with lock:
                    open_now[0] -= 1

    limits = [RequestLimit(book) for _ in range(2)]
    threads = [threading.Thread(target=work, args=(limits[number % 2],)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most[0] <= 3


def test_a_request_that_fails_gives_its_permit_back(clock: Clock) -> None:
    limit = RequestLimit(PermitBook(1, 1000.0, clock), clock.sleep)
    for _ in range(3):
        with pytest.raises(ValueError), limit.slot():
            raise ValueError
