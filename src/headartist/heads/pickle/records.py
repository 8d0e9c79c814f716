"""Arrays from the records of a pickle.

Numpy's own, scipy's sparse matrices, and chumpy's variables.
"""

import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from headartist.heads.pickle.names import Kind, Record, Refused

NUMBERS = re.compile(r"[<>=|]?(b1|[iu][1248]|f[248])")
NESTED = 8  # records within records, at most
LARGEST = 1 << 29  # bytes of all arrays of one file, in between ones too; FLAME has 50 to 100 MB
DENSE_ENTRIES = 1 << 24  # of a sparse matrix when written out


def as_array(value: Any) -> np.ndarray:
    """Make the array that a record stands for.

    Dense and in this machine's byte order; it may be read-only.

    Raises:
        Refused: when it stands for none, or what it says of itself does not hold.
    """
    return Arrays()(value)


class Arrays:
    """Arrays from the records of one file.

    Each is made once, and all of them together have a limit.
    """

    def __init__(self) -> None:
        self._made: dict[int, tuple[Any, np.ndarray]] = {}  # with the record, whose id is another's once it is gone
        self._left = LARGEST

    def __call__(self, value: Any, depth: int = NESTED) -> np.ndarray:
        """Make the array that a record stands for.

        At most `depth` records deep; it may be read-only.

        Raises:
            Refused: when it stands for none, what it says of itself does not hold, or the limit is reached.
        """
        if depth == 0:
            raise Refused("it nests its records without end")
        if id(value) not in self._made:
            array = self._new(value, depth)
            self._left -= array.nbytes
            if self._left < 0:
                raise Refused(f"its arrays have more than {LARGEST:,} bytes in all, more than any head model")
            self._made[id(value)] = value, array
        return self._made[id(value)][1]

    def _new(self, value: Any, depth: int) -> np.ndarray:
        match value:
            case Record(Kind.ARRAY, state=(int(), tuple(shape), dtype, fortran, raw)):
                return _array(raw, dtype, shape, "F" if fortran else "C")
            case Record(Kind.FROM_BUFFER, arguments=(raw, dtype, tuple(shape), "C" | "F" as order)):
                return _array(raw, dtype, shape, order)
            case Record(Kind.SCALAR, arguments=(dtype, raw)):
                return _array(raw, dtype, (), "C")
            case Record(Kind.CSC | Kind.CSR as layout, state=state):
                return self._dense(layout, _attributes(state), depth)
            case Record(Kind.CH, state=state):
                return self(_entry(_attributes(state), "x"), depth - 1)
            case Record(Kind.SELECT, state=state):
                return self._selected(_attributes(state), depth)
            case bool() | int() | float():
                return np.asarray(value)
            case Record():
                raise Refused(f"its record of {value.kind.value} is not as numpy, scipy or chumpy write it")
        raise Refused(f"there is a {type(value).__name__} where an array belongs")

    def _dense(self, layout: Kind, attributes: Mapping[str, Any], depth: int) -> np.ndarray:
        """Write out a compressed sparse matrix.

        Entries of the same place add up.
        """
        data, minor, starts = (self(_entry(attributes, name), depth - 1) for name in ("data", "indices", "indptr"))
        rows, columns = self._lengths(_entry(attributes, "_shape"), depth)
        if min(rows, columns) <= 0 or rows * columns > DENSE_ENTRIES:
            raise Refused(f"a sparse matrix is empty or of more than {DENSE_ENTRIES:,} entries")
        lengths = (columns, rows) if layout is Kind.CSC else (rows, columns)
        holds = (
            starts.shape == (lengths[0] + 1,)
            and data.ndim == 1
            and data.shape == minor.shape
            and {starts.dtype.kind, minor.dtype.kind} <= {"i", "u"}
        )
        counts = starts.astype(np.int64)[1:] - starts.astype(np.int64)[:-1] if holds else None
        if counts is None or starts[0] != 0 or (counts < 0).any() or starts[-1] != len(data):
            raise Refused("a sparse matrix contradicts itself")
        if len(minor) and not (minor.min() >= 0 and minor.max() < lengths[1]):
            raise Refused("a sparse matrix has entries outside of its shape")
        dense = np.zeros(lengths)
        np.add.at(dense, (np.repeat(np.arange(lengths[0]), counts), minor), data)
        return dense.T if layout is Kind.CSC else dense

    def _lengths(self, shape: Any, depth: int) -> tuple[int, int]:
        """Read rows and columns.

        Some releases wrote them as numpy's scalars.
        """
        if not isinstance(shape, tuple) or len(shape) != 2:
            raise Refused("a sparse matrix has no rows and columns")
        rows, columns = (self(length, depth - 1) for length in shape)
        if rows.ndim or columns.ndim or not {rows.dtype.kind, columns.dtype.kind} <= {"i", "u"}:
            raise Refused("a sparse matrix has no rows and columns")
        return int(rows), int(columns)

    def _selected(self, attributes: Mapping[str, Any], depth: int) -> np.ndarray:
        """Select entries as chumpy's Select does.

        Those of a flattened array, in a shape of their own.
        """
        source = self(_entry(attributes, "a"), depth - 1).ravel()
        chosen = self(_entry(attributes, "idxs"), depth - 1).ravel()
        if chosen.dtype.kind not in "iu" or (len(chosen) and not (chosen.min() >= 0 and chosen.max() < len(source))):
            raise Refused("a chumpy Select chooses entries that are not there")
        shape = attributes.get("preferred_shape", chosen.shape)
        if not isinstance(shape, tuple) or not all(type(length) is int and length >= 0 for length in shape):
            raise Refused("a chumpy Select has no usable shape")
        if math.prod(shape) != len(chosen):
            raise Refused("a chumpy Select has a shape that its entries do not fill")
        selected: np.ndarray = source[chosen].reshape(shape)
        return selected


def _array(raw: Any, dtype: Any, shape: tuple[Any, ...], order: Any) -> np.ndarray:
    kind = _dtype(dtype)
    raw = _bytes(raw)
    if not all(type(length) is int and length >= 0 for length in shape) or len(shape) > NESTED:
        raise Refused("an array's shape is none")
    if math.prod(shape) * kind.itemsize != len(raw):
        raise Refused(f"an array of shape {shape} and type {kind} has {len(raw):,} bytes")
    if len(raw) == 0:
        raise Refused("an array is empty")
    return np.frombuffer(raw, kind).reshape(shape, order=order).astype(kind.newbyteorder("="), copy=False)


def _dtype(record: Any) -> np.dtype:
    match record:
        case Record(Kind.DTYPE, arguments=(str(code), *_), state=state):
            byte_order = state[1] if isinstance(state, tuple) and len(state) > 1 else "="
            if NUMBERS.fullmatch(code) and byte_order in ("<", ">", "=", "|"):
                return np.dtype(f"{byte_order}{code.lstrip('<>=|')}")
            raise Refused(f"it holds an array of type {code[:8]!r}, not of numbers")
    raise Refused("an array's type is none")


def _bytes(raw: Any) -> bytes:
    match raw:
        case bytes():
            return raw
        case str(text) | Record(Kind.ENCODE, (str(text), "latin1" | "latin-1")):  # Python 2's, or for Python 2
            try:
                return text.encode("latin-1")
            except UnicodeEncodeError:
                raise Refused("an array's content has other letters than Latin-1") from None
    raise Refused(f"an array's content is a {type(raw).__name__}")


def _attributes(state: Any) -> Mapping[str, Any]:
    match state:
        case dict():
            return state
        case (dict(attributes), _):  # with slots
            return attributes
    raise Refused("a record has no attributes")


def _entry(attributes: Mapping[str, Any], name: str) -> Any:
    if name not in attributes:
        raise Refused(f"a record has no {name!r}")
    return attributes[name]
