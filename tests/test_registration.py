"""Laws of laying one mesh onto another."""

import math

import pytest
import torch

from ball_avatar import icosphere
from headartist.geometry.closest import ClosestPoint
from headartist.geometry.mesh import Mesh
from headartist.geometry.registration import Pins, RegistrationConfig, laplacian, register, similarity
from headartist.heads import load_template
from headartist.system.errors import HeadArtistError

SPHERE = icosphere(3)
BUMPY = icosphere(4, bumps=0.05)
TEMPLATE = load_template()
SKIN = TEMPLATE.mesh("skin")
ON_SKIN = SKIN.faces.unique()


def turned(degrees: float) -> torch.Tensor:
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return torch.tensor([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def every_vertex(mesh: Mesh, positions: torch.Tensor) -> Pins:
    """A pin at the first corner of every 40th triangle, which belongs where `positions` has that vertex."""
    triangles = torch.arange(0, len(mesh.faces), 40)
    barycentric = torch.tensor([1.0, 0.0, 0.0]).expand(len(triangles), 3)
    return Pins(triangles, barycentric, positions[mesh.faces[triangles, 0]])


def gap_to(target: Mesh, points: torch.Tensor) -> torch.Tensor:
    return (ClosestPoint(target)(points).of(target.verts, target.faces) - points).norm(dim=-1)


# --- closest points ------------------------------------------------------------------------------------------------


def test_the_closest_point_is_no_further_than_any_sample_of_the_surface():
    generator = torch.Generator().manual_seed(0)
    points = 2 * torch.rand(200, 3, generator=generator) - 1
    weights = torch.rand(20, 3, generator=generator)
    weights = weights / weights.sum(dim=1, keepdim=True)
    samples = torch.einsum("sk,fkc->fsc", weights, BUMPY.verts[BUMPY.faces]).reshape(-1, 3)
    nearest_sample = torch.cdist(points, samples).amin(dim=1)
    found = ClosestPoint(BUMPY)(points)
    distance = (found.of(BUMPY.verts, BUMPY.faces) - points).norm(dim=-1)
    assert (found.barycentric.sum(dim=1) - 1).abs().max() < 1e-5
    assert found.barycentric.min() > -1e-5
    assert (distance <= nearest_sample + 1e-6).all()
    assert (distance > nearest_sample - 0.05).all()


def test_a_point_of_the_surface_is_its_own_closest_point():
    centers = BUMPY.verts[BUMPY.faces].mean(dim=1)
    found = ClosestPoint(BUMPY)(centers)
    assert torch.equal(found.face, torch.arange(len(BUMPY.faces)))
    assert (found.barycentric - 1 / 3).abs().max() < 1e-3


# --- similarity ----------------------------------------------------------------------------------------------------


def test_a_similarity_is_found_again():
    points = torch.randn(20, 3, generator=torch.Generator().manual_seed(0))
    shift = torch.tensor([0.3, -0.2, 0.1])
    a, b = similarity(points, points @ (1.7 * turned(70)).T + shift)
    assert (a - 1.7 * turned(70)).abs().max() < 1e-5
    assert (b - shift).abs().max() < 1e-5


def test_a_mirror_image_is_met_by_a_rotation_all_the_same():
    points = torch.randn(20, 3, generator=torch.Generator().manual_seed(0))
    a, _ = similarity(points, points * torch.tensor([-1.0, 1.0, 1.0]))
    assert torch.det(a) > 0


def test_a_point_without_weight_does_not_count():
    points = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
    goals, weights = points.clone(), torch.ones(8)
    goals[0], weights[0] = 9.0, 0.0
    a, b = similarity(points, goals, weights)
    assert (a - torch.eye(3)).abs().max() < 1e-5
    assert b.abs().max() < 1e-5


# --- registration --------------------------------------------------------------------------------------------------


def test_the_laplacian_of_a_constant_is_nothing():
    matrix = laplacian(SPHERE.faces, len(SPHERE.verts) + 1)  # one vertex of no triangle
    assert abs(matrix.sum(axis=1)).max() < 1e-12


def test_a_mesh_lies_on_itself_already():
    found = register(SPHERE, SPHERE)
    assert (found.verts - SPHERE.verts).abs().max() < 1e-6
    assert found.trust.min() > 0.999


def test_a_sphere_takes_the_form_of_a_bumpy_one():
    found = register(SPHERE, BUMPY)
    before, after = gap_to(BUMPY, SPHERE.verts), gap_to(BUMPY, found.verts)
    assert before.mean() > 0.02
    assert after.mean() < 0.1 * before.mean()


def test_the_template_finds_another_identity_to_a_fifth_of_a_millimetre():
    identity = torch.randn(len(TEMPLATE.shape_basis), generator=torch.Generator().manual_seed(1))
    other = TEMPLATE.shaped(0.7 * identity).mesh("skin")
    found = register(SKIN, other, config=RegistrationConfig(steps=2))
    gap_mm = gap_to(other, found.verts[ON_SKIN]) * TEMPLATE.meters_per_unit * 1e3
    assert gap_mm.mean() < 0.2


def test_the_same_question_has_the_same_answer():
    assert torch.equal(register(SPHERE, BUMPY).verts, register(SPHERE, BUMPY).verts)


def test_pins_bring_a_turned_and_scaled_mesh_home():
    found = register(
        Mesh(0.4 * BUMPY.verts @ turned(100).T + 3.0, BUMPY.faces),
        BUMPY,
        pins=every_vertex(BUMPY, BUMPY.verts),
        config=RegistrationConfig(align=True),
    )
    assert (found.verts - BUMPY.verts).norm(dim=-1).max() < 1e-4


def test_pins_say_what_slides_where():
    """A sphere on a sphere fits in any turn; pins choose one."""
    goal = SPHERE.verts @ turned(10).T
    free = register(SPHERE, SPHERE)
    pinned = register(SPHERE, SPHERE, pins=every_vertex(SPHERE, goal))
    assert (free.verts - goal).norm(dim=-1).mean() > 0.1
    assert (pinned.verts - goal).norm(dim=-1).mean() < 0.03


def test_what_stands_on_a_head_does_not_pull_it_out():
    """A shell beyond the outer reach over the upper half, as hair is, and the lower half a little smaller."""
    target = Mesh(torch.where(SPHERE.verts[:, 1:2] > 0, 1.15, 0.97) * SPHERE.verts, SPHERE.faces)
    config = RegistrationConfig(reach_outside=0.08)
    found = register(SPHERE, target, config=config)
    crown = SPHERE.verts[:, 1] > 0.5
    chin = SPHERE.verts[:, 1] < -0.5
    assert (found.verts[crown].norm(dim=-1) < 1.01).all()
    assert found.trust[crown].max() == 0
    assert (found.verts[chin].norm(dim=-1) - 0.97).abs().max() < 0.01


def test_vertices_that_do_not_seek_follow_the_others():
    seeks = SPHERE.verts[:, 1] < 0.9
    target = Mesh(SPHERE.verts + torch.tensor([0.05, 0.0, 0.0]), SPHERE.faces)
    found = register(SPHERE, target, seeks=seeks, pins=every_vertex(SPHERE, target.verts))
    assert (found.trust[~seeks] == 0).all()
    assert (found.verts - target.verts).norm(dim=-1)[~seeks].max() < 0.01


def test_nothing_is_drawn_to_the_rim_of_a_hole():
    """Half a sphere is missing: what has no counterpart keeps its roundness instead of gathering at the rim."""
    half = Mesh(SPHERE.verts, SPHERE.faces[(SPHERE.verts[SPHERE.faces][..., 1] <= 0.01).all(dim=1)])
    found = register(SPHERE, half, config=RegistrationConfig(reach=3.0, reach_outside=3.0, least_cosine=-1.0))
    assert (found.verts - SPHERE.verts).norm(dim=-1).max() < 0.05


def test_a_target_without_triangles_is_refused():
    with pytest.raises(HeadArtistError, match="0 faces"):
        register(SPHERE, Mesh(SPHERE.verts, SPHERE.faces[:0]))


def test_aligning_wants_three_pins():
    with pytest.raises(HeadArtistError, match="at least 3 pins"):
        register(SPHERE, SPHERE, config=RegistrationConfig(align=True))
