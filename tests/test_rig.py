"""Laws of carrying a template's shapes and joints to a mesh of another topology."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ball_avatar import icosphere
from headartist.export import rig_head, simplified
from headartist.export.glb.animation import DEMONSTRATION, Animation
from headartist.export.rig.features import MouthLine
from headartist.export.rig.rig import Rig
from headartist.export.rig.transfer import smoothed
from headartist.geometry.distance import SignedDistance
from headartist.geometry.mesh import Mesh, rims
from headartist.geometry.seam import let_go, split_along
from headartist.system.errors import HeadArtistError
from remeshed import HAT, MM, TEMPLATE, remeshed, truth

SPHERE = icosphere(3)
NAMES = TEMPLATE.expression_names


@pytest.fixture(scope="module")
def closed() -> Rig:
    return rig_head(remeshed(40), TEMPLATE, mouth=False)


@pytest.fixture(scope="module")
def opened() -> Rig:
    return rig_head(remeshed(40), TEMPLATE, eyes=True)


@pytest.fixture(scope="module")
def hatted() -> Rig:
    return rig_head(remeshed(40, hat=True), TEMPLATE, mouth=False)


def shape(rig: Rig, name: str) -> torch.Tensor:
    return rig.shapes[NAMES.index(name)]


def surface_verts(rig: Rig) -> torch.Tensor:
    return rig.mesh.faces[rig.part == 0].unique()


# --- cutting -------------------------------------------------------------------------------------------------------


def equator(points: torch.Tensor) -> torch.Tensor:
    return (points[:, 0].abs() < 0.5) & (points[:, 2] > 0)


HEIGHT = SPHERE.verts[:, 1] + 0.1 * SPHERE.verts[:, 0] + 0.01
SPLIT = split_along(SPHERE, HEIGHT, equator, torch.ones(len(SPHERE.verts), dtype=torch.bool))


def test_splitting_leaves_the_surface_where_it_is():
    assert torch.equal(SPLIT.mesh.verts[: len(SPHERE.verts)], SPHERE.verts)
    assert len(SPLIT.mesh.boundary_sides) == 0
    before, after = (mesh.area_normals.norm(dim=-1).sum() for mesh in (SPHERE, SPLIT.mesh))
    assert abs(float(after - before)) < 1e-4
    assert torch.allclose(SPLIT.mesh.area_normals.sum(dim=0), torch.zeros(3), atol=1e-5)


def test_new_vertices_carry_what_the_line_is_made_of():
    assert SPLIT.carried(HEIGHT[:, None])[len(SPHERE.verts) :].abs().max() < 1e-6
    assert torch.allclose(SPLIT.carried(SPHERE.verts), SPLIT.mesh.verts, atol=1e-6)


def test_no_triangle_lies_on_both_sides_of_the_line():
    inside = equator(SPLIT.mesh.verts[SPLIT.mesh.faces].reshape(-1, 3)).reshape(-1, 3).all(dim=1)
    sides = SPLIT.side[SPLIT.mesh.faces[inside]]
    assert not ((sides.amin(dim=1) < 0) & (sides.amax(dim=1) > 0)).any()


def test_letting_go_opens_one_slit_that_is_shut_at_its_ends():
    gaping = let_go(SPLIT)
    start, _, hole = rims(gaping.mesh)
    assert set(hole.tolist()) == {0}
    copies = len(gaping.mesh.verts) - len(SPLIT.mesh.verts)
    assert copies > 5
    assert len(start) == 2 * copies + 2  # along one side and back along the other, the two ends once each
    assert torch.equal(gaping.mesh.verts[gaping.mesh.faces], SPLIT.mesh.verts[SPLIT.mesh.faces])


# --- smoothing -----------------------------------------------------------------------------------------------------


def test_a_constant_is_smooth_already():
    ones = torch.ones(len(SPHERE.verts))
    assert (smoothed(SPHERE, ones[:, None], 0.3 * ones, 0 * ones) - 1).abs().max() < 1e-4


def test_what_is_held_without_trust_rests():
    ones = torch.ones(len(SPHERE.verts))
    assert smoothed(SPHERE, ones[:, None], 0 * ones, ones).abs().max() < 1e-6


def test_what_is_neither_trusted_nor_held_lies_between_its_neighbours():
    trust = (SPHERE.verts[:, 1].abs() > 0.5).float()
    found = smoothed(SPHERE, SPHERE.verts[:, 1:2].sign(), trust, 0 * trust)[:, 0]
    assert found.abs().max() <= 1 + 1e-5
    middle = SPHERE.verts[:, 1].abs() < 0.05
    assert found[middle].abs().max() < 0.2


# --- the 52 shapes -------------------------------------------------------------------------------------------------


def test_shapes_come_over_to_half_a_millimetre(closed):
    error_mm = (closed.shapes - truth(closed.mesh)).norm(dim=-1) * MM
    assert error_mm.mean(dim=1).max() < 0.5  # every shape, over the whole head
    assert error_mm.mean() < 0.1


def test_shapes_come_over_where_they_move_something(closed):
    known = truth(closed.mesh)
    moving = known.norm(dim=-1) * MM > 1
    lost = (closed.shapes - known).norm(dim=-1)[moving].mean() / known.norm(dim=-1)[moving].mean()
    assert lost < 0.25


def test_a_closed_head_stays_closed_and_where_it_was(closed):
    assert torch.equal(closed.mesh.verts, remeshed(40).verts)
    assert torch.equal(closed.mesh.faces, remeshed(40).faces)


def test_no_shape_tears_a_closed_head(closed):
    """Neighbours part by about as much as a shape moves anything at most: opening lips do, brows and cheeks do not."""
    low, high = closed.mesh.edges.unbind(1)
    jump_mm = (closed.shapes[:, low] - closed.shapes[:, high]).norm(dim=-1).amax(dim=1) * MM
    assert (jump_mm <= 1.5 * TEMPLATE.expression_basis.norm(dim=-1).amax(dim=1) * MM).all()
    assert jump_mm[[k for k, name in enumerate(NAMES) if name.startswith(("brow", "cheek", "nose"))]].max() < 8


def test_shapes_without_anything_to_move_move_nothing(closed):
    assert shape(closed, "tongueOut").abs().max() * MM < 0.01


def test_a_hat_stays_on(hatted):
    far = (TEMPLATE.verts[None, :, 1].amax() - hatted.mesh.verts[:, 1]) < -0.5 * HAT
    assert far.sum() > 50
    assert hatted.shapes[:, far].norm(dim=-1).max() * MM < 0.3
    assert (hatted.skin_weights[far, TEMPLATE.joint_names.index("head")] > 0.95).all()


def test_a_hat_leaves_the_face_its_shapes(closed, hatted):
    face = hatted.mesh.verts[:, 1] < 0.0
    error_mm = (hatted.shapes - truth(hatted.mesh)).norm(dim=-1)[:, face] * MM
    assert error_mm.mean() < 0.1


# --- lips and lids -------------------------------------------------------------------------------------------------


def test_lips_part_where_they_met(opened):
    """At rest the two lips lie on each other; the jaw takes one of them along."""
    line = MouthLine(MouthLine.of(TEMPLATE).points)
    verts = opened.mesh.verts[surface_verts(opened)]
    moved = shape(opened, "jawOpen")[surface_verts(opened)]
    near = line.near(verts, 0.04) & (verts[:, 0].abs() < 0.03)
    pairs = torch.cdist(verts[near], verts[near]) < 1e-7
    twins = pairs.triu(1).nonzero()
    assert len(twins) >= 2
    apart_mm = (moved[near][twins[:, 0]] - moved[near][twins[:, 1]]).norm(dim=-1) * MM
    assert apart_mm.min() > 20


def test_mouth_teeth_tongue_and_eyes_are_set_in_and_nothing_else(opened, closed):
    assert opened.part_names == ("surface", "lips", "mouth", "teeth", "tongue", "lids", "eyes")
    assert closed.part_names == ("surface",)
    for name in ("teeth", "tongue", "eyes"):
        assert (opened.part == opened.part_names.index(name)).sum() == len(TEMPLATE.faces_of(name))


def test_lips_and_lids_are_hemmed_all_round(opened):
    """Every edge of the cut surface has its strip, and at rest strips hide behind the skin."""
    surface = Mesh(opened.mesh.verts, opened.mesh.faces[opened.part == 0])
    rim_strip = opened.mesh.faces[
        torch.isin(opened.part, torch.tensor([opened.part_names.index(n) for n in ("lips", "lids")]))
    ]
    bare, sewn = (
        {tuple(sorted(map(tuple, side))) for side in opened.mesh.verts[sides].tolist()}
        for sides in (surface.boundary_sides, Mesh(opened.mesh.verts, rim_strip).boundary_sides)
    )
    assert len(bare) > 30
    assert bare <= sewn
    distance = SignedDistance(remeshed(40))(opened.mesh.verts[rim_strip].mean(dim=1))
    assert (distance < 0).float().mean() > 0.95


def test_a_hem_leaves_the_look_of_the_surface(opened):
    edge = Mesh(opened.mesh.verts, opened.mesh.faces[opened.part == 0])
    seen = edge.faces.unique()
    assert torch.equal(opened.mesh.vertex_normals()[seen], edge.vertex_normals()[seen])


def test_a_hem_moves_with_its_edge(opened):
    lips = opened.mesh.faces[opened.part == opened.part_names.index("lips")]
    stretch = (opened.shapes[:, lips] - opened.shapes[:, lips.roll(1, dims=1)]).norm(dim=-1)
    along_or_across = stretch.amin(dim=2)  # every triangle has a side that joins the edge to its own strip
    assert along_or_across.max() < 1e-6


def test_lids_close_over_the_eyes(opened):
    surface = Mesh(opened.mesh.verts, opened.mesh.faces[opened.part == 0])
    moved = surface.verts + shape(opened, "eyeBlinkLeft")
    left = opened.lids[0]
    rim = surface.boundary_sides.unique()
    rim = rim[left.near(surface.verts[rim]) & (left.height(surface.verts[rim]).abs() < 0.02)]
    center = left.points[:, 0].mean()
    middle = rim[(surface.verts[rim, 0] - center).abs() < 0.03]

    def gap_mm(verts: torch.Tensor) -> float:
        return float(verts[middle, 1].amax() - verts[middle, 1].amin()) * MM

    assert gap_mm(surface.verts) > 6
    assert gap_mm(moved) < 0.4 * gap_mm(surface.verts)


def test_the_other_eye_does_not_blink(opened):
    right = opened.lids[1]
    on_right = right.near(opened.mesh.verts)
    assert shape(opened, "eyeBlinkLeft")[on_right].norm(dim=-1).max() * MM < 0.2


# --- joints --------------------------------------------------------------------------------------------------------


def test_shares_of_the_joints_are_shares(opened):
    assert opened.skin_weights.min() >= 0
    assert (opened.skin_weights.sum(dim=1) - 1).abs().max() < 1e-5


def test_the_crown_follows_the_head_and_the_chin_the_jaw(closed):
    crown, chin = (int(closed.mesh.verts[:, 1].argmax()), int((closed.mesh.verts - CHIN).norm(dim=-1).argmin()))
    assert closed.skin_weights[crown, TEMPLATE.joint_names.index("head")] > 0.95
    assert closed.skin_weights[chin, TEMPLATE.joint_names.index("jaw")] > 0.6


CHIN = TEMPLATE.site_positions()[175]


def test_a_template_without_a_jaw_is_refused():
    stiff = replace(TEMPLATE, joint_names=tuple(name.replace("jaw", "chin") for name in TEMPLATE.joint_names))
    with pytest.raises(HeadArtistError, match="'jaw'"):
        rig_head(remeshed(40), stiff)


# --- the demonstration ---------------------------------------------------------------------------------------------


def test_the_demonstration_takes_three_seconds_and_ends_as_it_began():
    assert DEMONSTRATION.times()[[0, -1]].tolist() == [0, 3]
    weights = DEMONSTRATION.shape_weights(NAMES)
    assert np.abs(weights[[0, -1]]).max() < 1e-9
    assert weights.min() >= 0
    assert weights.max() == pytest.approx(1)
    moving = {name for name, column in zip(NAMES, weights.T, strict=True) if column.any()}
    assert moving == {"eyeBlinkLeft", "eyeBlinkRight", "mouthSmileLeft", "mouthSmileRight", "jawOpen"}
    for joint in DEMONSTRATION.turns:
        assert np.allclose(DEMONSTRATION.rotations(joint)[[0, -1]], [0, 0, 0, 1])
        assert np.allclose(np.linalg.norm(DEMONSTRATION.rotations(joint), axis=1), 1)


@pytest.mark.parametrize(
    ("left", "up", "seen"), [(90.0, 0.0, (1, 0, 0)), (0.0, 90.0, (0, 1, 0)), (90.0, 45.0, (0.5**0.5, 0.5**0.5, 0))]
)
def test_a_turn_leads_the_gaze_to_the_left_and_up(left, up, seen):
    x, y, z, w = Animation("a", 1.0, turns={"neck": ((0.0, left, up),)}).rotations("neck")[0]
    axis, gaze = np.array([x, y, z]), np.array([0.0, 0.0, 1.0])
    turned = gaze + 2 * np.cross(axis, np.cross(axis, gaze) + w * gaze)
    assert np.allclose(turned, seen)


# --- fewer triangles -----------------------------------------------------------------------------------------------


def test_simplifying_keeps_a_sphere_a_closed_sphere():
    fewer = simplified(icosphere(5), 2000)
    assert len(fewer.faces) <= 2000
    assert len(fewer.boundary_sides) == 0
    assert (fewer.verts.norm(dim=-1) - 1).abs().max() < 0.01


def test_a_mesh_with_few_triangles_is_left_alone():
    assert simplified(SPHERE, 5000) is SPHERE
