"""Laws of the head template and of the shipped open head."""

from importlib.resources import files

import pytest
import torch

from headartist.config.template import DIRECTIONS
from headartist.heads import HeadTemplate, load_template
from headartist.heads.open_head import makehuman_vertex_ids
from headartist.system.errors import HeadArtistError

SIDED = (
    *("browDown", "browOuterUp", "cheekSquint", "eyeBlink", "eyeLookDown", "eyeLookIn", "eyeLookOut", "eyeLookUp"),
    *("eyeSquint", "eyeWide", "jaw", "mouth", "mouthDimple", "mouthFrown", "mouthLowerDown", "mouthPress"),
    *("mouthSmile", "mouthStretch", "mouthUpperUp", "noseSneer"),
)
WHOLE = (
    *("browInnerUp", "cheekPuff", "jawForward", "jawOpen", "mouthClose", "mouthFunnel", "mouthPucker"),
    *("mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper", "tongueOut"),
)
ARKIT_NAMES = {*WHOLE, *(f"{name}Left" for name in SIDED), *(f"{name}Right" for name in SIDED)}
RIGHT_EYE = [33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246, 468]
LEFT_UPPER_LID, LEFT_LOWER_LID = 386, 374
CHIN, NOSE_TIP, LIPS_UP, LIPS_DOWN = 152, 4, 13, 14
BROWS = [46, 53, 52, 65, 55, 276, 283, 282, 295, 285]
FLIP = torch.tensor([-1.0, 1.0, 1.0])
MILLIMETER = 4.5e-3  # in world units


@pytest.fixture(scope="module")
def head() -> HeadTemplate:
    return load_template("open")


def part_verts(head: HeadTemplate, *names: str) -> torch.Tensor:
    return head.faces_of(*names).unique()


def test_the_shipped_file_stays_small():
    assert (files("headartist.heads") / "open_head.npz").stat().st_size <= 4_000_000


def test_the_head_fits_the_grid_and_looks_to_plus_z(head):
    assert head.verts.abs().max() <= 1.05
    assert head.verts[:, 1].max() == pytest.approx(0.125 * 4.5, abs=1e-6)
    nose, chin = head.site_positions()[[NOSE_TIP, CHIN]]
    assert nose[2] > head.verts[part_verts(head, "skin")][:, 2].max() - MILLIMETER
    assert nose[0].abs() < 0.1 * MILLIMETER
    assert chin[1] < nose[1]


def test_lengths_are_those_of_a_head(head):
    right_pupil, left_pupil = head.site_positions()[[468, 473]]
    assert 0.058 < (left_pupil - right_pupil).norm() * head.meters_per_unit < 0.068
    assert left_pupil[0] > 0 > right_pupil[0]


def test_triangles_wind_outward(head):
    # The divergence theorem: the volume that faces enclose is positive when they look outward.
    for part in ("skin", "eyes", "teeth", "tongue"):
        verts = head.verts - head.verts[part_verts(head, part)].mean(dim=0)
        a, b, c = verts[head.faces_of(part)].unbind(dim=1)
        assert (a * torch.linalg.cross(b, c)).sum() > 0, part


def test_indices_and_texture_coordinates_are_in_range(head):
    assert head.faces.unique().tolist() == list(range(len(head.verts)))
    assert head.uv_faces.unique().tolist() == list(range(len(head.uv)))
    assert head.uv.min() >= 0
    assert head.uv.max() <= 1
    assert head.part.unique().tolist() == list(range(len(head.part_names)))


def test_parts_share_no_vertex_and_cover_the_head(head):
    counts = torch.zeros(len(head.verts), dtype=torch.int64)
    for part in head.part_names:
        counts[part_verts(head, part)] += 1
    assert (counts == 1).all()
    assert len(head.mesh().faces) == len(head.faces)


def test_mirror_reflects_the_head_and_undoes_itself(head):
    assert torch.equal(head.mirror[head.mirror], torch.arange(len(head.verts)))
    assert (head.verts[head.mirror] - head.verts * FLIP).norm(dim=1).max() < 0.1 * MILLIMETER


def test_face_sites_lie_on_skin_and_irises_on_eyes(head):
    sites = head.landmark_sites
    part = [head.part_names[index] for index in head.part[sites.triangles].tolist()]
    assert part == ["skin"] * 468 + ["eyes"] * 10
    assert sites.barycentric.min() >= 0
    torch.testing.assert_close(sites.barycentric.sum(dim=1), torch.ones(478))


def test_a_site_is_the_weighted_mean_of_its_triangles_corners(head):
    triangle, weights = head.landmark_sites.triangles[NOSE_TIP], head.landmark_sites.barycentric[NOSE_TIP]
    by_hand = sum(weight * head.verts[vert] for vert, weight in zip(head.faces[triangle], weights, strict=True))
    torch.testing.assert_close(head.site_positions()[NOSE_TIP], by_hand)


def test_site_positions_carry_gradient_to_the_vertices(head):
    verts = head.verts.clone().requires_grad_()
    head.with_verts(verts).site_positions().sum().backward()
    assert verts.grad.sum() == pytest.approx(3 * 478, rel=1e-5)


def test_expressions_are_arkits(head):
    assert len(head.expression_names) == 52
    assert set(head.expression_names) == ARKIT_NAMES


def test_shaping_is_linear_and_nothing_is_the_identity(head):
    one = torch.randn(100, generator=torch.Generator().manual_seed(0))
    other = torch.randn(100, generator=torch.Generator().manual_seed(1))
    at_once = head.shaped(one + other, {"jawOpen": 0.5, "cheekPuff": 1.0})
    in_turn = head.shaped(one, {"jawOpen": 0.25}).shaped(other, {"jawOpen": 0.25, "cheekPuff": 1.0})
    torch.testing.assert_close(at_once.verts, in_turn.verts, atol=1e-5, rtol=0)
    torch.testing.assert_close(at_once.joints, in_turn.joints, atol=1e-5, rtol=0)
    assert torch.equal(head.shaped(torch.zeros(100), {"jawOpen": 0.0}).verts, head.verts)
    assert torch.equal(head.shaped().verts, head.verts)


def test_fewer_coefficients_mean_the_first_directions(head):
    few = torch.tensor([1.5, -0.5])
    full = torch.cat([few, torch.zeros(98)])
    torch.testing.assert_close(head.shaped(few).verts, head.shaped(full).verts)


def test_shape_directions_fall_in_size_and_are_orthogonal(head):
    directions = head.shape_basis.flatten(1).double()
    gram = directions @ directions.T
    sizes = gram.diagonal().sqrt()
    assert (sizes.diff() <= 0).all()
    cosines = gram / sizes[:, None] / sizes
    assert (cosines - torch.eye(100)).abs().max() < 1e-3


@pytest.mark.parametrize("seed", range(4))
def test_random_identities_are_symmetric_heads_with_joints_inside(head, seed):
    identity = torch.randn(100, generator=torch.Generator().manual_seed(seed))
    person = head.shaped(identity)
    assert (person.verts[head.mirror] - person.verts * FLIP).norm(dim=1).max() < 0.5 * MILLIMETER
    for eye, side in (("eye_left", 1), ("eye_right", -1)):
        eyeball = part_verts(head, "eyes")
        eyeball = eyeball[head.verts[eyeball, 0] * side > 0]
        joint = person.joints[head.joint_names.index(eye)]
        middle = (person.verts[eyeball].amin(dim=0) + person.verts[eyeball].amax(dim=0)) / 2
        assert (joint - middle).norm() < 3 * MILLIMETER


def test_left_and_right_expressions_mirror_each_other(head):
    def displacement(name: str) -> torch.Tensor:
        return head.expression_basis[head.expression_names.index(name)]

    for name in SIDED:
        left, right = displacement(f"{name}Left"), displacement(f"{name}Right")
        assert (left[head.mirror] - right * FLIP).norm(dim=1).max() < 0.1 * left.norm(dim=1).max(), name


def test_jaw_open_moves_the_chin_down_and_leaves_the_brows(head):
    moved = head.shaped(expression={"jawOpen": 1.0}).site_positions() - head.site_positions()
    assert moved[CHIN, 1] < -10 * MILLIMETER
    assert moved[LIPS_DOWN, 1] < moved[LIPS_UP, 1] - 10 * MILLIMETER
    assert moved[BROWS].norm(dim=1).max() < 0.1 * MILLIMETER


def test_a_blink_narrows_the_left_eye_and_leaves_the_right(head):
    closed = head.shaped(expression={"eyeBlinkLeft": 1.0}).site_positions()
    opened = head.site_positions()
    gap = (closed[LEFT_UPPER_LID] - closed[LEFT_LOWER_LID]).norm()
    assert gap < 0.5 * (opened[LEFT_UPPER_LID] - opened[LEFT_LOWER_LID]).norm()
    assert (closed - opened)[RIGHT_EYE].norm(dim=1).max() < 0.1 * MILLIMETER


def test_expressions_move_no_joint(head):
    assert torch.equal(head.shaped(expression={"jawOpen": 1.0}).joints, head.joints)


def test_skin_weights_are_shares_and_the_rig_is_a_tree(head):
    assert head.skin_weights.min() >= 0
    torch.testing.assert_close(head.skin_weights.sum(dim=1), torch.ones(len(head.verts)))
    assert head.joint_parents[0] == -1
    assert all(0 <= parent < child for child, parent in enumerate(head.joint_parents) if child > 0)


def test_joints_drive_what_they_are_named_for(head):
    weight = dict(zip(head.joint_names, head.skin_weights.T, strict=True))
    eyes = part_verts(head, "eyes")
    left_eye, right_eye = eyes[head.verts[eyes, 0] > 0], eyes[head.verts[eyes, 0] < 0]
    assert weight["eye_left"][left_eye].min() > 0.95
    assert weight["eye_right"][right_eye].min() > 0.95
    assert weight["jaw"][part_verts(head, "tongue")].mean() > 0.95
    assert weight["head"][head.verts[:, 1].argmax()] > 0.99
    chin, forehead = head.landmark_sites.triangles[[CHIN, 10]]
    assert weight["jaw"][head.faces[chin]].min() > 0.5
    assert weight["jaw"][head.faces[forehead]].max() == 0


def test_base_mesh_numbers_are_unique_where_the_cut_kept_a_vertex(head):
    numbers = makehuman_vertex_ids()
    kept = numbers[numbers >= 0]
    assert len(numbers) == len(head.verts)
    assert len(kept.unique()) == len(kept)
    # What the cut made is the rim of the bust: skin, at the bottom.
    assert head.verts[numbers < 0, 1].max() < -0.5


def test_an_unknown_expression_is_answered_with_the_nearest_name(head):
    with pytest.raises(HeadArtistError, match=r"no expression 'jawopen': did you mean 'jawOpen'\?"):
        head.shaped(expression={"jawopen": 1.0})
    with pytest.raises(HeadArtistError, match="choose among browDownLeft"):
        head.shaped(expression={"xyz": 1.0})


def test_too_many_coefficients_are_refused(head):
    with pytest.raises(HeadArtistError, match="101 coefficients, but template 'open' has only 100"):
        head.shaped(torch.zeros(101))


@pytest.mark.parametrize("source", ["opne", "flame.pkl"])
def test_a_template_that_is_not_there_is_not_loaded(source):
    with pytest.raises(HeadArtistError, match=f"Template '{source}' is (of no known kind|not there)"):
        load_template(source)


def test_an_identity_and_an_expression_are_taken_as_typed(head):
    asked = load_template(identity="seed:7,3=-2", expression="jawOpen=0.6")
    coefficients = torch.randn(100, generator=torch.Generator().manual_seed(7))
    coefficients[3] = -2
    expected = head.shaped(coefficients, {"jawOpen": 0.6})
    assert torch.equal(asked.verts, expected.verts)
    assert torch.equal(asked.joints, expected.joints)
    single = load_template(identity="3=-2")
    torch.testing.assert_close(single.verts, head.verts - 2 * head.shape_basis[3])


NOSE_BASE, BRIDGE, CHEEKS = 2, 168, (234, 454)


def measured(identity: str) -> dict[str, float]:
    """Sizes of a person of the open head, and the share of the average person's that they are."""
    lengths = {}
    for name in ("", identity):
        head = load_template("open", identity=name)
        sites, skin = head.site_positions(), head.verts[part_verts(head, "skin")]
        chin, base, bridge = sites[[CHIN, NOSE_BASE, BRIDGE], 1]
        throat = skin[(skin[:, 1] - chin + 0.12).abs() < 0.06]
        throat = throat[throat[:, 0].abs() < 0.6]
        found = {
            "height": skin[:, 1].max() - chin,
            "width": (sites[CHEEKS[0]] - sites[CHEEKS[1]]).norm(),
            "neck": throat[:, 0].amax() - throat[:, 0].amin(),
            "skull": skin[:, 1].max() - bridge,
            "nose": bridge - base,
            "chin": base - chin,
        }
        lengths = {key: float(length) / lengths.get(key, 1.0) for key, length in found.items()}
    return lengths


@pytest.mark.parametrize("sign", [1, -1])
def test_a_named_direction_does_what_its_name_says(sign: int):
    """Two standard deviations change what the word says, by a share far above what it does not say."""
    change = {
        name: {key: sign * (value - 1) for key, value in measured(f"{name}={2 * sign}").items()} for name in DIRECTIONS
    }
    assert min(change["size"][key] for key in ("height", "width", "skull", "nose", "chin")) > 0.07
    assert change["heavy"]["width"] > 0.07
    assert change["heavy"]["neck"] > 0.2
    assert change["wide"]["width"] > 0.07 > 0 > change["wide"]["height"]
    assert change["crown"]["skull"] > 0.1
    assert change["chin"]["chin"] > 0.08
    for name, own in (("crown", "skull"), ("chin", "chin")):
        others = [abs(change[name][key]) for key in ("width", "nose", "skull", "chin") if key != own]
        assert max(others) < 0.7 * change[name][own]
