"""Mesh: triangles as one value, with normals and the two smoothness energies."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Mesh:
    """Triangles in the world frame; faces wind counter-clockwise seen from outside."""

    verts: Float[Tensor, "v 3"]
    faces: Int[Tensor, "f 3"]

    def vertex_normals(self) -> Float[Tensor, "v 3"]:
        """Unit vertex normals, weighted by triangle area; a vertex without area gets the zero vector."""
        a, b, c = (self.verts[self.faces[:, k]] for k in range(3))
        area_normals = torch.linalg.cross(b - a, c - a)
        sums = torch.zeros_like(self.verts)
        for k in range(3):
            sums = sums.index_add(0, self.faces[:, k], area_normals)
        return torch.nn.functional.normalize(sums, dim=-1, eps=1e-12)
