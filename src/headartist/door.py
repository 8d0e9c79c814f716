"""The entry point: what signals and streams do to a command, and its exit status."""

import os
import shlex
import signal
import sys
import threading
from collections.abc import Sequence
from types import FrameType
from typing import Any, NoReturn

from headartist.system.streams import mend_streams

MISTAKE, STOPPED = 2, 128
REQUESTS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
_RETRY_S = 0.05


class _Stop:
    """Ends the command at the first request to stop."""

    number: int | None = None

    def __call__(self, number: int, _frame: FrameType | None) -> None:
        """Raise KeyboardInterrupt; from now on a Ctrl-C ends the process, and other requests are known already."""
        self.number = number
        for other in REQUESTS:
            signal.signal(other, signal.SIG_DFL if other == signal.SIGINT else signal.SIG_IGN)
        raise KeyboardInterrupt(number)

    def retry(self, lost: Any) -> None:
        """Ask again where Python has dropped the exception, as it does in what native code calls back."""
        if not isinstance(lost.exc_value, KeyboardInterrupt) or self.number is None:
            sys.__unraisablehook__(lost)
            return
        signal.signal(self.number, self)
        again = threading.Timer(_RETRY_S, signal.raise_signal, (self.number,))
        again.daemon = True
        again.start()


_stop = _Stop()


def main() -> NoReturn:
    """Carry out the command line of this process and end it."""
    # Idle OpenMP threads must sleep: spinning, they slow a busy machine's small steps by a factor of ten and more.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    status: Any = STOPPED + signal.SIGINT
    try:
        mend_streams()
        sys.unraisablehook = _stop.retry
        for number in REQUESTS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # which `nohup` asks for
                signal.signal(number, _stop)
        status = run(sys.argv[1:])
    except KeyboardInterrupt:  # another one, while the first was told
        pass
    except SystemExit as end:  # help, and what the command line's grammar refuses
        status = end.code
    for number in REQUESTS:
        signal.signal(number, signal.SIG_DFL)  # while Python cleans up
    try:
        sys.stdout.flush()
    except OSError as error:
        _tell(f"headartist: {error.filename}: {error.strerror}")
        status = status or MISTAKE
    if isinstance(status, int) and status > STOPPED:
        os._exit(status)  # a thread that was stopped while it started would be waited for without end
    sys.exit(status)


def run(arguments: Sequence[str]) -> int:
    """Carry out one command line and return its exit status.

    0, 2 for a user's mistake, 128 and the signal's number when it was stopped, after telling how to go on.
    """
    try:
        from headartist import cli  # here, since a stop may come while it is imported

        status = cli.run(arguments)
        if status == 0 or _stop.number is None:
            return status
        stop = KeyboardInterrupt(_stop.number)
    except KeyboardInterrupt as raised:
        stop = raised
    except Exception:
        if _stop.number is None:
            raise
        stop = KeyboardInterrupt(_stop.number)  # which native code has made another exception of
    _tell("headartist: interrupted")
    if arguments and arguments[0] in ("generate", "edit"):
        # An old head that is not yet overwritten still has to be.
        begun = type(stop) is not KeyboardInterrupt
        again = ["headartist", *(word for word in arguments if not (begun and word == "--overwrite"))]
        _tell(f"resume: {shlex.join(again)}")
    return STOPPED + (stop.args[0] if stop.args else signal.SIGINT)


def _tell(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
