"""Signals as exceptions that know their exit code."""

import os
import signal
import threading

import pytest

from diagchd_batch.process.interrupts import RunInterrupted, interruptible


@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_raises_and_the_handlers_are_put_back(number: signal.Signals, exit_code: int) -> None:
    before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    cleaned_up = []
    with pytest.raises(RunInterrupted) as interruption, interruptible():
        try:
            os.kill(os.getpid(), number)
            threading.Event().wait(5)
        finally:
            cleaned_up.append(True)
    assert interruption.value.exit_code == exit_code
    assert isinstance(interruption.value, KeyboardInterrupt)
    assert cleaned_up
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == before


def test_other_threads_are_left_alone() -> None:
    failures = []

    def work() -> None:
        try:
            with interruptible():
                pass
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert failures == []
