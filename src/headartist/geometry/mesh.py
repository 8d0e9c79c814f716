"""Mesh: triangles as one value.

With normals, adjacency and the two smoothness energies.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import normalize

STANDING = 0.6  # cosine to straight down from which a hole is the one that a bust stands on


@dataclass(frozen=True)
class Mesh:
    """Triangles in the world frame.

    Faces wind counter-clockwise seen from outside.
    """

    verts: Float[Tensor, "v 3"]
    faces: Int[Tensor, "f 3"]

    @property
    def area_normals(self) -> Float[Tensor, "f 3"]:
        """Outward face normals whose length is twice the triangle's area."""
        # index_select, here and elsewhere: on the CPU its backward is many times faster than that of indexing.
        a, b, c = (self.verts.index_select(0, self.faces[:, k]) for k in range(3))
        normals: Tensor = torch.linalg.cross(b - a, c - a)
        return normals

    def vertex_normals(self) -> Float[Tensor, "v 3"]:
        """Average unit vertex normals, weighted by triangle area.

        A vertex without area gets the zero vector.
        """
        area_normals = self.area_normals
        sums = torch.zeros_like(self.verts)
        for k in range(3):
            sums = sums.index_add(0, self.faces[:, k], area_normals)
        return normalize(sums, dim=-1, eps=1e-12)

    @cached_property
    def _sorted_sides(self) -> tuple[Int[Tensor, "s"], Int[Tensor, "s"]]:
        """The 3 f triangle sides, sorted.

        As numbers `low * v + high`, and the side (face + f * corner) of each.
        """
        start = self.faces.T.reshape(-1).long()
        end = self.faces[:, [1, 2, 0]].T.reshape(-1).long()
        keys, order = (torch.minimum(start, end) * len(self.verts) + torch.maximum(start, end)).sort(stable=True)
        return keys, order

    @cached_property
    def edges(self) -> Int[Tensor, "e 2"]:
        """Every edge once.

        As (low, high) vertex numbers in lexicographic order.
        """
        keys = torch.unique_consecutive(self._sorted_sides[0])
        return torch.stack([keys // max(len(self.verts), 1), keys % max(len(self.verts), 1)], dim=1)

    @cached_property
    def face_pairs(self) -> Int[Tensor, "p 2"]:
        """The two triangles at every inner edge.

        An edge of more than two triangles gives consecutive pairs.
        """
        keys, order = self._sorted_sides
        shared = (keys[1:] == keys[:-1]).nonzero()[:, 0]
        return torch.stack([order[shared], order[shared + 1]], dim=1) % max(len(self.faces), 1)

    @cached_property
    def components(self) -> Int[Tensor, "v"]:
        """The connected component of each vertex.

        The same number where edges lead from one to the other.
        """
        return connected(len(self.verts), *self.edges.unbind(1))

    @cached_property
    def boundary_sides(self) -> Int[Tensor, "s 2"]:
        """Sides that belong to one triangle only.

        As (start, end) in that triangle's winding.
        """
        keys, order = self._sorted_sides
        _, counts = torch.unique_consecutive(keys, return_counts=True)
        alone = order[(counts == 1).repeat_interleave(counts)]
        face, corner = alone % max(len(self.faces), 1), alone // max(len(self.faces), 1)
        return torch.stack([self.faces[face, corner], self.faces[face, (corner + 1) % 3]], dim=1).long()


def normal_consistency(mesh: Mesh) -> Float[Tensor, ""]:
    """Measure how much neighbouring triangles turn.

    The mean of `1 - cos` between the normals at every inner edge.

    Pairs are weighted by the smaller of their two areas (without gradient). On even triangles this is the plain
    mean; on marching-tetrahedra surfaces it keeps slivers, whose normals are noise, from ruling the gradient.
    0 for a plane and for an empty mesh, 2 at most.
    """
    area_normals = mesh.area_normals
    if len(mesh.face_pairs) == 0:
        return area_normals.sum()
    left, right = mesh.face_pairs.unbind(1)
    with torch.no_grad():
        area = torch.linalg.vector_norm(area_normals, dim=1)
        weight = torch.minimum(area[left], area[right])
        weight = weight / weight.sum().clamp(min=torch.finfo(weight.dtype).tiny)
    normals = normalize(area_normals, dim=1, eps=1e-12)
    return (weight * (1 - (normals.index_select(0, left) * normals.index_select(0, right)).sum(dim=1))).sum()


def laplacian_energy(mesh: Mesh) -> Float[Tensor, ""]:
    """Average the lengths of the uniform Laplacian.

    It is `sum over neighbours j of (v_i - v_j)`.

    The graph Laplacian without division by the valence and the plain (not squared) norm, the form for which the
    paper's weight of 10,000 is meant. 0 for an empty mesh.
    """
    if len(mesh.verts) == 0:
        return mesh.verts.sum()
    low, high = mesh.edges.unbind(1)
    difference = mesh.verts.index_select(0, low) - mesh.verts.index_select(0, high)
    laplacian = torch.zeros_like(mesh.verts).index_add(0, low, difference).index_add(0, high, -difference)
    lengths: Tensor = torch.linalg.vector_norm(laplacian, dim=1)
    return lengths.mean()


def rims(mesh: Mesh) -> tuple[Int[Tensor, "s"], Int[Tensor, "s"], Int[Tensor, "s"]]:
    """Find the sides around holes, and whose hole each is.

    As (start, end) in their triangle's winding.
    """
    start, end = mesh.boundary_sides.unbind(1)
    return start, end, torch.unique(connected(len(mesh.verts), start, end)[start], return_inverse=True)[1]


def capped(mesh: Mesh) -> Mesh:
    """Close every hole by a fan to its rim's middle."""
    start, end, hole = rims(mesh)
    if len(start) == 0:
        return mesh
    count = torch.bincount(hole)
    sums = torch.zeros(len(count), 3, dtype=mesh.verts.dtype, device=mesh.verts.device)
    middles = sums.index_add(0, hole, mesh.verts[start]) / count[:, None]
    fans = torch.stack([end, start, len(mesh.verts) + hole], dim=1).to(mesh.faces.dtype)
    return Mesh(torch.cat([mesh.verts, middles]), torch.cat([mesh.faces, fans]))


def open_share(mesh: Mesh, *, standing: bool = True) -> float:
    """Compare the size of the holes with the surface.

    As fans over their rims.

    Args:
        mesh: with y up.
        standing: whether the lowest hole, where it faces down, is the one that a bust stands on, and does not count.
    """
    start, end, hole = rims(mesh)
    if len(start) == 0:
        return 0.0
    count = int(hole.max()) + 1
    sides = torch.linalg.cross(mesh.verts[end], mesh.verts[start])
    fans = torch.zeros(count, 3, dtype=sides.dtype).index_add(0, hole, sides)
    size = fans.norm(dim=1)
    lowest = hole[mesh.verts[start, 1].argmin()]
    if standing and -fans[lowest, 1] > STANDING * size[lowest]:
        size[lowest] = 0
    return float(size.sum() / mesh.area_normals.norm(dim=1).sum())


def connected(vertex_count: int, start: Int[Tensor, "s"], end: Int[Tensor, "s"]) -> Int[Tensor, "v"]:
    """Label the components of a graph of `vertex_count` vertices.

    One number for each vertex; `start` and `end` are the ends of the edges.
    """
    # Imported here: scipy's graph algorithms take a while to import and only whole meshes need them.
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    ends = start.cpu().numpy(), end.cpu().numpy()
    graph = coo_array((torch.ones(len(start)).numpy(), ends), shape=(vertex_count, vertex_count))
    return torch.from_numpy(connected_components(graph, directed=False)[1]).long().to(start.device)
