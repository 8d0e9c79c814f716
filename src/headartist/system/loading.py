"""One thread loads while none works: libraries switch settings of the whole process, and meet half-made modules."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType


class Loading:
    """A lock for loading, which one thread holds alone, and for work, which many threads do at once.

    While weights are read, for instance, libraries change torch's default dtype, which is that of every thread.
    Both may be nested in each other; work of a thread that begins to load rests until it has loaded.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._loader, self._depth, self._resting, self._waiting = 0, 0, 0, 0
        self._working: dict[int, int] = {}  # how deep each thread is in its work

    def __enter__(self) -> None:
        """Wait until no other thread works or loads, and load."""
        me = threading.get_ident()
        with self._changed:
            if self._loader != me:
                resting = self._working.pop(me, 0)
                self._waiting += 1
                self._changed.notify_all()
                try:
                    self._changed.wait_for(lambda: not self._loader and not self._working)
                except BaseException:
                    self._resume(me, resting)
                    raise
                finally:
                    self._waiting -= 1
                self._loader, self._resting = me, resting
            self._depth += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let others work and load again."""
        with self._changed:
            self._depth -= 1
            if not self._depth:
                self._resume(self._loader, self._resting)
                self._loader = 0

    @contextmanager
    def working(self) -> Iterator[None]:
        """Work, beside others, while no other thread loads."""
        me = threading.get_ident()
        with self._changed:
            if me not in self._working and self._loader != me:
                self._changed.wait_for(lambda: not self._loader and not self._waiting)
            self._resume(me, self._working.get(me, 0) + 1)
        try:
            yield
        finally:
            with self._changed:
                self._resume(me, self._working.pop(me) - 1)

    def _resume(self, thread: int, depth: int) -> None:
        if depth:
            self._working[thread] = depth
        self._changed.notify_all()


LOADING = Loading()
