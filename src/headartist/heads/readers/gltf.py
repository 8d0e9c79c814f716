"""Reading glTF 2.0 (.gltf, .glb, .vrm).

The triangles of the default scene in its frame, and nothing else.

Buffers lie in the file or beside it; nothing is fetched, and nothing outside of the file's folder is read. Textures,
animations and shape keys are left out. A skinned mesh stands where its first joint carries it.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np

from headartist.heads.readers.raw_mesh import LARGEST, MOST_FACES, RawMesh, Unreadable, strip_triangles

_COMPONENTS = {5120: "i1", 5121: "u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}
_TRIANGLES, _STRIP, _FAN = 4, 5, 6
_SHAPE = {  # what packs or moves vertices; anything else a file may require is of materials, lights or players
    "KHR_draco_mesh_compression": "export it without Draco (in Blender: without Compression)",
    "EXT_meshopt_compression": "export it without meshopt (gltfpack -noq, without -c)",
    "KHR_meshopt_compression": "export it without meshopt (gltfpack -noq, without -c)",
    "EXT_mesh_gpu_instancing": "export it with its instances made real",
}
_SPARSE = "export it without shape keys, and without sparse accessors"


def read_gltf(path: Path, data: bytes) -> RawMesh:
    """Read the triangles of a glTF file's content.

    Args:
        path: where it lies, with its buffers beside it.
        data: its content.

    Raises:
        Unreadable: when it is damaged, or packed in a way that is not read.
    """
    text, binary = _chunks(data) if data.startswith(b"glTF") else (data, None)
    try:
        tree = json.loads(text)
    except (ValueError, RecursionError):
        raise Unreadable("its JSON is damaged") from None
    if not isinstance(tree, dict):
        raise Unreadable("its JSON holds no glTF")
    for name in tree.get("extensionsRequired", ()):
        if name in _SHAPE:
            raise Unreadable(f"it needs {name}, which is not read", _SHAPE[name])
    try:
        return _Scene(path, tree, binary).mesh()
    except (KeyError, IndexError, TypeError, AttributeError, ValueError, OverflowError, RecursionError) as error:
        raise Unreadable(f"its glTF contradicts itself: {type(error).__name__} {str(error)[:60]}") from None


def _chunks(data: bytes) -> tuple[bytes, bytes | None]:
    """Split a GLB file into its JSON and binary chunk."""
    if len(data) < 20 or data[4:8] != b"\2\0\0\0":
        raise Unreadable("it is no GLB of version 2")
    chunks: dict[bytes, bytes] = {}
    at = 12
    while at + 8 <= len(data):
        length, kind = int.from_bytes(data[at : at + 4], "little"), data[at + 4 : at + 8]
        if length > len(data) - at - 8:
            raise Unreadable("it is cut short")
        chunks.setdefault(kind, data[at + 8 : at + 8 + length])
        at += 8 + length
    if b"JSON" not in chunks:
        raise Unreadable("it has no JSON")
    return chunks[b"JSON"], chunks.get(b"BIN\0")


class _Scene:
    """The tree of a file, and its buffers."""

    def __init__(self, path: Path, tree: Mapping[str, Any], binary: bytes | None):
        self._folder, self._tree, self._binary = path.parent, tree, binary
        self._buffers: dict[int, bytes] = {}
        self._faces_left = MOST_FACES

    def mesh(self) -> RawMesh:
        """All triangles, in the scene's frame."""
        pieces = []
        for node, place in self._placed().items():
            if "mesh" in (item := self._tree["nodes"][node]):
                mesh = self._tree["meshes"][_place(item["mesh"])]
                place = self._first_joint(item["skin"]) if "skin" in item else place
                names = [name for name in (item.get("name"), mesh.get("name")) if name]
                pieces += [self._piece(one, place, names) for one in mesh["primitives"]]
        return _joined([piece for piece in pieces if piece is not None])

    def _placed(self) -> dict[int, np.ndarray]:
        """Place the default scene's nodes.

        Each with what takes its points to the scene; every node is visited once.
        """
        nodes, scenes = self._tree.get("nodes", []), self._tree.get("scenes")
        roots = scenes[_place(self._tree.get("scene", 0))].get("nodes", []) if scenes else range(len(nodes))
        children = {_place(child) for node in nodes for child in node.get("children", ())}
        waiting = [(_place(root), np.eye(4)) for root in roots if scenes or root not in children]
        placed: dict[int, np.ndarray] = {}
        while waiting:
            node, above = waiting.pop()
            if node in placed:
                continue
            placed[node] = above @ _local(nodes[node])
            waiting += [(_place(child), placed[node]) for child in nodes[node].get("children", ())]
        return placed

    def _first_joint(self, number: Any) -> np.ndarray:
        """Find where a skin's first joint carries the mesh.

        At rest, every joint carries it there.
        """
        skin = self._tree["skins"][_place(number)]
        place = self._placed()[_place(skin["joints"][0])]
        if "inverseBindMatrices" in skin:
            place = place @ self._accessor(skin["inverseBindMatrices"])[0].reshape(4, 4).T
        return place

    def _piece(
        self, primitive: Mapping[str, Any], place: np.ndarray, names: list[str]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, tuple[str, ...]] | None:
        """Read one primitive.

        Vertices, triangles, texture coordinates and names; None for points and lines.
        """
        mode, attributes = primitive.get("mode", _TRIANGLES), primitive["attributes"]
        if mode not in (_TRIANGLES, _STRIP, _FAN) or "POSITION" not in attributes:
            return None
        packed = [name for name in primitive.get("extensions", {}) if name in _SHAPE]
        if packed and "bufferView" not in self._tree["accessors"][_place(attributes["POSITION"])]:
            raise Unreadable(f"it needs {packed[0]}, which is not read", _SHAPE[packed[0]])
        verts = self._accessor(attributes["POSITION"])
        corners = self._accessor(primitive["indices"])[:, 0] if "indices" in primitive else np.arange(len(verts))
        faces = _triangles(corners.astype(np.int64), mode)
        self._faces_left -= len(faces)
        if self._faces_left < 0:
            raise Unreadable(f"it has more than {MOST_FACES:,} triangles", "decimate it")
        uv = self._accessor(attributes["TEXCOORD_0"])[:, :2] * [1, -1] + [0, 1] if "TEXCOORD_0" in attributes else None
        if "material" in primitive:
            name = self._tree["materials"][_place(primitive["material"])].get("name")
            names = [*names, name] if name else names
        return verts @ place[:3, :3].T + place[:3, 3], faces, uv, tuple(dict.fromkeys(map(str, names)))

    def _accessor(self, number: Any) -> np.ndarray:
        """Read an accessor's rows as float64.

        Integers that stand for fractions are divided.
        """
        accessor = self._tree["accessors"][_place(number)]
        if "sparse" in accessor:
            raise Unreadable("it has sparse accessors, which are not read", _SPARSE)
        view = self._tree["bufferViews"][_place(accessor["bufferView"])]
        packed = [name for name in view.get("extensions", {}) if name in _SHAPE]
        if packed:
            raise Unreadable(f"it needs {packed[0]}, which is not read", _SHAPE[packed[0]])
        kind, width = np.dtype(_COMPONENTS[accessor["componentType"]]), _WIDTHS[accessor["type"]]
        count, start, length = _place(accessor["count"]), _place(view.get("byteOffset", 0)), _place(view["byteLength"])
        stride = _place(view.get("byteStride", 0)) or kind.itemsize * width
        offset = _place(accessor.get("byteOffset", 0))
        content = self._buffer(_place(view["buffer"]))[start : start + length]
        if count == 0 or offset + (count - 1) * stride + kind.itemsize * width > len(content):
            raise Unreadable("it claims more vertices than it holds")
        rows = np.ndarray((count, width), kind, content, offset, (stride, kind.itemsize)).astype(np.float64)
        return rows / np.iinfo(kind).max if accessor.get("normalized") and kind.kind in "iu" else rows

    def _buffer(self, number: int) -> bytes:
        if number not in self._buffers:
            uri = self._tree["buffers"][number].get("uri")
            if uri is None and self._binary is None:
                raise Unreadable("it has no binary part")
            self._buffers[number] = self._binary or b"" if uri is None else _content(self._folder, uri)
        return self._buffers[number]


def _content(folder: Path, uri: str) -> bytes:
    """Read what a buffer's address stands for.

    Data in it, or a file in the folder.

    Raises:
        Unreadable: when it leads elsewhere.
    """
    if uri.startswith("data:"):
        try:
            return base64.b64decode(uri.partition(",")[2], validate=True)
        except binascii.Error:
            raise Unreadable("a buffer in it is damaged") from None
    shown = repr(uri[:60])
    path = folder / unquote(uri)
    if "://" in uri or not path.resolve().is_relative_to(folder.resolve()):
        raise Unreadable(f"its buffer {shown} lies outside of its folder", "export it as .glb, which holds everything")
    if not path.is_file() or path.stat().st_size > LARGEST:
        raise Unreadable(f"its buffer {shown} is not beside it", "put it there, or export the head as .glb")
    return path.read_bytes()


def _place(value: Any) -> int:
    """Check a number that counts something."""
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r} stands where a place belongs")
    return value


def _local(node: Mapping[str, Any]) -> np.ndarray:
    """Take a node's points to its parent's frame."""
    if "matrix" in node:
        return np.array(node["matrix"], np.float64).reshape(4, 4).T
    x, y, z, w = (float(part) for part in node.get("rotation", (0, 0, 0, 1)))
    turn = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
    place = np.eye(4)
    place[:3, :3] = turn * np.array(node.get("scale", (1, 1, 1)), np.float64)
    place[:3, 3] = node.get("translation", (0, 0, 0))
    return place


def _triangles(corners: np.ndarray, mode: int) -> np.ndarray:
    if mode == _STRIP:
        return strip_triangles(corners)
    if mode == _FAN:
        first = np.full(max(len(corners) - 2, 0), corners[0])
        return np.stack([first, corners[1:-1], corners[2:]], axis=1)
    return corners[: len(corners) // 3 * 3].reshape(-1, 3)


def _joined(pieces: list[tuple[np.ndarray, np.ndarray, np.ndarray | None, tuple[str, ...]]]) -> RawMesh:
    """Join pieces into one.

    Texture coordinates are kept where all have them.
    """
    verts, faces, uv, names = zip(*pieces, strict=True) if pieces else ((), (), (), ())
    below = np.cumsum([0, *map(len, verts)])
    numbered = [np.zeros((0, 3), np.int64), *(one + begin for one, begin in zip(faces, below, strict=False))]
    whole = bool(pieces) and all(one is not None and len(one) == len(own) for one, own in zip(uv, verts, strict=True))
    together = np.concatenate(numbered)
    return RawMesh(
        np.concatenate([np.zeros((0, 3)), *verts]),
        together,
        np.concatenate(uv) if whole else None,
        together,
        np.repeat(np.arange(len(faces)), [len(one) for one in faces]),
        names,
    )
