"""Stand-ins with chumpy's names, so that pickles can be written as chumpy writes them."""

import pickle
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import numpy as np


class Ch:
    """A variable; its state is what chumpy's `__getstate__` leaves."""

    def __init__(self, x: Any):
        self.x = x
        self._dirty_vars = {"x"}
        self._itr = None
        self._make_dense = False
        self._depends_on_deps: dict[str, Any] = {}


class Select:
    """Entries of another variable."""

    def __init__(self, a: Any, idxs: np.ndarray, preferred_shape: tuple[int, ...]):
        self.a, self.idxs, self.preferred_shape = a, idxs, preferred_shape


Ch.__module__, Select.__module__ = "chumpy.ch", "chumpy.reordering"


def dumps(value: Any, protocol: int) -> bytes:
    """`pickle.dumps` while chumpy seems to be installed."""
    with _installed():
        return pickle.dumps(value, protocol)


@contextmanager
def _installed() -> Iterator[None]:
    modules = {"chumpy": ModuleType("chumpy")}
    for kind in (Ch, Select):
        module = modules[kind.__module__] = ModuleType(kind.__module__)
        setattr(module, kind.__name__, kind)
    sys.modules.update(modules)
    try:
        yield
    finally:
        for name in modules:
            del sys.modules[name]
