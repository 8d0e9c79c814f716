"""Signed distance to the outside of a mesh.

The sign is by openness to the sky.

A point is outside when straight rays from it escape to infinity in at least `LEAST_OPENNESS` of all directions. Heads
are modelled with nostrils, a mouth cavity and the backs of eyeballs; winding numbers tear holes there, while hardly
any of it sees the sky, so here it is simply full. The distance is taken to the triangles that see the sky.
"""

import math

import torch
import warp as wp
from jaxtyping import Bool, Float
from torch import Tensor

from headartist.geometry.kernels import nearest_distance, sees_sky
from headartist.geometry.mesh import Mesh, capped, rims
from headartist.system.warp import launch, vec3

DIRECTIONS = 128
LEAST_OPENNESS = 0.04
_STRIDE = 79  # coprime to the number of directions, and about 128 over the golden ratio
# Samples of a triangle that are tested for seeing the sky, as barycentric weights, and how far off the surface they
# stand as a share of the mesh's size.
_SAMPLES = ((1 / 3, 1 / 3, 1 / 3), (0.8, 0.1, 0.1), (0.1, 0.8, 0.1), (0.1, 0.1, 0.8))
_LIFT = 1e-4
# How far below the lowest vertex the floor of an open bust lies, as a share of the mesh's size.
_FLOOR = 0.01


class SignedDistance:
    """The signed distance of points to a mesh, below 0 inside.

    Exact for a closed mesh without hollows; hollows that hardly see the sky count as inside. An open bust is closed
    below first (see `standing`).
    """

    def __init__(self, mesh: Mesh):
        closed = standing(Mesh(mesh.verts.detach().float(), mesh.faces))
        self._device = closed.verts.device
        self._sky = Sky(closed)
        seen = self._seen_faces(closed)
        self._seen = seen[: len(mesh.faces)]  # what closes it comes last
        self._outside = warp_mesh(Mesh(closed.verts, closed.faces[seen]))

    def __call__(self, points: Float[Tensor, "n 3"]) -> Float[Tensor, "n"]:
        """Signed distances of world points, in world units."""
        points = points.detach().float().contiguous()
        distance = torch.empty(len(points), device=self._device)
        reach = self._sky.reach(points)
        launch(nearest_distance, len(points), self._device, self._outside.id, vec3(points), reach, distance)
        return torch.where(self.sees_sky(points), distance, -distance)

    def sees_sky(self, points: Float[Tensor, "n 3"]) -> Bool[Tensor, "n"]:
        """Tell from which points enough straight rays escape the mesh."""
        return self._sky(points)

    @property
    def seen_faces(self) -> Bool[Tensor, "f"]:
        """The triangles that the distance is taken to.

        Those that see the sky.
        """
        return self._seen

    def _seen_faces(self, closed: Mesh) -> Bool[Tensor, "f"]:
        """Find triangles that see the sky.

        Those of which at least one sample, lifted off the surface, does.
        """
        corners = closed.verts[closed.faces]
        weights = torch.tensor(_SAMPLES, device=self._device)
        normals = torch.nn.functional.normalize(closed.area_normals, dim=1)
        lifted = torch.einsum("sk,fkc->fsc", weights, corners) + self._sky.lift * normals[:, None]
        return self.sees_sky(lifted.reshape(-1, 3)).view(-1, len(_SAMPLES)).any(dim=1)


class Sky:
    """Which points see the sky around a mesh.

    The mesh may wind as it likes.

    Attributes:
        lift: how far off the surface a point should stand to look from, in the mesh's units.
    """

    def __init__(self, mesh: Mesh):
        self._solid = Mesh(mesh.verts.detach().float().contiguous(), mesh.faces)
        self._tree = warp_mesh(self._solid)
        self._directions = fibonacci_sphere(DIRECTIONS).to(mesh.verts.device)
        self._radius = float(self._solid.verts.norm(dim=1).max())
        self.lift = _LIFT * float((self._solid.verts.amax(0) - self._solid.verts.amin(0)).norm())

    def __call__(self, points: Float[Tensor, "n 3"]) -> Bool[Tensor, "n"]:
        """Tell from which points enough straight rays escape the mesh."""
        points = points.detach().float().contiguous()
        seen = torch.empty(len(points), dtype=torch.int32, device=points.device)
        least = math.ceil(LEAST_OPENNESS * DIRECTIONS)
        arguments = (self._tree.id, vec3(points), vec3(self._directions), self.reach(points), least, seen)
        launch(sees_sky, len(points), points.device, *arguments)
        return seen.bool()

    def reach(self, points: Float[Tensor, "n 3"]) -> float:
        """Bound a length within which every point has the whole mesh."""
        farthest = float(points.norm(dim=1).max()) if len(points) else 0.0
        return 2 * (farthest + self._radius)


def standing(mesh: Mesh) -> Mesh:
    """Close a mesh as a bust stands.

    Its lowest hole gets walls straight down to a floor, other holes fans.

    A fan over the neck's cut, which is not flat, would leave wedges too thin for a grid at the shoulders.
    """
    start, end, rim = rims(mesh)
    if len(start) > 0:
        lowest = rim == rim[mesh.verts[start, 1].argmin()]
        start, end = start[lowest], end[lowest]
        extent = (mesh.verts.amax(0) - mesh.verts.amin(0)).norm()
        floor = mesh.verts.clone()
        floor[:, 1] = mesh.verts[:, 1].min() - _FLOOR * extent
        below = len(mesh.verts)
        walls = torch.cat(
            [torch.stack([end, start, start + below], 1), torch.stack([end, start + below, end + below], 1)]
        )
        mesh = Mesh(torch.cat([mesh.verts, floor]), torch.cat([mesh.faces, walls.to(mesh.faces.dtype)]))
    return capped(mesh)


def fibonacci_sphere(count: int) -> Float[Tensor, "n 3"]:
    """Spread `count` nearly even unit vectors on the golden spiral.

    In an order whose beginnings are spread out too.
    """
    index = (torch.arange(count) * _STRIDE) % count + 0.5
    height = 1 - 2 * index / count
    ring = (1 - height.square()).sqrt()
    angle = index * (math.pi * (3 - math.sqrt(5)))
    return torch.stack([ring * angle.cos(), height, ring * angle.sin()], dim=1)


def warp_mesh(mesh: Mesh) -> wp.Mesh:
    """Build a tree over the triangles for the kernels' queries.

    They must live on as long as the result.
    """
    vec3(mesh.verts)  # starts Warp
    points = wp.from_torch(mesh.verts.contiguous(), dtype=wp.vec3)
    indices = wp.from_torch(mesh.faces.reshape(-1).int().contiguous(), dtype=wp.int32)
    assert isinstance(points, wp.array)
    assert isinstance(indices, wp.array)
    return wp.Mesh(points=points, indices=indices)
