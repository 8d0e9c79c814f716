"""Reading OBJ.

Polygons, objects, groups and materials, in time and memory that grow with the file alone.
"""

from array import array
from collections.abc import Callable, Sequence
from io import BytesIO
from itertools import pairwise

import numpy as np

from headartist.heads.readers.raw_mesh import MOST_FACES, RawMesh, Unreadable

TOO_MANY = (f"it has more than {MOST_FACES:,} triangles", "decimate it")


def read_obj(data: bytes) -> RawMesh:
    """Read the triangles of an OBJ file's content.

    Polygons are cut into fans, lines and points left out.

    Raises:
        Unreadable: when a line makes no sense, or there are too many triangles.
    """
    reader = _Reader()
    # A line goes on where it ends with a backslash.
    text = data.replace(b"\r\n", b"\n").replace(b"\\\n", b" ")
    for number, line in enumerate(BytesIO(text), start=1):
        words = line.split()
        step = _STEPS.get(words[0]) if words else None
        if step is None:
            continue
        try:
            step(reader, words[1:])
        except (ValueError, IndexError, OverflowError):
            raise Unreadable(f"line {number:,} is {line[:40].decode('latin-1').strip()!r}") from None
    return reader.mesh()


class _Reader:
    """What has been read so far."""

    def __init__(self) -> None:
        self._verts, self._uv = array("d"), array("d")
        self._faces, self._uv_faces, self._label = array("q"), array("q"), array("q")
        self._current: dict[bytes, tuple[str, ...]] = {b"o": (), b"g": (), b"usemtl": ()}
        self._numbers: dict[tuple[str, ...], int] = {}
        self._number = 0
        self._name(b"o", ())

    def vertex(self, words: Sequence[bytes]) -> None:
        self._verts.extend((float(words[0]), float(words[1]), float(words[2])))

    def texture(self, words: Sequence[bytes]) -> None:
        self._uv.extend((float(words[0]), float(words[1]) if len(words) > 1 else 0.0))

    def polygon(self, words: Sequence[bytes]) -> None:
        """Cut a polygon into a fan around its first corner."""
        if len(words) < 3:
            raise ValueError
        corners = [word.split(b"/") for word in words]
        places = [_index(corner[0], len(self._verts) // 3) for corner in corners]
        if len(self._label) + len(places) - 2 > MOST_FACES:
            raise Unreadable(*TOO_MANY)
        uv = [_index(corner[1], len(self._uv) // 2) if len(corner) > 1 and corner[1] else -1 for corner in corners]
        for all_corners, faces in ((places, self._faces), (uv, self._uv_faces)):
            first = all_corners[0]
            for second, third in pairwise(all_corners[1:]):
                faces.extend((first, second, third))
        self._label.extend([self._number] * (len(places) - 2))

    def _name(self, kind: bytes, words: Sequence[bytes]) -> None:
        # Only a group's line names several; an object's and a material's name may hold spaces.
        names = words if kind == b"g" else [b" ".join(words)]
        self._current[kind] = tuple(name.decode("utf-8", "backslashreplace") for name in names if name)
        together = tuple(dict.fromkeys(name for names in self._current.values() for name in names))
        self._number = self._numbers.setdefault(together, len(self._numbers))

    def mesh(self) -> RawMesh:
        faces, uv_faces = (np.array(corners, np.int64).reshape(-1, 3) for corners in (self._faces, self._uv_faces))
        uv = np.array(self._uv).reshape(-1, 2)
        whole = len(uv) > 0 and len(faces) > 0 and uv_faces.min() >= 0
        return RawMesh(
            np.array(self._verts).reshape(-1, 3),
            faces,
            uv if whole else None,
            uv_faces if whole else faces,
            np.array(self._label, np.int64),
            tuple(self._numbers),
        )


def _index(word: bytes, count: int) -> int:
    """Find the place of a vertex.

    From 1 on, or backwards from the latest one.
    """
    number = int(word)
    place = number - 1 if number > 0 else count + number
    if not 0 <= place < count:
        raise ValueError
    return place


_STEPS: dict[bytes, Callable[[_Reader, Sequence[bytes]], None]] = {
    b"v": _Reader.vertex,
    b"vt": _Reader.texture,
    b"f": _Reader.polygon,
    b"o": lambda reader, words: reader._name(b"o", words),
    b"g": lambda reader, words: reader._name(b"g", words),
    b"usemtl": lambda reader, words: reader._name(b"usemtl", words),
}
