"""Normal maps.

What a surface of few triangles lost of a fine one's relief, as normals in its tangent space.

At every point of the coarse surface the tangent t, the bitangent b = w n x t and the normal n are interpolated from its
vertices; a picture holds the coordinates of the fine surface's normal in that frame, from [-1, 1] to [0, 1], with green
along v upwards. The frame is glTF's (3.7.2.1) and MikkTSpace's, and is written into the file, so that readers decode
with the very frame that was encoded with.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from headartist.export.surface import unit_normals
from headartist.export.texture import painted
from headartist.export.uv import UvAtlas
from headartist.geometry.closest import ClosestPoint
from headartist.geometry.mesh import Mesh

FLAT = (0.5, 0.5, 1.0)
LEAST_ROOM = 0.1  # keeps a frame whose tangent leans to the normal from squeezing everything flat
LEAST_COSINE = 0.2  # a nearest normal that is further off than 78 degrees belongs to another fold of the surface


def tangents(mesh: Mesh, atlas: UvAtlas) -> Float[Tensor, "u 4"]:
    """Find unit tangents at the split vertices.

    Along u, at right angles to the normals, and the bitangents' sign w.

    As in MikkTSpace, a vertex takes the tangents of its triangles, laid into its own plane, weighted by their angles.
    """
    # In double precision: products of the sides of small triangles and of their texture coordinates are tiny.
    normal = unit_normals(mesh)[atlas.source].double()
    place, uv = mesh.verts[atlas.source][atlas.faces].double(), atlas.uv[atlas.faces].double()
    side, side_uv = place.roll(-1, dims=1) - place, uv.roll(-1, dims=1) - uv
    area = side_uv[:, 0, 0] * side_uv[:, 1, 1] - side_uv[:, 0, 1] * side_uv[:, 1, 0]
    along_u = side[:, 0] * side_uv[:, 1, 1, None] - side[:, 1] * side_uv[:, 0, 1, None]
    along_u = along_u * torch.where(area < 0, -1.0, 1.0)[:, None]
    sums, turn = torch.zeros_like(normal), torch.zeros_like(normal[:, 0])
    for k in range(3):
        vertex, n = atlas.faces[:, k], normal[atlas.faces[:, k]]
        ahead, behind = _in_plane(side[:, k], n), _in_plane(-side[:, k - 1], n)
        angle = (ahead * behind).sum(dim=-1).clamp(-1, 1).acos()[:, None]
        sums = sums.index_add(0, vertex, angle * _in_plane(along_u, n))
        turn = turn.index_add(0, vertex, area)
    sign = torch.where(turn < 0, -1.0, 1.0)[:, None]
    return torch.cat([_or_any(sums, normal), sign], dim=1).to(mesh.verts.dtype)


def normal_map(
    fine: Mesh, mesh: Mesh, atlas: UvAtlas, size: int, *, bare: Bool[Tensor, "f"] | None = None
) -> Float[Tensor, "3 h w"]:
    """Paint a fine surface's normals for a coarse one.

    In the tangent space of the coarse one, which lies close to it.

    Args:
        fine: the surface with all its triangles.
        mesh: the coarse one.
        atlas: where its triangles lie.
        size: height and width in pixels.
        bare: triangles of `mesh` that have no counterpart on `fine` and stay as they are; None for none.
    """
    normal, tangent = unit_normals(mesh)[atlas.source], tangents(mesh, atlas)
    fine_normal, closest = unit_normals(fine), ClosestPoint(fine)
    place = mesh.verts[atlas.source]

    def encoded(face: Int[Tensor, "n"], weights: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
        def at(values: Tensor) -> Tensor:
            return (values[atlas.faces[face]] * weights[..., None].to(values)).sum(dim=1)

        n = normalize(at(normal), dim=-1)
        t = normalize(at(tangent[:, :3]), dim=-1)
        b = normalize(torch.linalg.cross(n, t), dim=-1) * tangent[atlas.faces[face, 0], 3:]
        wanted = normalize(closest(at(place)).of(fine_normal, fine.faces), dim=-1)
        keeps = (wanted * n).sum(dim=-1) < LEAST_COSINE
        if bare is not None:
            keeps = keeps | bare[face]
        wanted = torch.where(keeps[:, None], n, wanted)
        # Interpolated, t and n are a little askew: their coordinates are those of a plane with such axes.
        skew, along_t, along_n = (t * n).sum(dim=-1), (wanted * t).sum(dim=-1), (wanted * n).sum(dim=-1)
        x, z = along_t - skew * along_n, along_n - skew * along_t
        y = (wanted * b).sum(dim=-1) * (1 - skew.square()).clamp(min=LEAST_ROOM)
        return normalize(torch.stack([x, y, z], dim=-1), dim=-1) / 2 + 0.5

    return painted(atlas, encoded, size)


def _in_plane(vector: Float[Tensor, "n 3"], normal: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
    """Project vectors at right angles to normals.

    Unit vectors; the normals are too.
    """
    return normalize(vector - (vector * normal).sum(dim=-1, keepdim=True) * normal, dim=-1, eps=1e-30)


def _or_any(vector: Float[Tensor, "n 3"], normal: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
    """Normalise vectors, or take any.

    Where one is none, any at right angles to the normal.
    """
    axis = torch.eye(3).to(normal)[normal.abs().argmin(dim=-1)]
    return torch.where(vector.norm(dim=-1, keepdim=True) > 1e-6, _in_plane(vector, normal), _in_plane(axis, normal))
