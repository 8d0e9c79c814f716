"""Tiny scenes and the rasteriser's back ends, shared by the tests of the renderer."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from headartist import render
from headartist.geometry.cameras import Cameras
from headartist.render import reference


@dataclass(frozen=True)
class Backend:
    """One implementation of the rasteriser, with the precision it works in."""

    name: str
    rasterize: Callable
    interpolate: Callable
    antialias: Callable
    device: str
    dtype: torch.dtype

    def put(self, tensor: Tensor) -> Tensor:
        return tensor.detach().to(self.device, self.dtype if tensor.is_floating_point() else None)


FAST = (render.rasterize, render.interpolate, render.antialias)
SLOW = (reference.rasterize, reference.interpolate, reference.antialias)
BACKENDS = [
    Backend("warp-cpu", *FAST, "cpu", torch.float32),
    Backend("torch", *SLOW, "cpu", torch.float64),
    pytest.param(
        Backend("warp-cuda", *FAST, "cuda", torch.float32),
        marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")],
    ),
]
every_backend = pytest.mark.parametrize("backend", BACKENDS, ids=lambda backend: backend.name)


def to_clip(verts: Tensor, cameras: Cameras) -> Tensor:
    """World vertices in clip space, `b v 4`, in the precision of the vertices."""
    matrix = cameras.clip_from_world.to(verts)
    return torch.nn.functional.pad(verts, (0, 1), value=1.0) @ matrix.transpose(1, 2)


def icosphere(subdivisions: int, bumps: float = 0.0) -> tuple[Tensor, Tensor]:
    """A closed, outward-wound sphere of 20 * 4^subdivisions triangles, its radius waving by `bumps`."""
    golden = (1 + 5**0.5) / 2
    corners = [(-1, golden, 0), (1, golden, 0), (-1, -golden, 0), (1, -golden, 0)]
    verts = torch.tensor([(p[k], p[(k + 1) % 3], p[(k + 2) % 3]) for k in (0, 2, 1) for p in corners]).double()
    side = (verts[:, None] - verts[None]).norm(dim=-1)
    near = (side - 2).abs() < 1e-6
    i, j, k = (near[:, :, None] & near[None] & near[:, None]).nonzero(as_tuple=True)
    outward = (torch.linalg.cross(verts[i], verts[j]) * verts[k]).sum(-1) > 0
    ordered = outward & (i < j) & (i < k)
    faces = torch.stack([i, j, k], dim=1)[ordered]
    for _ in range(subdivisions):
        edges = torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).sort(dim=1).values
        unique, number = torch.unique(edges, dim=0, return_inverse=True)
        ab, bc, ca = (number + len(verts)).view(3, -1)
        a, b, c = faces.unbind(1)
        verts = torch.cat([verts, verts[unique].mean(1)])
        children = [(a, ab, ca), (b, bc, ab), (c, ca, bc), (ab, bc, ca)]
        faces = torch.cat([torch.stack(corner, dim=1) for corner in children])
    verts = torch.nn.functional.normalize(verts, dim=-1)
    waves = torch.tensor([[2.0, 1.0, -1.5], [-1.0, 2.5, 0.7], [1.2, -0.8, 2.2]]).double()
    radius = 1 + bumps * torch.sin(verts @ waves.T + torch.tensor([0.3, 1.7, 4.0])).mean(1, keepdim=True)
    return (verts * radius).float(), faces
