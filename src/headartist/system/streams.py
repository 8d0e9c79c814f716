"""Output that nobody reads, or that was closed, is no reason to stop."""

import errno
import os
import sys
from typing import Any, TextIO, cast

_NOBODY_READS = {errno.EPIPE, errno.EIO, errno.EINVAL}  # a pipe's end, a terminal's, and what Windows calls a pipe's


def mend_streams() -> None:
    """Give the process the streams that it was started without, and make those it writes to patient.

    A closed descriptor would be that of the next file opened, which warnings would then be written into.
    """
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free, which is this one
            os.set_inheritable(descriptor, True)
        if getattr(sys, name) is None:
            stream = open(descriptor, "w" if descriptor else "r", encoding="utf-8", closefd=False)  # noqa: SIM115
            setattr(sys, name, stream)
    sys.stdout = cast(TextIO, Patient(sys.stdout, _NOBODY_READS))
    sys.stderr = cast(TextIO, Patient(sys.stderr, None))  # where that fails, there is nowhere left to say so


class Patient:
    """A text stream that drops what cannot be written, and escapes characters that its encoding lacks.

    Args:
        stream: where to write.
        drops: for which errors; None for all of them. Others name the stream.
    """

    def __init__(self, stream: TextIO, drops: set[int] | None) -> None:
        self._stream, self._drops = stream, drops
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")

    def write(self, text: str) -> int:
        """Write some text, or drop it."""
        try:
            self._stream.write(text)
        except OSError as error:
            self._drop(error)
        return len(text)

    def flush(self) -> None:
        """Write out what was held back, or drop it."""
        try:
            self._stream.flush()
        except OSError as error:
            self._drop(error)

    def _drop(self, error: OSError) -> None:
        sink = os.open(os.devnull, os.O_WRONLY)  # for what is still held back, and for what native code writes
        os.dup2(sink, self._stream.fileno())
        os.close(sink)
        if self._drops is not None and error.errno not in self._drops:
            error.filename = self._stream.name
            raise error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
