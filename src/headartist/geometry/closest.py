"""The closest point of a mesh.

For as many points as wanted, as a triangle and weights of its corners.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from headartist.geometry.distance import warp_mesh
from headartist.geometry.kernels import closest_point
from headartist.geometry.mesh import Mesh
from headartist.system.warp import launch, vec3


@dataclass(frozen=True)
class SurfacePoints:
    """Points of a mesh's surface.

    Attributes:
        face: the triangle of each point.
        barycentric: weights of its three corners, summing to 1.
    """

    face: Int[Tensor, "n"]
    barycentric: Float[Tensor, "n 3"]

    def of(self, values: Float[Tensor, "v c"], faces: Int[Tensor, "f 3"]) -> Float[Tensor, "n c"]:
        """Interpolate values of the mesh's vertices at the points.

        Positions, normals, displacements, or any other.
        """
        return (self.barycentric[..., None].to(values) * values[faces[self.face]]).sum(dim=1)


class ClosestPoint:
    """The closest point of a mesh.

    The tree over its triangles is built once.
    """

    def __init__(self, mesh: Mesh):
        self._mesh = Mesh(mesh.verts.detach().float().contiguous(), mesh.faces)
        self._tree = warp_mesh(self._mesh)

    def __call__(self, points: Float[Tensor, "n 3"]) -> SurfacePoints:
        """Find the nearest point of the mesh for each world point."""
        points = points.detach().float().contiguous()
        device, count = points.device, len(points)
        face = torch.empty(count, dtype=torch.int32, device=device)
        barycentric = torch.zeros(count, 3, device=device)
        launch(closest_point, count, device, self._tree.id, vec3(points), self._reach(points), face, vec3(barycentric))
        return SurfacePoints(face.long(), barycentric)

    def _reach(self, points: Tensor) -> float:
        """Bound a length within which every point has the whole mesh."""
        farthest = float(points.norm(dim=1).max()) if len(points) else 0.0
        return 2 * (farthest + float(self._mesh.verts.norm(dim=1).max()))
