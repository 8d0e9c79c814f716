"""What a surface loses on its way to a file.

An extracted one: slivers without area, and specks that float free.
"""

import torch
from jaxtyping import Float
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from headartist.geometry.mesh import Mesh
from headartist.system.errors import HeadArtistError

CANCELED = 1e-5  # of the triangles' summed area: what is left of their normals below this is rounding


def tidy(mesh: Mesh, *, min_share: float = 0.01) -> Mesh:
    """Remove slivers, specks and unused vertices.

    Faces of no area and small separate pieces.

    Args:
        mesh: a surface, for instance of marching tetrahedra.
        min_share: a connected piece with a smaller share of the faces than this is dropped; 1 keeps only a mesh of
            one piece whole, so choose it well below.

    Raises:
        HeadArtistError: nothing is left.
    """
    faces = mesh.faces[_has_area(mesh)]
    if len(faces) == 0:
        raise HeadArtistError(
            "The head has no surface to export (0 faces with area): make it again with --overwrite and another --seed, "
            "or smaller learning rates."
        )
    piece = _piece_of_face(faces, len(mesh.verts))
    share = torch.bincount(piece) / len(piece)
    kept = faces[(share >= min(min_share, float(share.max())))[piece]]
    used, compact = kept.unique(return_inverse=True)
    return Mesh(mesh.verts[used], compact.reshape(-1, 3))


def unit_normals(mesh: Mesh) -> Float[Tensor, "v 3"]:
    """Average unit vertex normals by triangle area.

    Of length one everywhere, however small the triangles are.

    Where the triangles of a vertex cancel each other, as in a fold, it takes the normal of the largest of them; where
    none has an area it points up.
    """
    area_normals = Mesh(mesh.verts.detach().double(), mesh.faces).area_normals
    area, count = area_normals.norm(dim=-1), len(mesh.verts)
    vertex, face = mesh.faces.long().T.reshape(-1), torch.arange(len(mesh.faces), device=area.device).repeat(3)
    sums = area_normals.new_zeros(count, 3).index_add(0, vertex, area_normals[face])
    total = area.new_zeros(count).index_add(0, vertex, area[face])
    largest = area.new_zeros(count).scatter_reduce(0, vertex, area[face], "amax")
    # The first of several: files must not change from run to run.
    is_largest = (area[face] == largest[vertex]) & (area[face] > 0)
    first = torch.full((count,), len(area), device=area.device)
    first = first.scatter_reduce(0, vertex[is_largest], face[is_largest], "amin")
    of_largest = torch.cat([area_normals, area_normals.new_tensor([[0.0, 1.0, 0.0]])])[first]
    canceled = sums.norm(dim=-1) <= CANCELED * total
    normals = torch.where(canceled[:, None], of_largest, sums)
    unit: torch.Tensor = normals / normals.norm(dim=-1, keepdim=True)
    return unit.to(mesh.verts.dtype)


def _has_area(mesh: Mesh) -> torch.Tensor:
    """Tell which faces have an area.

    Above float32 rounding of the mesh's own extent.
    """
    a, b, c = mesh.verts.double()[mesh.faces].unbind(1)
    area: torch.Tensor = torch.linalg.cross(b - a, c - a).norm(dim=-1) / 2
    extent = float((mesh.verts.amax(0) - mesh.verts.amin(0)).max()) if len(mesh.verts) else 0.0
    return area > (1e-6 * extent) ** 2


def _piece_of_face(faces: torch.Tensor, vertex_count: int) -> torch.Tensor:
    """Label each face's connected piece.

    Faces that share a vertex are connected.
    """
    start, end = faces[:, [0, 1]].T.cpu().numpy(), faces[:, [1, 2]].T.cpu().numpy()
    rows, columns = start.ravel(), end.ravel()
    graph = coo_array((rows * 0 + 1, (rows, columns)), shape=(vertex_count, vertex_count))
    _, label = connected_components(graph, directed=False)
    return torch.as_tensor(label, dtype=torch.int64, device=faces.device)[faces[:, 0]]
