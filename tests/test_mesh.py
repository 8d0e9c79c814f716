"""Laws of Mesh: adjacency, normals, the two energies, and closing holes."""

import math

import pytest
import torch
import trimesh

from headartist.geometry.mesh import Mesh, capped, laplacian_energy, normal_consistency, rims


def _of(shape: trimesh.Trimesh) -> Mesh:
    return Mesh(torch.tensor(shape.vertices, dtype=torch.float64), torch.tensor(shape.faces))


def _trimesh(mesh: Mesh) -> trimesh.Trimesh:
    return trimesh.Trimesh(mesh.verts.detach().numpy(), mesh.faces.numpy(), process=False)


def _bowl() -> Mesh:
    """A sphere with its lowest triangles cut off, as a bust is."""
    sphere = _of(trimesh.creation.icosphere(3))
    middles = sphere.verts[sphere.faces].mean(dim=1)
    return Mesh(sphere.verts, sphere.faces[middles[:, 1] > -0.5])


SPHERE = _of(trimesh.creation.icosphere(3))
BOX = _of(trimesh.creation.box())
EMPTY = Mesh(torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.int64))


@pytest.mark.parametrize("mesh", [SPHERE, BOX, _bowl()], ids=["sphere", "box", "bowl"])
def test_edges_and_face_pairs_are_those_of_another_library(mesh):
    other = _trimesh(mesh)
    assert {tuple(e) for e in mesh.edges.tolist()} == {tuple(e) for e in other.edges_unique.tolist()}
    assert len(mesh.edges) == len(other.edges_unique)
    pairs = {tuple(sorted(p)) for p in mesh.face_pairs.tolist()}
    assert pairs == {tuple(sorted(p)) for p in other.face_adjacency.tolist()}


def test_a_closed_mesh_has_no_rim_and_a_bowl_has_one_that_runs_as_its_triangles_do():
    assert len(SPHERE.boundary_sides) == 0
    start, end, hole = rims(_bowl())
    assert len(hole.unique()) == 1
    assert sorted(start.tolist()) == sorted(end.tolist())
    directed = {(f[k], f[(k + 1) % 3]) for f in _bowl().faces.tolist() for k in range(3)}
    assert set(zip(start.tolist(), end.tolist(), strict=True)) <= directed


def test_a_capped_bowl_is_watertight_and_faces_out():
    shape = _trimesh(capped(_bowl()))
    assert shape.is_watertight
    assert shape.is_winding_consistent
    assert 0.5 < shape.volume / (4 / 3 * math.pi) < 1.0


def test_the_normals_of_a_sphere_are_its_directions():
    assert (SPHERE.vertex_normals() * SPHERE.verts).sum(dim=1).min() > 0.999


def test_a_plane_is_perfectly_consistent_and_a_box_turns_by_its_right_angles():
    box_pairs = torch.tensor([0.0] * 6 + [1.0] * 12)  # 6 face diagonals and 12 edges at 90 degrees
    torch.testing.assert_close(normal_consistency(BOX), box_pairs.mean().double())
    plane = Mesh(torch.tensor([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]]), torch.tensor([[0, 1, 2], [0, 2, 3]]))
    assert normal_consistency(plane) == 0


def test_a_sliver_cannot_rule_the_gradient_of_normal_consistency():
    verts = [[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0.2], [0.5, -1e-6, 1e-6]]
    faces = [[0, 1, 2], [1, 3, 2], [1, 0, 4]]  # a folded square, and a sliver at its side
    leaf = torch.tensor(verts, requires_grad=True)
    normal_consistency(Mesh(leaf, torch.tensor(faces))).backward()
    assert leaf.grad.abs().max() < 2  # 1 / height of the sliver would be a million


def test_laplacian_energy_is_its_definition():
    neighbours = _trimesh(SPHERE).vertex_neighbors
    lengths = [
        (len(around) * SPHERE.verts[i] - SPHERE.verts[around].sum(dim=0)).norm() for i, around in enumerate(neighbours)
    ]
    torch.testing.assert_close(laplacian_energy(SPHERE), torch.stack(lengths).mean())


def _shaken(mesh: Mesh, by: float) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return mesh.verts + by * torch.randn(mesh.verts.shape, generator=generator, dtype=mesh.verts.dtype)


def test_the_gradient_of_the_laplacian_energy_is_that_of_finite_differences():
    small = _of(trimesh.creation.icosphere(1))
    verts = _shaken(small, 0.1).requires_grad_()
    assert torch.autograd.gradcheck(lambda v: laplacian_energy(Mesh(v, small.faces)), verts)


def test_normal_consistency_neither_pushes_nor_twists_the_mesh_as_a_whole():
    verts = _shaken(SPHERE, 0.02).requires_grad_()
    (gradient,) = torch.autograd.grad(normal_consistency(Mesh(verts, SPHERE.faces)), verts)
    nothing = torch.zeros(3, dtype=torch.float64)
    torch.testing.assert_close(gradient.sum(dim=0), nothing, atol=1e-12, rtol=0)
    torch.testing.assert_close(torch.linalg.cross(verts, gradient).sum(dim=0), nothing, atol=1e-12, rtol=0)


@pytest.mark.parametrize("energy", [normal_consistency, laplacian_energy])
def test_the_energies_of_a_mesh_fall_along_their_gradient_and_do_not_feel_where_it_stands(energy):
    verts = _shaken(SPHERE, 0.02).requires_grad_()
    before = energy(Mesh(verts, SPHERE.faces))
    (gradient,) = torch.autograd.grad(before, verts)
    step = 1e-4 * gradient / gradient.norm()
    assert energy(Mesh(verts.detach() - step, SPHERE.faces)) < before
    torch.testing.assert_close(energy(Mesh(verts.detach() + 5, SPHERE.faces)), before.detach())


@pytest.mark.parametrize("energy", [normal_consistency, laplacian_energy])
def test_an_empty_mesh_has_no_energy(energy):
    assert energy(EMPTY) == 0


def test_an_empty_mesh_has_no_edges_and_no_rims():
    assert len(EMPTY.edges) == len(EMPTY.face_pairs) == len(EMPTY.boundary_sides) == 0
    assert len(capped(EMPTY).faces) == 0
