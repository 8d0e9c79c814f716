"""Heads of another topology whose truth is known: the template's solid through marching tetrahedra."""

import functools

import torch

from headartist.export import tidy
from headartist.geometry.closest import ClosestPoint
from headartist.geometry.distance import SignedDistance
from headartist.geometry.mesh import Mesh
from headartist.geometry.tets import TetGrid
from headartist.heads import HeadTemplate, load_template

TEMPLATE = load_template()
MM = TEMPLATE.meters_per_unit * 1e3
HAT = 0.12  # world units that the hat stands out


@functools.cache
def remeshed(resolution: int, *, hat: bool = False) -> Mesh:
    """The template's skin and eyes as one closed surface; with a hat its crown is swollen."""
    grid = TetGrid(resolution, 1.1)
    points, sdf = grid.positions(), _distance(resolution)
    if hat:
        sdf = sdf - HAT * torch.sigmoid((points[:, 1] - 0.25) / 0.01)
    crossing = grid.crossing(sdf)
    return tidy(crossing.mesh(sdf[crossing.grid_verts], points[crossing.grid_verts]))


@functools.cache
def _distance(resolution: int) -> torch.Tensor:
    return SignedDistance(TEMPLATE.mesh("skin", "eyes"))(TetGrid(resolution, 1.1).positions())


def truth(mesh: Mesh, template: HeadTemplate = TEMPLATE) -> torch.Tensor:
    """Where the template's shapes would move each vertex of a surface that lies on it."""
    surface = template.mesh("skin", "eyes")
    found = ClosestPoint(surface)(mesh.verts)
    return torch.stack([found.of(shape, surface.faces) for shape in template.expression_basis])
