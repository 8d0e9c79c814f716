"""What a head model's pickle may name.

The records of numpy, scipy and chumpy, and a few of Python's own values.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Refused(Exception):
    """Why a pickle is not read.

    As the end of a sentence.
    """


class Kind(StrEnum):
    """What a name that we know stands for."""

    ARRAY = "numpy.ndarray"
    DTYPE = "numpy.dtype"
    SCALAR = "numpy's scalar"
    FROM_BUFFER = "numpy's _frombuffer"
    CSC = "scipy.sparse.csc"
    CSR = "scipy.sparse.csr"
    CH = "chumpy.ch.Ch"
    SELECT = "chumpy.reordering.Select"
    RECONSTRUCT = "numpy's _reconstruct"
    NEW = "copyreg._reconstructor"
    OBJECT = "object"
    SET = "set"
    BYTES = "bytes"
    ENCODE = "_codecs.encode"


@dataclass(frozen=True)
class Name:
    """Something outside the file that it names."""

    kind: Kind


@dataclass(eq=False)
class Record:
    """What a file says of an object.

    Its class, what it is made of, and its state if it was given one.
    """

    kind: Kind
    arguments: tuple[Any, ...] = ()
    state: Any = None


CLASSES = frozenset({Kind.ARRAY, Kind.CSC, Kind.CSR, Kind.CH, Kind.SELECT})

# Modules moved: numpy.core to numpy._core, scipy.sparse.csc to scipy.sparse._csc, and Python 2's to Python 3's.
KNOWN = {
    "numpy.ndarray": Kind.ARRAY,
    "numpy.dtype": Kind.DTYPE,
    **{
        f"numpy.{core}.{name}": kind
        for core in ("core", "_core")
        for name, kind in (
            ("multiarray._reconstruct", Kind.RECONSTRUCT),
            ("multiarray.scalar", Kind.SCALAR),
            ("numeric._frombuffer", Kind.FROM_BUFFER),
        )
    },
    **{
        f"scipy.sparse.{module}.{layout}_{form}": kind
        for layout, kind in (("csc", Kind.CSC), ("csr", Kind.CSR))
        for module in (layout, f"_{layout}", "_arrays")
        for form in ("matrix", "array")
    },
    "chumpy.ch.Ch": Kind.CH,
    "chumpy.reordering.Select": Kind.SELECT,
    **{f"{module}._reconstructor": Kind.NEW for module in ("copy_reg", "copyreg")},
    **{
        f"{module}.{name}": kind
        for module in ("__builtin__", "builtins")
        for name, kind in (
            ("object", Kind.OBJECT),
            ("set", Kind.SET),
            ("frozenset", Kind.SET),
            ("bytes", Kind.BYTES),
        )
    },
    "_codecs.encode": Kind.ENCODE,  # how Python 3 writes bytes for Python 2
}


def made(kind: Kind, arguments: tuple[Any, ...]) -> Any:
    """Make what a known name's call would.

    As a record or a plain value.

    Raises:
        Refused: when the arguments are not those that its library writes.
    """
    match kind, arguments:
        case Kind.RECONSTRUCT, (Name(Kind.ARRAY), *_):
            return Record(Kind.ARRAY)
        case Kind.NEW, (Name(known), Name(Kind.OBJECT), None) if known in CLASSES:
            return Record(known)
        # Nothing is copied here: one long text, kept and encoded a thousand times, would fill the memory.
        case Kind.DTYPE | Kind.SCALAR | Kind.FROM_BUFFER | Kind.ENCODE, _:
            return Record(kind, arguments)
        case Kind.SET, ():
            return []
        case Kind.SET, (list() | tuple() as items,):
            return items
        case Kind.BYTES, ():
            return b""
    raise Refused(f"it calls {kind.value} with arguments that no record has")
