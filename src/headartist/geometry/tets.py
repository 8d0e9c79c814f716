"""Tetrahedral grid and differentiable marching tetrahedra (DMTet).

The inside is where `sdf < 0`.

Every cube of a regular grid is cut into six tetrahedra along its main diagonal (Freudenthal, also Kuhn). Tets and
edges follow from the cube's place by arithmetic, so there are no index tables to build, and only the cubes that the
surface crosses are ever touched.
"""

from dataclasses import dataclass
from functools import cached_property
from itertools import permutations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from headartist.geometry.mesh import Mesh

# A cube's corners and an edge's direction are three bits, x * 4 + y * 2 + z; direction 7 is the main diagonal.
_AXIS_BITS = (4, 2, 1)
# The local corners of a tetrahedron's six edges.
_TET_EDGES = ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3))
# Below this the two ends of an edge count as equal, which keeps the gradient of the crossing finite.
_LEAST_DIFFERENCE = 1e-8


def _cube_tets() -> list[tuple[int, int, int, int]]:
    """List the six tets of a cube as corner bits.

    Walks from corner 0 to corner 7, ordered to positive volume.
    """
    tets = []
    for walk in permutations(range(3)):
        first = _AXIS_BITS[walk[0]]
        second = first | _AXIS_BITS[walk[1]]
        even = walk in ((0, 1, 2), (1, 2, 0), (2, 0, 1))
        tets.append((0, first, second, 7) if even else (0, second, first, 7))
    return tets


def _case_triangles() -> list[list[tuple[int, int, int]]]:
    """List the triangles of each of the 16 inside patterns.

    As local edges, facing out; bit k says that corner k is inside.
    """
    number = {edge: index for index, edge in enumerate(_TET_EDGES)}

    def crossed(a: int, b: int) -> int:
        return number[min(a, b), max(a, b)]

    cases: list[list[tuple[int, int, int]]] = []
    for case in range(16):
        inside = [corner for corner in range(4) if case >> corner & 1]
        outside = [corner for corner in range(4) if not case >> corner & 1]
        flip = _is_odd(inside + outside)
        match len(inside):
            case 1:
                ring = [[crossed(inside[0], corner) for corner in outside]]
            case 3:
                ring = [[crossed(corner, outside[0]) for corner in inside]]
            case 2:
                (a, b), (p, q) = inside, outside
                ring = [
                    [crossed(a, p), crossed(a, q), crossed(b, q)],
                    [crossed(a, p), crossed(b, q), crossed(b, p)],
                ]
            case _:
                ring = []
        cases.append([(x, z, y) if flip else (x, y, z) for x, y, z in ring])
    return cases


def _is_odd(order: list[int]) -> bool:
    """Whether a permutation swaps an odd number of pairs."""
    return sum(order[i] > order[j] for i in range(4) for j in range(i + 1, 4)) % 2 == 1


_CUBE_TETS = _cube_tets()
_CASE_TRIANGLES = _case_triangles()


@dataclass(frozen=True)
class Crossing:
    """Where a surface runs through a grid.

    Whole numbers only, so no gradient.

    Attributes:
        grid_verts: the grid vertices at the ends of crossed edges, ascending; only they carry gradients.
        edges: crossed edges as places in `grid_verts`; each becomes one vertex of the surface.
        faces: triangles of the surface, facing out.
    """

    grid_verts: Int[Tensor, "n"]
    edges: Int[Tensor, "e 2"]
    faces: Int[Tensor, "f 3"]

    def mesh(self, sdf: Float[Tensor, "n"], positions: Float[Tensor, "n 3"]) -> Mesh:
        """Place the surface's vertices, differentiable in both arguments.

        They are the signed distances and positions of `grid_verts`.

        The vertex on the edge from a to b stands at `p_a + s_a / (s_a - s_b) (p_b - p_a)`.
        """
        # index_select, here and elsewhere: on the CPU its backward is many times faster than that of indexing.
        a, b = self.edges.unbind(1)
        sdf_a, sdf_b = sdf.index_select(0, a), sdf.index_select(0, b)
        difference = sdf_a - sdf_b
        sign = torch.where(difference < 0, -1.0, 1.0).to(sdf.dtype)
        share = sdf_a * sign / (difference * sign).clamp(min=_LEAST_DIFFERENCE)
        verts = torch.lerp(positions.index_select(0, a), positions.index_select(0, b), share[:, None])
        return Mesh(verts, self.faces)


@dataclass(frozen=True)
class TetGrid:
    """A cube of `resolution`^3 cells, six tets each.

    On [-radius, radius]^3; vertex (x, y, z) is `(x n + y) n + z`.

    Attributes:
        resolution: cells along a side; there are `n = resolution + 1` vertices along it.
        radius: half the side, in world units.
    """

    resolution: int
    radius: float

    def __len__(self) -> int:
        """Count the vertices."""
        return (self.resolution + 1) ** 3

    @property
    def cell(self) -> float:
        """The side of a cube, in world units."""
        return 2 * self.radius / self.resolution

    @property
    def _side(self) -> int:
        return self.resolution + 1

    def positions(self, device: torch.device | str = "cpu") -> Float[Tensor, "n 3"]:
        """Place the undeformed vertices in the world."""
        line = torch.linspace(-self.radius, self.radius, self._side, device=device)
        return torch.cartesian_prod(line, line, line)

    def tets(self) -> Int[Tensor, "t 4"]:
        """All tetrahedra, positively oriented; marching does without this list."""
        cells = torch.arange(len(self)).view((self._side,) * 3)[:-1, :-1, :-1].reshape(-1)
        return (cells[:, None, None] + self._corner_offset[torch.tensor(_CUBE_TETS)]).reshape(-1, 4)

    def border(self, device: torch.device | str = "cpu") -> Bool[Tensor, "n"]:
        """Mark the vertices on the outside of the cube."""
        inner = torch.zeros((self._side - 2,) * 3, dtype=torch.bool, device=device)
        return torch.nn.functional.pad(inner, (1,) * 6, value=True).reshape(-1)

    def around(self, grid_verts: Int[Tensor, "k"], rings: int) -> Int[Tensor, "n"]:
        """Grow a set of vertices by `rings` steps.

        Along x, y, z or a diagonal; ascending.
        """
        mark = torch.zeros(len(self), dtype=torch.bool, device=grid_verts.device)
        mark[grid_verts] = True
        grown = mark.view((self._side,) * 3)
        for axis in range(3):
            for _ in range(rings):
                before = grown.clone()
                grown.narrow(axis, 1, self.resolution).logical_or_(before.narrow(axis, 0, self.resolution))
                grown.narrow(axis, 0, self.resolution).logical_or_(before.narrow(axis, 1, self.resolution))
        return mark.nonzero()[:, 0]

    @torch.no_grad()
    def crossing(self, sdf: Float[Tensor, "n"]) -> Crossing:
        """Find where the zero level of vertex values runs.

        A value of exactly 0 is outside.
        """
        cells, patterns = self._mixed_cells(sdf < 0)
        offsets = self._triangles.to(sdf.device).index_select(0, patterns)
        keys = (offsets + 7 * cells[:, None, None])[offsets[..., 0] >= 0]
        edge_keys, faces = _numbered(keys, 7 * len(self))
        low = edge_keys // 7
        high = low + self._corner_offset.to(sdf.device).index_select(0, edge_keys % 7 + 1)
        grid_verts, edges = _numbered(torch.stack([low, high], dim=1), len(self))
        return Crossing(grid_verts, edges, faces)

    def _mixed_cells(self, inside: Bool[Tensor, "n"]) -> tuple[Int[Tensor, "k"], Int[Tensor, "k"]]:
        """Find every cube with corners on both sides.

        Its first corner, and its pattern (bit c: corner c is inside).
        """
        pattern = inside.view((self._side,) * 3).to(torch.uint8)
        for axis, bit in enumerate(_AXIS_BITS):
            high = pattern.narrow(axis, 1, self.resolution)
            pattern = pattern.narrow(axis, 0, self.resolution) | (high << bit)
        x, y, z = ((pattern > 0) & (pattern < 255)).nonzero().unbind(1)
        return (x * self._side + y) * self._side + z, pattern[x, y, z].int()

    @cached_property
    def _corner_offset(self) -> Int[Tensor, "8"]:
        """From a cube's first vertex to each corner."""
        bits = torch.arange(8)
        return ((bits >> 2) * self._side + (bits >> 1 & 1)) * self._side + (bits & 1)

    @cached_property
    def _triangles(self) -> Int[Tensor, "256 12 3"]:
        """The triangles of a cube with each pattern.

        As edge keys less those of its first vertex; -1 where none.

        The edge that leaves grid vertex i in direction d has the key `7 i + d - 1`.
        """
        table = torch.full((256, 12, 3), -1)
        offset = self._corner_offset.tolist()
        for pattern in range(256):
            triangles = []
            for tet in _CUBE_TETS:
                case = sum((pattern >> corner & 1) << place for place, corner in enumerate(tet))
                for triangle in _CASE_TRIANGLES[case]:
                    ends = [sorted((tet[_TET_EDGES[edge][0]], tet[_TET_EDGES[edge][1]])) for edge in triangle]
                    # Corner bits are only ever added along a tet's walk, so the lower end is the smaller number.
                    triangles.append([7 * offset[low] + (high ^ low) - 1 for low, high in ends])
            if triangles:
                table[pattern, : len(triangles)] = torch.tensor(triangles)
        return table


def _numbered(keys: Int[Tensor, "*shape"], bound: int) -> tuple[Int[Tensor, "u"], Int[Tensor, "*shape"]]:
    """Find the distinct keys in [0, bound), ascending.

    With the place of each key among them; by marking, not sorting.
    """
    mark = torch.zeros(bound, dtype=torch.bool, device=keys.device)
    mark[keys.reshape(-1)] = True
    distinct = mark.nonzero()[:, 0]
    place = torch.empty(bound, dtype=torch.long, device=keys.device)
    place[distinct] = torch.arange(len(distinct), device=keys.device)
    return distinct, place.index_select(0, keys.reshape(-1)).view(keys.shape)


def marching_tets(grid: TetGrid, sdf: Float[Tensor, "n"], offset: Float[Tensor, "n 3"] | None = None) -> Mesh:
    """March the surface `sdf = 0`, differentiable in both arguments.

    It faces outward, where `sdf` grows.

    Args:
        grid: the tetrahedral grid.
        sdf: a signed distance for each of its vertices, below 0 inside.
        offset: how far each vertex has moved, in world units.
    """
    crossing = grid.crossing(sdf.detach())
    positions = grid.positions(sdf.device).to(sdf.dtype)[crossing.grid_verts]
    if offset is not None:
        positions = positions + offset[crossing.grid_verts]
    return crossing.mesh(sdf[crossing.grid_verts], positions)
