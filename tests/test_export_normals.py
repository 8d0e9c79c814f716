"""Laws of exported normals and tangents: finite and of length one, whatever the mesh."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ball_avatar import icosphere
from headartist.export import UvAtlas, unwrap
from headartist.export.normal_map import tangents
from headartist.export.surface import unit_normals
from headartist.geometry.mesh import Mesh
from remeshed import remeshed

SPHERE = icosphere(3)


def mesh_of(points: list[tuple[float, float, float]], faces: list[tuple[int, int, int]]) -> Mesh:
    return Mesh(torch.tensor(points), torch.tensor(faces))


FOLDED = mesh_of([(1.0, 0, 0), (0, 1, 0), (0, 0, 1)], [(0, 1, 2), (0, 2, 1)])
TINY = Mesh(FOLDED.verts * 0.7e-6, FOLDED.faces[:1])  # twice its area, about 1e-12, was once taken for next to nothing
FLAT = mesh_of([(0.0, 0, 0), (1, 1, 1), (2, 2, 2), (5, 5, 5)], [(0, 1, 2), (1, 1, 1)])
MESHES = {"sphere": SPHERE, "folded": FOLDED, "tiny": TINY, "flat": FLAT, "head": remeshed(16)}


def off_unit(vectors: torch.Tensor) -> float:
    return float((vectors.double().norm(dim=-1) - 1).abs().max())


@pytest.mark.parametrize("scale", [1.0, 1e-3, 1e-6, 1e-9, 1e-15])
@pytest.mark.parametrize("mesh", MESHES.values(), ids=MESHES)
def test_normals_have_length_one(mesh, scale):
    assert off_unit(unit_normals(Mesh(mesh.verts * scale, mesh.faces))) < 1e-6


def test_normals_of_a_plain_surface_are_those_of_its_triangles_weighted_by_area():
    assert torch.allclose(unit_normals(SPHERE), SPHERE.vertex_normals(), atol=1e-6)


@pytest.mark.parametrize("scale", [1e-6, 1e-9, 1e-15])
def test_normals_do_not_depend_on_the_size_of_the_mesh(scale):
    small = Mesh(SPHERE.verts * scale, SPHERE.faces)
    assert torch.allclose(unit_normals(small), unit_normals(SPHERE), atol=1e-5)


def test_in_a_fold_a_normal_is_that_of_the_largest_triangle():
    """Two triangles of area 1/2 look down and one of area 1 looks up."""
    points = [(0.0, 0, 0), (2, 0, 0), (0, 1, 0), (1, 0, 0), (0, 1, 0), (0, 0, 0)]
    fold = mesh_of(points, [(0, 2, 3), (0, 1, 2), (0, 2, 3)])
    assert torch.equal(unit_normals(fold)[0], torch.tensor([0.0, 0.0, 1.0]))


def test_where_no_triangle_has_an_area_a_normal_points_up():
    assert torch.equal(unit_normals(FLAT), torch.tensor([[0.0, 1, 0]]).expand(4, 3))


coordinate = st.sampled_from([0.0, 1.0, -1.0, 1e-7, 1.0 + 1e-6, 3e-20])
points = st.lists(st.tuples(coordinate, coordinate, coordinate), min_size=3, max_size=6)


@given(points, st.lists(st.tuples(*[st.integers(0, 2)] * 3), min_size=1, max_size=8))
def test_normals_and_tangents_of_any_triangles_have_length_one(places, faces):
    mesh = mesh_of(places, faces)
    assert off_unit(unit_normals(mesh)) < 1e-6
    corners = torch.arange(3 * len(faces)).view(-1, 3)
    atlas = UvAtlas(mesh.verts[mesh.faces.flatten()][:, :2].clone(), corners, mesh.faces.flatten())
    found = tangents(mesh, atlas)
    assert off_unit(found[:, :3]) < 1e-6
    assert set(found[:, 3].tolist()) <= {-1.0, 1.0}


@pytest.mark.parametrize("scale", [1.0, 1e-3, 1e-6])
def test_tangents_of_small_triangles_are_those_of_large_ones(scale):
    atlas = unwrap(SPHERE, resolution=128)
    small = tangents(Mesh(SPHERE.verts * scale, SPHERE.faces), atlas)
    assert torch.allclose(small, tangents(SPHERE, atlas), atol=1e-4)
