"""Mending a mesh as a person would.

Corners that belong together made one, winding put right, insides left out.

Nothing is moved but corners on rims that lie closer together than `WELD`; triangles are turned round or left out, and
none is added.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from headartist.geometry.distance import Sky
from headartist.geometry.mesh import Mesh, capped, connected

# As shares of the mesh's size. Of twelve heads and bodies, no two corners of a rim lie closer together than 2.2e-4, and
# no two corners at all closer than 1.6e-4 but in one; files that round their corners apart do it by 1e-5 at most.
WELD = 5e-5
MOST_LOST = 0.05  # of the triangles, by welding rims: with more, only what is in the same place is welded
DEBRIS = 2e-4  # of the whole area: a smaller component is left out; an eyeball of a whole body has 9e-4
MOST_DEBRIS = 0.05  # of the whole area: with more, the mesh is in pieces, and none is left out
CELLS = 64  # of the mesh's size, within which triangles that face one way are seen or unseen together
SAMPLES = 1_500  # triangles that look for the sky, at most
LEAST_SAMPLES = 64  # of each component: of an eyeball, little shows between the lids
MOST_COMPONENTS = 50  # that are looked at; the smallest of more stay as they are
HOLLOW = (
    0.3  # share of the area that sees no sky: more than mouth, nose and eyelids have, 0.14 to 0.22 in the open head
)


@dataclass(frozen=True)
class Repair:
    """What became of a mesh's triangles.

    Attributes:
        faces: its triangles, all of them, with corners that were split made one, and turned round where wanted.
        kept: which of them are left.
        turned: which were turned round: their second and third corner changed places.
        hidden: how many were left out because they never see the outside.
    """

    faces: Int[Tensor, "f 3"]
    kept: Bool[Tensor, "f"]
    turned: Bool[Tensor, "f"]
    hidden: int

    def mesh(self, verts: Float[Tensor, "v 3"]) -> Mesh:
        """Make a mesh of what is left."""
        return Mesh(verts, self.faces[self.kept])


def welded(verts: Float[Tensor, "v 3"], faces: Int[Tensor, "f 3"]) -> Int[Tensor, "v"]:
    """Weld vertices in the same place.

    For each one the number of the one that it is: in the same place, or on rims as good as there.
    """
    same = torch.unique(verts, dim=0, return_inverse=True)[1]
    first = _first_of(same)
    corners = first[faces]
    whole = corners[_proper(corners)]
    rim = Mesh(verts, whole).boundary_sides.reshape(-1).unique()
    if len(rim) == 0:
        return first
    used = verts[whole.unique()]
    cell = WELD * float((used.amax(dim=0) - used.amin(dim=0)).norm())
    if cell == 0:
        return first
    # Two points that are closer than half a cell share one in at least one of eight grids.
    places = (verts[rim] - used.amin(dim=0)) / cell
    start, end = [], []
    for shift in torch.cartesian_prod(*3 * [torch.tensor([0.0, 0.5])]):
        cells = torch.unique((places + shift).floor(), dim=0, return_inverse=True)[1]
        start.append(rim)
        end.append(rim[_first_of(cells)])
    together = connected(len(verts), torch.cat([*start, torch.arange(len(verts))]), torch.cat([*end, first]))
    one = _first_of(together)
    # Where sides are shorter than that, whole rims would become one.
    return one if int(_proper(one[faces]).sum()) > (1 - MOST_LOST) * len(whole) else first


def repair(verts: Float[Tensor, "v 3"], faces: Int[Tensor, "f 3"]) -> Repair:
    """Mend triangles whose corners are welded.

    Degenerate ones, twins, winding, debris, and what is never seen.
    """
    kept = _proper(faces) & _has_area(verts, faces) & _is_first(faces.sort(dim=1).values)
    turned = torch.zeros(len(faces), dtype=torch.bool)
    numbers = kept.nonzero()[:, 0]
    if len(numbers) == 0:
        return Repair(faces, kept, turned, 0)
    component, flip = _consistent(faces[numbers])
    sided = _turned(faces[numbers], flip)
    mesh = Mesh(verts, sided)
    clean = ~_debris(mesh, component)
    view = _View(Mesh(verts, sided[clean]), component[clean])
    flip[clean] ^= view.inside_out[component[clean]]
    seen = clean.clone()
    seen[clean] = view.seen
    turned[numbers] = flip
    kept[numbers] = seen
    return Repair(_turned(faces, turned), kept, turned, int(clean.sum() - seen.sum()))


def _first_of(number: Int[Tensor, "n"]) -> Int[Tensor, "n"]:
    """Find the first item with each one's number."""
    count = int(number.max()) + 1 if len(number) else 0
    place = torch.arange(len(number))
    return torch.full((count,), len(number)).scatter_reduce(0, number, place, "amin")[number]


def _proper(faces: Int[Tensor, "f 3"]) -> Bool[Tensor, "f"]:
    """Triangles with three different corners."""
    a, b, c = faces.unbind(1)
    return (a != b) & (b != c) & (c != a)


def _has_area(verts: Float[Tensor, "v 3"], faces: Int[Tensor, "f 3"]) -> Bool[Tensor, "f"]:
    corners = verts[faces]
    longest = (corners - corners.roll(1, dims=1)).norm(dim=2).amax(dim=1)
    large: Tensor = Mesh(verts, faces).area_normals.norm(dim=1) > 1e-9 * longest.square()
    return large


def _is_first(rows: Int[Tensor, "f 3"]) -> Bool[Tensor, "f"]:
    """Mark the first of equal rows."""
    return _first_of(torch.unique(rows, dim=0, return_inverse=True)[1]) == torch.arange(len(rows))


def _turned(faces: Int[Tensor, "f 3"], flip: Bool[Tensor, "f"]) -> Int[Tensor, "f 3"]:
    return torch.where(flip[:, None], faces[:, [0, 2, 1]], faces)


def _consistent(faces: Int[Tensor, "f 3"]) -> tuple[Int[Tensor, "f"], Bool[Tensor, "f"]]:
    """Wind each component of triangles one way.

    The component of each, joined at sides of exactly two, and which to turn.

    Each triangle is in the graph as it is and turned round; where two wind alike, like is joined with like. A component
    in which both meet, as on a Moebius strip, is left as it is.
    """
    count, vertex_count = len(faces), int(faces.max()) + 1
    start, end = faces.T.reshape(-1), faces[:, [1, 2, 0]].T.reshape(-1)
    keys, order = (torch.minimum(start, end) * vertex_count + torch.maximum(start, end)).sort(stable=True)
    sides = torch.unique_consecutive(keys, return_counts=True)[1]
    begins = (sides.cumsum(dim=0) - sides)[sides == 2]
    one, other = order[begins], order[begins + 1]
    clash = (start[one] == start[other]).long()
    one, other = one % count, other % count
    ends = torch.cat([one, one + count]), torch.cat([other + count * clash, other + count * (1 - clash)])
    both = connected(2 * count, *ends)
    component = connected(count, one, other)
    root = _first_of(component)
    one_sided = both[:count] == both[count:]
    return component, (both[:count] != both[root]) & ~one_sided


def _debris(mesh: Mesh, component: Int[Tensor, "f"]) -> Bool[Tensor, "f"]:
    """Triangles of components too small to matter."""
    area: Tensor = mesh.area_normals.norm(dim=1)
    own = torch.zeros(int(component.max()) + 1, dtype=area.dtype).index_add(0, component, area)
    small = (own < DEBRIS * area.sum())[component]
    return small & (area[small].sum() < MOST_DEBRIS * area.sum())


class _View:
    """What is inside out, and what is seen.

    Which components and which triangles, by sampling.

    Attributes:
        inside_out: for each component.
        seen: for each triangle.
    """

    def __init__(self, mesh: Mesh, component: Int[Tensor, "f"]):
        # With its holes closed, or the sky would look in through the neck.
        self._sky, self._mesh = Sky(capped(mesh)), mesh
        self._area = mesh.area_normals.norm(dim=1)
        self._normals = normalize(mesh.area_normals, dim=1, eps=1e-300)
        number = _samples(self._area, component)
        front, back = (self._sees(number, side) for side in (1, -1))
        count = int(component.max()) + 1
        votes = torch.zeros(count).index_add(0, component[number], front.float() - back.float())
        sampled, open_ = torch.zeros(count, dtype=torch.bool), torch.zeros(count, dtype=torch.bool)
        sampled[component[number]] = True
        open_[component[number[front | back]]] = True
        self.inside_out = votes < 0
        self.seen = (open_ | ~sampled)[component]
        if not bool(self.seen.any()):
            self.seen = torch.ones_like(self.seen)
        visible = (front | back)[self.seen[number]]
        if len(visible) and float(visible.float().mean()) < 1 - HOLLOW:
            self.seen = self.seen & self._each_seen(torch.where(self.inside_out[component], -1, 1))

    def _each_seen(self, outward: Int[Tensor, "f"]) -> Bool[Tensor, "f"]:
        """Ask for each triangle whether it sees the sky.

        Those that lie together and face one way are asked as one.
        """
        middles, signs = self._mesh.verts[self._mesh.faces].mean(dim=1), self._normals > 0
        cells = ((middles - middles.amin(dim=0)) / (middles.amax(dim=0) - middles.amin(dim=0)).norm() * CELLS).floor()
        first = _first_of(torch.unique(torch.cat([cells, signs], dim=1), dim=0, return_inverse=True)[1])
        asked = first.unique()
        seen = torch.zeros(len(first), dtype=torch.bool)
        seen[asked] = self._sees(asked, outward[asked])
        return seen[first]

    def _sees(self, number: Int[Tensor, "n"], side: int | Int[Tensor, "n"]) -> Bool[Tensor, "n"]:
        middles = self._mesh.verts[self._mesh.faces[number]].mean(dim=1)
        sides = torch.as_tensor(side).reshape(-1, 1)
        return self._sky(middles + sides * self._sky.lift * self._normals[number])


def _samples(area: Float[Tensor, "f"], component: Int[Tensor, "f"]) -> Int[Tensor, "n"]:
    """Sample triangles evenly over the area.

    With a few of each larger component.
    """
    even = _spread(area, min(SAMPLES, len(area)))
    own = torch.zeros(int(component.max()) + 1, dtype=area.dtype).index_add(0, component, area)
    largest = own.argsort(descending=True, stable=True)[:MOST_COMPONENTS]
    largest = largest[own[largest] > 0]
    order = component.argsort(stable=True)
    ends = torch.bincount(component).cumsum(dim=0)
    few = []
    for number in largest.tolist():
        members = order[int(ends[number - 1]) if number else 0 : int(ends[number])]
        few.append(members[_spread(area[members], LEAST_SAMPLES)])
    samples: Tensor = torch.cat([even, *few]).unique()
    return samples


def _spread(area: Float[Tensor, "f"], count: int) -> Int[Tensor, "n"]:
    levels = area.cumsum(dim=0)
    wanted = (torch.arange(count) + 0.5) / count * levels[-1]
    return torch.searchsorted(levels, wanted).clamp(max=len(area) - 1)
