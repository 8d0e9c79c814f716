"""The binary side of glTF 2.0.

Buffers, views and accessors, and the GLB container.
"""

import json
import struct
from collections.abc import Mapping

import numpy as np

# Numbers of the glTF 2.0 specification (and of OpenGL, where they come from).
COMPONENT = {"<f4": 5126, "<u4": 5125, "<u2": 5123, "|u1": 5121}
ARRAY_BUFFER, ELEMENT_ARRAY_BUFFER = 34962, 34963
LINEAR, LINEAR_MIPMAP_LINEAR, CLAMP_TO_EDGE = 9729, 9987, 33071
JSON_CHUNK, BINARY_CHUNK = 0x4E4F534A, 0x004E4942
# A sparse accessor stores a 4-byte index and a 12-byte vector for each vertex that moves, a dense one 12 for all.
SPARSE_WORTH = 0.75


class Binary:
    """The binary chunk under construction.

    With the views and accessors that describe it.
    """

    def __init__(self) -> None:
        self.data = bytearray()
        self.views: list[dict[str, object]] = []
        self.accessors: list[dict[str, object]] = []

    def add_view(self, content: bytes, target: int | None = None) -> int:
        """Append bytes, 4-aligned.

        Returns the number of their view.
        """
        view: dict[str, object] = {"buffer": 0, "byteOffset": len(self.data), "byteLength": len(content)}
        self.views.append(view | ({"target": target} if target else {}))
        self.data += content + b"\0" * (-len(content) % 4)
        return len(self.views) - 1

    def add_array(
        self, array: np.ndarray, kind: str, target: int | None = None, *, bounds: bool = False, normalized: bool = False
    ) -> int:
        """Append an array.

        Returns the number of its accessor.

        Args:
            array: little-endian float32, uint32, uint16 or uint8; its rows must be 4-aligned.
            kind: "SCALAR", "VEC2", "VEC3", "VEC4" or "MAT4".
            target: what the view is bound to.
            bounds: whether to state minimum and maximum, as positions and key times must.
            normalized: whether integers stand for shares of their largest value.
        """
        accessor = {
            "bufferView": self.add_view(array.tobytes(), target),
            "componentType": COMPONENT[array.dtype.str],
            "count": len(array),
            "type": kind,
        }
        if normalized:
            accessor["normalized"] = True
        if bounds:
            accessor |= _bounds(array)
        return self._added(accessor)

    def add_displacements(self, array: np.ndarray) -> int:
        """Append displacements `v 3` of float32.

        Those of vertices at rest are left out where that saves room.
        """
        moving = np.flatnonzero(array.any(axis=1))
        if len(moving) > SPARSE_WORTH * len(array):
            return self.add_array(array, "VEC3", ARRAY_BUFFER, bounds=True)
        accessor: dict[str, object] = {"componentType": COMPONENT["<f4"], "count": len(array), "type": "VEC3"}
        accessor |= _bounds(array)
        if len(moving):
            accessor["sparse"] = {
                "count": len(moving),
                "indices": {
                    "bufferView": self.add_view(moving.astype("<u4").tobytes()),
                    "componentType": COMPONENT["<u4"],
                },
                "values": {"bufferView": self.add_view(array[moving].tobytes())},
            }
        return self._added(accessor)

    def _added(self, accessor: dict[str, object]) -> int:
        self.accessors.append(accessor)
        return len(self.accessors) - 1


def _bounds(array: np.ndarray) -> dict[str, object]:
    rows = array.reshape(len(array), -1)
    return {"min": rows.min(axis=0).tolist(), "max": rows.max(axis=0).tolist()}


def container(document: Mapping[str, object], binary: bytes) -> bytes:
    """Lay out a GLB.

    A 12-byte header, then a JSON and a binary chunk, each 4-aligned (glTF 2.0, section 4.4).
    """
    text = json.dumps(document, separators=(",", ":"), allow_nan=False).encode()
    text += b" " * (-len(text) % 4)
    length = 12 + 8 + len(text) + 8 + len(binary)
    return b"".join(
        [
            struct.pack("<4sII", b"glTF", 2, length),
            struct.pack("<II", len(text), JSON_CHUNK),
            text,
            struct.pack("<II", len(binary), BINARY_CHUNK),
            binary,
        ]
    )
