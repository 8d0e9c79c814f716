"""What a mesh file says, before anything is mended.

RawMesh, and why a file could not be read.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

LARGEST = 1 << 28  # bytes of a mesh file, with the buffers that it names
MOST_FACES = 2_000_000  # triangles; sculpted heads have up to a million


class Unreadable(Exception):
    """Why a file cannot be read.

    As the middle of a sentence, and what to do about it, as its end.
    """

    def __init__(self, why: str, advice: str = "save it again"):
        super().__init__(why)
        self.advice = advice


@dataclass(frozen=True)
class RawMesh:
    """Triangles as in a file.

    Attributes:
        verts: positions, in the file's unit.
        faces: triangles; a polygon's follow each other, a fan around its first corner.
        uv: texture coordinates, where every triangle has them.
        uv_faces: the triangles' corners in `uv`.
        label: an index into `names` for each triangle.
        names: what a triangle belongs to: its object, groups, node, mesh and material.
    """

    verts: Float[np.ndarray, "v 3"]
    faces: Int[np.ndarray, "f 3"]
    uv: Float[np.ndarray, "u 2"] | None
    uv_faces: Int[np.ndarray, "f 3"]
    label: Int[np.ndarray, "f"]
    names: tuple[tuple[str, ...], ...]


def plain(verts: np.ndarray, faces: np.ndarray, uv: np.ndarray | None = None) -> RawMesh:
    """Make triangles without names.

    Their texture coordinates, if any, belong to the vertices.
    """
    faces = np.asarray(faces, np.int64).reshape(-1, 3)
    return RawMesh(np.asarray(verts, np.float64), faces, uv, faces, np.zeros(len(faces), np.int64), ((),))


def strip_triangles(corners: Int[np.ndarray, "n"]) -> Int[np.ndarray, "f 3"]:
    """Cut strips into triangles, all winding alike.

    A corner of -1 ends a strip and begins the next.
    """
    place = np.arange(len(corners))
    begin = np.maximum.accumulate(np.where(corners < 0, place + 1, 0))
    faces = np.stack([corners[:-2], corners[1:-1], corners[2:]], axis=1)
    odd = ((place - begin)[:-2] % 2).astype(bool)
    faces[odd] = faces[odd][:, [1, 0, 2]]
    return faces[(faces >= 0).all(axis=1)]
