"""UV atlas: a mesh laid flat, without overlap.

In the unit square.
"""

from dataclasses import dataclass

import numpy as np
import torch
import xatlas
from jaxtyping import Float, Int
from torch import Tensor

from headartist.geometry.mesh import Mesh
from headartist.system.errors import HeadArtistError

# xatlas's time grows faster than the size of one piece: 82k faces took 42 s whole and 12 s in patches of 3k.
PATCH_FACES = 1_000
# xatlas compares lengths and areas with fixed numbers, and gives no place to triangles that it thus takes for points.
# Scaled so that a usual edge is this long, not even the slivers of marching tetrahedra are lost.
USUAL_EDGE = 100.0


@dataclass(frozen=True)
class UvAtlas:
    """Texture coordinates of a mesh.

    Its vertices are split along the seams.

    Attributes:
        uv: coordinates in [0, 1]; u to the right, v up, so (0, 0) is the picture's lower left corner (as in OBJ).
        faces: triangles of split vertices, in the order of the mesh: `source[faces]` equals the mesh's faces.
        source: the mesh's vertex behind every split vertex.
    """

    uv: Float[Tensor, "u 2"]
    faces: Int[Tensor, "f 3"]
    source: Int[Tensor, "u"]


def unwrap(mesh: Mesh, *, resolution: int = 1024, gap_px: int = 4, patch_faces: int = PATCH_FACES) -> UvAtlas:
    """Lay a mesh flat with xatlas.

    In time that grows linearly with its size.

    The mesh is first halved across its longest side until no patch has more than `patch_faces` faces; the patches
    are unwrapped one by one and packed into one square.

    Args:
        mesh: triangles in the world frame.
        resolution: texture size in pixels for which charts are packed (approximately reached).
        gap_px: empty pixels between charts at that size, so that filtering never mixes two charts.
        patch_faces: most faces unwrapped in one piece.

    Raises:
        HeadArtistError: the mesh has no faces or holds numbers that are not finite.
    """
    verts, faces = mesh.verts.detach().cpu().float().numpy(), mesh.faces.cpu().numpy()
    if len(faces) == 0:
        raise HeadArtistError(
            "A mesh of 0 faces cannot be unwrapped: make the head again with --overwrite and another --seed."
        )
    if not np.isfinite(verts).all():
        broken = int((~np.isfinite(verts)).any(axis=1).sum())
        raise HeadArtistError(
            f"A mesh with {broken} vertices that are not finite cannot be unwrapped: make the head again with "
            "--overwrite and smaller learning rates."
        )
    corners = verts[faces]
    patches = _halve(corners.mean(axis=1), np.arange(len(faces)), patch_faces)
    verts = verts * (USUAL_EDGE / max(_mean_edge(corners), 1e-30))
    atlas = xatlas.Atlas()
    used = []
    for patch in patches:
        used_by_patch, compact = np.unique(faces[patch], return_inverse=True)
        atlas.add_mesh(verts[used_by_patch], compact.reshape(-1, 3).astype(np.uint32))
        used.append(used_by_patch)
    charts, packing = xatlas.ChartOptions(), xatlas.PackOptions()
    packing.resolution, packing.padding = resolution, gap_px
    atlas.generate(charts, packing)
    return _join(atlas, patches, used, mesh.faces)


def _mean_edge(corners: np.ndarray) -> float:
    return float(np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=-1).mean())


def _halve(centers: np.ndarray, patch: np.ndarray, limit: int) -> list[np.ndarray]:
    """Halve faces into patches of at most `limit`.

    Face numbers, by median cuts across the longest side.
    """
    if len(patch) <= limit:
        return [patch]
    points = centers[patch]
    axis = int(np.ptp(points, axis=0).argmax())
    order = patch[points[:, axis].argsort(kind="stable")]
    middle = len(order) // 2
    return _halve(centers, order[:middle], limit) + _halve(centers, order[middle:], limit)


def _join(atlas: xatlas.Atlas, patches: list[np.ndarray], used: list[np.ndarray], like: Tensor) -> UvAtlas:
    """Join the patches' results as one atlas.

    In the mesh's face order, on the mesh's device.
    """
    uv, source = [], []
    faces = np.empty(tuple(like.shape), dtype=np.int64)
    first = 0
    for k, (patch, used_by_patch) in enumerate(zip(patches, used, strict=True)):
        origin, triangles, coordinates = atlas[k]
        faces[patch] = triangles.astype(np.int64) + first
        first += len(origin)
        source.append(used_by_patch[origin])
        uv.append(coordinates)
    return UvAtlas(
        torch.as_tensor(np.concatenate(uv), device=like.device).clamp(0.0, 1.0),
        torch.as_tensor(faces, device=like.device),
        torch.as_tensor(np.concatenate(source), device=like.device),
    )
