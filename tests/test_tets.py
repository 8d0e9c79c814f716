"""Laws of the tetrahedral grid and of marching tetrahedra."""

import math
from itertools import pairwise

import pytest
import torch
import trimesh

from headartist.geometry.mesh import Mesh
from headartist.geometry.tets import TetGrid, marching_tets


def _trimesh(mesh: Mesh) -> trimesh.Trimesh:
    return trimesh.Trimesh(mesh.verts.detach().numpy(), mesh.faces.numpy(), process=False)


def _sphere(resolution: int, radius: float = 0.7) -> Mesh:
    grid = TetGrid(resolution, 1.0)
    return marching_tets(grid, grid.positions().norm(dim=1) - radius)


def _volumes(points: torch.Tensor, tets: torch.Tensor) -> torch.Tensor:
    a, b, c, d = points[tets].unbind(1)
    return (torch.linalg.cross(b - a, c - a) * (d - a)).sum(dim=1) / 6


@pytest.mark.parametrize("resolution", [2, 5])
def test_the_tets_fill_the_cube_evenly_and_are_positively_oriented(resolution):
    grid = TetGrid(resolution, 1.5)
    volumes = _volumes(grid.positions(), grid.tets())
    assert len(grid.positions()) == len(grid)
    assert len(grid.tets()) == 6 * resolution**3
    torch.testing.assert_close(volumes, torch.full_like(volumes, grid.cell**3 / 6))


def test_neighbouring_tets_share_whole_triangles():
    tets = TetGrid(3, 1.0).tets()
    sides = torch.cat([tets[:, [i for i in range(4) if i != k]] for k in range(4)]).sort(dim=1).values
    _, counts = sides.unique(dim=0, return_counts=True)
    assert set(counts.tolist()) == {1, 2}
    assert (counts == 1).sum() == 2 * 6 * 3**2  # two triangles for each square of the cube's outside


@pytest.mark.parametrize("resolution", [7, 16, 24])
def test_a_sphere_is_watertight_faces_out_and_has_genus_0(resolution):
    shape = _trimesh(_sphere(resolution))
    assert shape.is_watertight
    assert shape.is_winding_consistent
    assert shape.euler_number == 2
    assert shape.volume > 0


def test_the_area_and_volume_of_a_sphere_converge_quadratically():
    area, volume = 4 * math.pi * 0.49, 4 / 3 * math.pi * 0.343
    errors = [(area - s.area, volume - s.volume) for s in (_trimesh(_sphere(n)) for n in (8, 16, 32))]
    for coarse, fine in pairwise(errors):
        assert fine[0] == pytest.approx(coarse[0] / 4, rel=0.25)
        assert fine[1] == pytest.approx(coarse[1] / 4, rel=0.25)


def test_a_torus_keeps_its_hole():
    grid = TetGrid(24, 1.0)
    x, y, z = grid.positions().unbind(1)
    shape = _trimesh(marching_tets(grid, ((x * x + y * y).sqrt() - 0.6).hypot(z) - 0.25))
    assert shape.is_watertight
    assert shape.euler_number == 0


@pytest.mark.parametrize("tet", range(6))
@pytest.mark.parametrize("case", range(16))
def test_every_sign_case_of_every_tet_separates_its_corners(tet, case):
    """One cube, in which a linear function over one tet decides that tet's four signs."""
    grid = TetGrid(1, 1.0)
    corners = grid.tets()[tet]
    signs = torch.tensor([-1.0 if case >> k & 1 else 1.0 for k in range(4)])
    points = grid.positions()
    linear = torch.linalg.solve(torch.cat([points[corners], torch.ones(4, 1)], dim=1), signs)
    sdf = torch.cat([points, torch.ones(8, 1)], dim=1) @ linear
    mesh = marching_tets(grid, sdf)
    # The surface is the plane itself: every vertex on it, every normal along its gradient.
    on_plane = torch.cat([mesh.verts, torch.ones(len(mesh.verts), 1)], dim=1) @ linear
    torch.testing.assert_close(on_plane, torch.zeros_like(on_plane), atol=1e-5, rtol=0)
    assert ((mesh.area_normals @ linear[:3]) > 0).all()
    assert (len(mesh.faces) == 0) == bool((sdf < 0).all() or (sdf >= 0).all())


def test_any_signs_give_a_watertight_surface_when_the_border_is_outside():
    grid = TetGrid(6, 1.0)
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        sdf = torch.randn(len(grid), generator=generator)
        sdf[grid.border()] = 1.0
        shape = _trimesh(marching_tets(grid, sdf))
        assert shape.is_watertight
        assert shape.is_winding_consistent
        assert shape.volume > 0


def test_gradients_are_those_of_finite_differences():
    grid = TetGrid(3, 1.0)
    generator = torch.Generator().manual_seed(1)
    sdf = torch.randn(len(grid), generator=generator, dtype=torch.float64)
    sdf = torch.where(sdf.abs() < 0.1, sdf.sign() * 0.1, sdf).requires_grad_()
    offset = (0.1 * torch.randn(len(grid), 3, generator=generator, dtype=torch.float64)).requires_grad_()
    assert torch.autograd.gradcheck(lambda s, o: marching_tets(grid, s, o).verts, (sdf, offset), fast_mode=True)


def test_only_vertices_of_crossed_edges_carry_gradient():
    grid = TetGrid(12, 1.0)
    sdf = (grid.positions().norm(dim=1) - 0.6).requires_grad_()
    marching_tets(grid, sdf).verts.square().sum().backward()
    carried = grid.crossing(sdf.detach()).grid_verts
    assert (sdf.grad[carried] != 0).all()
    assert sdf.grad.count_nonzero() == len(carried)


@pytest.mark.parametrize("tiny", [0.0, -1e-45, -1e-12])
def test_values_at_zero_give_finite_vertices_and_gradients(tiny):
    grid = TetGrid(4, 1.0)
    sdf = grid.positions().abs().amax(dim=1) - 0.5  # exactly 0 on whole planes of vertices
    sdf = torch.where(sdf == 0, torch.tensor(tiny), sdf).requires_grad_()
    mesh = marching_tets(grid, sdf)
    mesh.verts.sum().backward()
    assert len(mesh.faces) > 0
    assert mesh.verts.isfinite().all()
    assert sdf.grad.isfinite().all()
    assert mesh.verts.abs().max() <= 0.5 + 1e-6


@pytest.mark.parametrize("value", [1.0, -1.0])
def test_no_crossing_is_an_empty_mesh_that_still_has_a_gradient(value):
    grid = TetGrid(3, 1.0)
    sdf = torch.full((len(grid),), value, requires_grad=True)
    mesh = marching_tets(grid, sdf)
    assert mesh.verts.shape == (0, 3)
    assert mesh.faces.shape == (0, 3)
    mesh.verts.sum().backward()
    assert (sdf.grad == 0).all()


def test_around_is_a_ball_of_the_largest_coordinate():
    grid = TetGrid(8, 1.0)
    middle = torch.tensor([len(grid) // 2])
    for rings in (1, 2):
        points = grid.positions()[grid.around(middle, rings)]
        assert len(points) == (2 * rings + 1) ** 3
        assert points.abs().max() == pytest.approx(rings * grid.cell)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_gives_the_mesh_of_the_cpu():
    grid = TetGrid(16, 1.0)
    sdf = grid.positions().norm(dim=1) - 0.7
    here, there = marching_tets(grid, sdf), marching_tets(grid, sdf.cuda())
    assert torch.equal(here.faces, there.faces.cpu())
    torch.testing.assert_close(here.verts, there.verts.cpu())
