"""A PLY file's header, and its triangle strips.

Which the usual readers leave out.
"""

import math
import warnings
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from headartist.heads.readers.raw_mesh import RawMesh, Unreadable, plain, strip_triangles

STRIPS = "tristrips"
_TYPES = {
    **dict.fromkeys(("char", "int8"), "i1"),
    **dict.fromkeys(("uchar", "uint8"), "u1"),
    **dict.fromkeys(("short", "int16"), "i2"),
    **dict.fromkeys(("ushort", "uint16"), "u2"),
    **dict.fromkeys(("int", "int32"), "i4"),
    **dict.fromkeys(("uint", "uint32"), "u4"),
    **dict.fromkeys(("float", "float32"), "f4"),
    **dict.fromkeys(("double", "float64"), "f8"),
}
_ORDERS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}


class Property(NamedTuple):
    """A number of each row of an element.

    Or with `count_type` a list of them.
    """

    name: str
    type: str
    count_type: str | None


@dataclass(frozen=True)
class Element:
    """So many rows of the same properties."""

    name: str
    count: int
    properties: tuple[Property, ...]


@dataclass(frozen=True)
class Header:
    """What a PLY header says.

    The elements in the file's order, the byte order ("" for text), and where the content begins.
    """

    elements: tuple[Element, ...]
    order: str
    start: int

    @property
    def has_strips(self) -> bool:
        """Whether there are triangle strips."""
        return any(element.name == STRIPS for element in self.elements)


def read_header(data: bytes) -> Header:
    """Read the header of a PLY file's content.

    Raises:
        Unreadable: when it makes no sense, or claims more rows than the file can have.
    """
    end = data.find(b"end_header")
    if not data.startswith(b"ply") or end < 0:
        raise Unreadable("it has no PLY header")
    elements: list[Element] = []
    order = None
    for line in data[:end].decode("latin-1").splitlines():
        match line.split():
            case ["format", name, _] if name in _ORDERS:
                order = _ORDERS[name]
            case ["element", name, digits] if digits.isdigit() and len(digits) < 19:
                elements.append(Element(name, int(digits), ()))
            case ["property", "list", count_type, kind, name] if elements and {kind, count_type} <= _TYPES.keys():
                elements[-1] = _with(elements[-1], Property(name, _TYPES[kind], _TYPES[count_type]))
            case ["property", kind, name] if elements and kind in _TYPES:
                elements[-1] = _with(elements[-1], Property(name, _TYPES[kind], None))
            case ["format" | "element" | "property", *_]:
                raise Unreadable(f"its header says {line[:40].strip()!r}")
    if order is None:
        raise Unreadable("its header names no format")
    for element in elements:
        if element.count > len(data) or (not element.properties and element.count):
            raise Unreadable(f"its header claims {element.count:,} rows of {element.name[:40]}, more than it holds")
    start = data.find(b"\n", end) + 1
    return Header(tuple(elements), order, start if start else len(data))


def _with(element: Element, item: Property) -> Element:
    return Element(element.name, element.count, (*element.properties, item))


def read_strips(data: bytes, header: Header) -> RawMesh:
    """Read the triangles of a PLY file's strips.

    A corner of -1 ends a strip and begins the next.

    Raises:
        Unreadable: when what stands before the strips are not vertices of plain numbers, or the file is cut short.
    """
    content = _Text(data[header.start :]) if header.order == "" else _Binary(data[header.start :], header.order)
    verts, strips = np.zeros((0, 3)), []
    for element in header.elements:
        if element.name == STRIPS:
            strips = [np.asarray(content.list_of(item), np.int64) for _, item in _lists(element)]
            break
        if any(item.count_type for item in element.properties):
            raise Unreadable(f"lists of {element.name[:40]} stand before its strips", "save it with plain triangles")
        rows = content.rows(element)
        names = [item.name for item in element.properties]
        if element.name == "vertex" and {"x", "y", "z"} <= set(names):
            verts = np.stack([rows[names.index(axis)] for axis in "xyz"], axis=1)
    triangles = [strip_triangles(strip) for strip in strips if len(strip) > 2]
    return plain(verts, np.concatenate([np.zeros((0, 3), np.int64), *triangles]))


def _lists(element: Element) -> list[tuple[int, Property]]:
    if len(element.properties) != 1 or element.properties[0].count_type is None:
        raise Unreadable("its strips are no lists of corners")
    return [(row, element.properties[0]) for row in range(element.count)]


class _Text:
    """Numbers in words, from the first on."""

    def __init__(self, content: bytes):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")  # numpy only warns of what is no number
                self._numbers = np.fromstring(content, np.float64, sep=" ")
        except (ValueError, DeprecationWarning):
            raise Unreadable("there are words where numbers belong") from None
        self._at = 0

    def rows(self, element: Element) -> list[np.ndarray]:
        width = len(element.properties)
        return list(self._take(element.count * width).reshape(-1, width).T)

    def list_of(self, _item: Property) -> np.ndarray:
        return self._take(int(self._take(1)[0]))

    def _take(self, count: int) -> np.ndarray:
        if not 0 <= count <= len(self._numbers) - self._at:
            raise Unreadable("it ends too early")
        self._at += count
        return self._numbers[self._at - count : self._at]


class _Binary:
    """Numbers in bytes, from the first on."""

    def __init__(self, content: bytes, order: str):
        self._content, self._order, self._at = content, order, 0

    def rows(self, element: Element) -> list[np.ndarray]:
        kind = np.dtype([(f"{k}", f"{self._order}{item.type}") for k, item in enumerate(element.properties)])
        rows = self._take(kind, element.count)
        return [rows[name].astype(np.float64) for name in kind.names or ()]

    def list_of(self, item: Property) -> np.ndarray:
        count = self._take(np.dtype(f"{self._order}{item.count_type}"), 1)[0]
        return self._take(np.dtype(f"{self._order}{item.type}"), int(count))

    def _take(self, kind: np.dtype, count: int) -> np.ndarray:
        size = math.prod((kind.itemsize, count))
        if not 0 <= size <= len(self._content) - self._at:
            raise Unreadable("it ends too early")
        self._at += size
        return np.frombuffer(self._content, kind, count, self._at - size)
