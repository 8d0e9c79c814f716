"""Reading a mesh file without believing it.

Of any kind we know: RawMesh, or one clear sentence.
"""

import io
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from headartist.config.template import require_content
from headartist.heads.readers.gltf import read_gltf
from headartist.heads.readers.obj import read_obj
from headartist.heads.readers.ply_strips import read_header, read_strips
from headartist.heads.readers.raw_mesh import LARGEST, MOST_FACES, RawMesh, Unreadable, plain
from headartist.system.errors import HeadArtistError


def read_mesh(path: Path) -> RawMesh:
    """Read the triangles of a mesh file as they are.

    Raises:
        HeadArtistError: when it cannot be read, or what it says is impossible.
    """
    require_content(path, LARGEST)
    try:
        mesh = _READERS[path.suffix.lower()](path, path.read_bytes())
        _check(mesh)
    except Unreadable as why:
        raise HeadArtistError(f"{path} cannot be read as a mesh ({why}): {why.advice}.") from None
    return mesh


def _check(mesh: RawMesh) -> None:
    if len(mesh.faces) > MOST_FACES:
        raise Unreadable(f"it has {len(mesh.faces):,} triangles, more than {MOST_FACES:,}", "decimate it")
    for corners, points in ((mesh.faces, mesh.verts), (mesh.uv_faces, mesh.verts if mesh.uv is None else mesh.uv)):
        if len(corners) and not (corners.min() >= 0 and corners.max() < len(points)):
            raise Unreadable("it has triangles without vertices")
    used = mesh.verts[mesh.faces.reshape(-1)]
    # Squares of lengths are taken, in single precision too.
    if not (np.abs(used) < 1e15).all():
        raise Unreadable("it has vertices that are not finite numbers")


def _with_trimesh(path: Path, data: bytes) -> RawMesh:
    # Imported here, as the only place that needs it: it takes a while.
    import trimesh

    try:
        kind = path.suffix.lower().removeprefix(".")
        mesh = trimesh.load_mesh(io.BytesIO(data), file_type=kind, process=False, skip_materials=True)
        uv = getattr(getattr(mesh, "visual", None), "uv", None)
        legal = uv is not None and np.shape(uv) == (len(mesh.vertices), 2)
        return plain(mesh.vertices, mesh.faces, np.asarray(uv, np.float64) if legal else None)
    except Exception as error:  # it raises whatever it meets
        raise Unreadable((str(error).splitlines() or [type(error).__name__])[0][:100]) from None


def _read_ply(path: Path, data: bytes) -> RawMesh:
    header = read_header(data)
    return read_strips(data, header) if header.has_strips else _with_trimesh(path, data)


_READERS: Mapping[str, Callable[[Path, bytes], RawMesh]] = {
    ".obj": lambda _, data: read_obj(data),
    ".ply": _read_ply,
    ".stl": _with_trimesh,
    **dict.fromkeys((".glb", ".gltf", ".vrm"), read_gltf),
}
