"""Requests to stop wait, and only an impatient Ctrl-C does not."""

import os
import signal
import threading

import pytest

from headartist import door
from headartist.training.interrupts import REQUESTS, Begun, deferred_interrupts, resumable

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows ends a process that it sends a signal to")


def test_the_entry_point_hears_what_a_training_hears():
    assert tuple(door.REQUESTS) == REQUESTS == (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.mark.parametrize("number", REQUESTS, ids=lambda number: number.name)
def test_a_request_is_noted_and_the_handler_of_before_comes_back(number: int):
    before = signal.getsignal(number)
    with deferred_interrupts() as interrupt:
        assert not interrupt.asked
        signal.raise_signal(number)
        assert (interrupt.asked, interrupt.number) == (True, number)
    assert signal.getsignal(number) is before


def test_a_terminal_that_closes_asks_several_times_and_a_second_ctrl_c_does_not_wait():
    with deferred_interrupts() as interrupt:
        for number in (signal.SIGHUP, signal.SIGHUP, signal.SIGTERM):
            signal.raise_signal(number)
        assert interrupt.number == signal.SIGHUP
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_what_is_ignored_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with deferred_interrupts() as interrupt:
            signal.raise_signal(signal.SIGHUP)
            assert not interrupt.asked
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_other_threads_hear_nothing():
    def heard() -> None:
        with deferred_interrupts():
            assert signal.getsignal(signal.SIGTERM) is before

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=heard)
    thread.start()
    thread.join()


def test_a_stop_of_what_was_begun_says_so_and_keeps_its_signal():
    with pytest.raises(Begun) as stopped, resumable():
        raise KeyboardInterrupt(signal.SIGTERM)
    assert stopped.value.args == (signal.SIGTERM,)
