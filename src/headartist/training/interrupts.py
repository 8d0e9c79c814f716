"""Requests to stop that wait for the end of a step, so that what is saved is never half a step."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

REQUESTS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


class Begun(KeyboardInterrupt):
    """A stop after which the same call goes on, without `overwrite`: the head was begun, or begun anew."""


class Interrupt:
    """Whether the user, or the system, has asked to stop."""

    def __init__(self) -> None:
        self.number: int | None = None

    def __call__(self, number: int, _frame: FrameType | None) -> None:
        """Note the first request; a Ctrl-C after it does not wait, but a terminal that closes may ask several times."""
        if self.number is not None and number == signal.SIGINT:
            raise KeyboardInterrupt(number)
        self.number = self.number or number

    @property
    def asked(self) -> bool:
        """Whether there was a request."""
        return self.number is not None


@contextmanager
def deferred_interrupts() -> Iterator[Interrupt]:
    """Within this context Ctrl-C, SIGTERM and SIGHUP are only noted; the handlers of before come back after it.

    A signal that is ignored stays so, as `nohup` wants it. Python allows handlers in the main thread alone: in any
    other thread nothing changes.
    """
    interrupt = Interrupt()
    if threading.current_thread() is not threading.main_thread():
        yield interrupt
        return
    heard = [number for number in REQUESTS if signal.getsignal(number) is not signal.SIG_IGN]
    old = {number: signal.signal(number, interrupt) for number in heard}
    try:
        yield interrupt
    finally:
        for number, handler in old.items():
            signal.signal(number, handler or signal.SIG_DFL)  # None: it was not set from Python


@contextmanager
def resumable() -> Iterator[None]:
    """Let a stop within this context say that the same call goes on.

    Raises:
        Begun: for a KeyboardInterrupt.
    """
    try:
        yield
    except KeyboardInterrupt as stop:
        raise Begun(*stop.args) from None
