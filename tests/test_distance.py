"""Laws of the signed distance: exact on closed meshes, full where a head is hollow, closed below."""

import pytest
import torch
import trimesh

from headartist.geometry.distance import SignedDistance, fibonacci_sphere, standing
from headartist.geometry.mesh import Mesh
from headartist.geometry.tets import TetGrid, marching_tets
from headartist.heads.load import load_template


def _of(shape: trimesh.Trimesh) -> Mesh:
    return Mesh(torch.tensor(shape.vertices, dtype=torch.float32), torch.tensor(shape.faces))


def _points(count: int = 2_000) -> torch.Tensor:
    return torch.rand(count, 3, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_a_box_has_its_textbook_distance():
    half = torch.tensor([0.4, 0.6, 0.5])
    points = _points()
    beyond = points.abs() - half
    exact = beyond.clamp(min=0).norm(dim=1) + beyond.amax(dim=1).clamp(max=0)
    box = _of(trimesh.creation.box(extents=(2 * half).tolist()))
    torch.testing.assert_close(SignedDistance(box)(points), exact, atol=1e-5, rtol=1e-5)


def test_a_sphere_has_its_distance_up_to_its_triangles():
    distance = SignedDistance(_of(trimesh.creation.icosphere(4, radius=0.7)))(_points())
    torch.testing.assert_close(distance, _points().norm(dim=1) - 0.7, atol=2e-3, rtol=0)


def test_the_outside_of_a_dent_is_outside():
    """A torus is closed and not convex: the points of its hole see the sky."""
    x, y, z = _points().unbind(1)
    exact = ((x * x + y * y).sqrt() - 0.6).hypot(z) - 0.25
    torus = _of(trimesh.creation.torus(0.6, 0.25, major_sections=128, minor_sections=64))
    torch.testing.assert_close(SignedDistance(torus)(_points()), exact, atol=2e-3, rtol=0)


def test_a_hollow_is_full():
    shell = trimesh.creation.icosphere(3, radius=0.8)
    hollow = trimesh.creation.icosphere(3, radius=0.5)
    hollow.invert()
    plain = SignedDistance(_of(shell))(_points())
    assert torch.equal(SignedDistance(_of(shell + hollow))(_points()), plain)


def test_a_bust_stands_closed_on_its_floor():
    sphere = _of(trimesh.creation.icosphere(3))
    bust = Mesh(sphere.verts, sphere.faces[sphere.verts[sphere.faces].mean(dim=1)[:, 1] > -0.5])
    closed = standing(bust)
    shape = trimesh.Trimesh(closed.verts.numpy(), closed.faces.numpy())
    assert shape.is_watertight
    assert shape.is_winding_consistent
    assert shape.volume > 0
    assert torch.equal(closed.faces[: len(bust.faces)], bust.faces)


def test_a_closed_mesh_stands_as_it_is():
    sphere = _of(trimesh.creation.icosphere(2))
    assert standing(sphere) is sphere


def test_directions_are_unit_and_even():
    directions = fibonacci_sphere(128)
    torch.testing.assert_close(directions.norm(dim=1), torch.ones(128))
    assert directions.mean(dim=0).norm() < 0.01
    nearest = (directions @ directions.T).fill_diagonal_(-1).amax(dim=1).arccos()
    assert nearest.min() > 0.6 * nearest.max()


def test_the_shipped_head_has_neither_hole_nor_tear():
    """Winding numbers tear it at the nostrils and the mouth; here it is one solid of genus 0 up to its ears."""
    template = load_template("open")
    grid = TetGrid(32, 1.1)
    distance = SignedDistance(template.mesh("skin", "eyes"))(grid.positions())
    shape = trimesh.Trimesh(*(t.numpy() for t in vars(marching_tets(grid, distance)).values()), process=False)
    assert shape.is_watertight
    assert len(shape.split()) == 1
    assert shape.euler_number == 2


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_gives_the_distance_of_the_cpu():
    mesh = _of(trimesh.creation.torus(0.6, 0.25))
    there = SignedDistance(Mesh(mesh.verts.cuda(), mesh.faces.cuda()))(_points().cuda())
    torch.testing.assert_close(there.cpu(), SignedDistance(mesh)(_points()), atol=1e-5, rtol=1e-5)
