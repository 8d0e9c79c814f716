"""Laws of mending a mesh: whatever was done to a good one is undone, and a good one stays as it is."""

import time

import numpy as np
import pytest
import torch
import trimesh

from headartist.geometry.mesh import Mesh, open_share
from headartist.heads import load_template
from headartist.heads.mesh_repair import WELD, Repair, repair, welded


def ball(radius: float = 1.0, middle: tuple[float, float, float] = (0.0, 0.0, 0.0), level: int = 3) -> Mesh:
    mesh = trimesh.creation.icosphere(level, radius=radius)
    mesh.apply_translation(middle)
    return Mesh(torch.from_numpy(np.array(mesh.vertices)).double(), torch.from_numpy(np.array(mesh.faces)).long())


def together(*meshes: Mesh) -> Mesh:
    below = np.cumsum([0, *(len(mesh.verts) for mesh in meshes)])
    faces = [mesh.faces + int(begin) for mesh, begin in zip(meshes, below, strict=False)]
    return Mesh(torch.cat([mesh.verts for mesh in meshes]), torch.cat(faces))


def mended(mesh: Mesh) -> Repair:
    return repair(mesh.verts, welded(mesh.verts, mesh.faces)[mesh.faces])


def turned(mesh: Mesh, which: torch.Tensor) -> Mesh:
    return Mesh(mesh.verts, torch.where(which[:, None], mesh.faces[:, [0, 2, 1]], mesh.faces))


def some(count: int, share: float = 0.5) -> torch.Tensor:
    return torch.rand(count, generator=torch.Generator().manual_seed(0)) < share


def volume(mesh: Mesh) -> float:
    a, b, c = (mesh.verts[mesh.faces[:, k]] for k in range(3))
    return float((a * torch.linalg.cross(b, c)).sum() / 6)


# --- welding -------------------------------------------------------------------------------------------------------


def soup(mesh: Mesh, apart: float) -> Mesh:
    """Every triangle with corners of its own, each somewhere within `apart` of where it was."""
    verts = mesh.verts[mesh.faces].reshape(-1, 3)
    noise = torch.rand(verts.shape, generator=torch.Generator().manual_seed(1), dtype=verts.dtype) * 2 - 1
    return Mesh(verts + apart * noise, torch.arange(len(verts)).reshape(-1, 3))


@pytest.mark.parametrize("apart", [0.0, 1e-5])
@pytest.mark.parametrize("scale", [1.0, 1e-3, 250.0])
def test_corners_that_lie_together_become_one(apart, scale):
    whole = ball()
    size = scale * 2 * 3**0.5
    loose = soup(Mesh(scale * whole.verts, whole.faces), apart * size)
    numbers = welded(loose.verts, loose.faces)
    assert len(numbers.unique()) == len(whole.verts)
    assert len(Mesh(loose.verts, numbers[loose.faces]).boundary_sides) == 0


def test_lips_and_lids_that_only_touch_stay_apart():
    """Corners within a surface are never made one, however close; nor are rims farther apart than the files' errors."""
    closed = load_template("open", expression="eyeBlinkLeft=1,eyeBlinkRight=1,mouthClose=0.2").mesh("skin")
    verts = closed.verts.double()
    used = closed.faces.unique()
    assert torch.equal(welded(verts, closed.faces)[used], used)
    plate = Mesh(torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]]).double(), torch.tensor([[0, 1, 2]]))
    other = Mesh(plate.verts + torch.tensor([0, 0, 4 * WELD * 1.5]), plate.faces)
    both = together(plate, other)
    assert len(welded(both.verts, both.faces).unique()) == 6


def test_a_rim_of_very_short_sides_stays_a_rim():
    angle = torch.linspace(0, 2 * torch.pi, 97_001)[:-1].double()
    verts = torch.stack([angle.cos(), angle.sin(), torch.zeros_like(angle)], dim=1)
    corner = torch.arange(1, 96_999)
    faces = torch.stack([torch.zeros_like(corner), corner, corner + 1], dim=1)
    assert len(welded(verts, faces).unique()) == len(verts)


def test_very_many_corners_in_one_place_take_a_moment():
    verts = torch.rand(60_000, 3, generator=torch.Generator().manual_seed(0)).double() * 1e-9
    verts[:3] = torch.eye(3)
    began = time.process_time()
    assert len(welded(verts, torch.arange(60_000).reshape(-1, 3))) == 60_000
    assert time.process_time() - began < 10


# --- winding -------------------------------------------------------------------------------------------------------


def test_a_good_mesh_stays_as_it_is():
    head = load_template("open")
    done = mended(Mesh(head.verts.double(), head.faces_of("skin", "eyes")))
    assert done.kept.all()
    assert not done.turned.any()
    assert done.hidden == 0


@pytest.mark.parametrize("share", [1.0, 0.5, 0.01])
def test_winding_is_put_right(share):
    whole = together(ball(), ball(0.5, (3.0, 0, 0)))
    wrong = turned(whole, some(len(whole.faces), share))
    done = mended(wrong)
    assert torch.equal(done.turned, some(len(whole.faces), share))
    assert volume(done.mesh(wrong.verts)) == pytest.approx(volume(whole))


def test_an_open_bowl_is_turned_outward_too():
    whole = ball()
    bowl = Mesh(whole.verts, whole.faces[(whole.verts[:, 1] > -0.6)[whole.faces].all(dim=1)])
    assert not mended(bowl).turned.any()
    assert mended(turned(bowl, torch.ones(len(bowl.faces), dtype=torch.bool))).turned.all()


def test_a_strip_with_one_side_is_left_as_it_is():
    angle = torch.linspace(0, 2 * torch.pi, 41)[:-1].double()
    along = torch.stack([angle.cos(), torch.zeros_like(angle), angle.sin()], dim=1)
    across = torch.stack([(angle / 2).cos() * angle.cos(), (angle / 2).sin(), (angle / 2).cos() * angle.sin()], dim=1)
    verts = torch.cat([along + 0.3 * across, along - 0.3 * across])
    here = torch.arange(40)
    after, last = (here + 1) % 40, here == 39
    upper, lower = torch.where(last, 40 + after, after), torch.where(last, after, 40 + after)
    faces = torch.cat([torch.stack([here, upper, 40 + here], 1), torch.stack([upper, lower, 40 + here], 1)])
    assert mended(Mesh(verts, faces)).kept.all()


# --- what is left out ----------------------------------------------------------------------------------------------


def test_a_wall_inside_is_left_out():
    outer, inner = ball(), ball(0.9)
    for wall in (inner, turned(inner, torch.ones(len(inner.faces), dtype=torch.bool))):
        done = mended(together(outer, wall))
        assert done.kept.tolist() == [True] * len(outer.faces) + [False] * len(inner.faces)
        assert done.hidden == len(inner.faces)


def test_the_wall_of_a_hollow_print_is_left_out_where_nobody_looks_in():
    """Two bowls that a rim joins, with a small opening below."""
    outer, inner = ball(level=4), ball(0.9, level=4)
    lower = outer.verts[:, 1] > -0.97
    cut = lower[outer.faces].all(dim=1)
    count = len(outer.verts)
    rim = Mesh(outer.verts, outer.faces[cut]).boundary_sides
    start, end = rim.unbind(1)
    joined = torch.cat([torch.stack([end, start, count + start], 1), torch.stack([end, count + start, count + end], 1)])
    faces = torch.cat([outer.faces[cut], inner.faces[cut][:, [0, 2, 1]] + count, joined])
    mesh = Mesh(torch.cat([outer.verts, inner.verts]), faces)
    assert len(mesh.boundary_sides) == 0
    done = mended(mesh)
    outside, inside = done.kept[: int(cut.sum())], done.kept[int(cut.sum()) : 2 * int(cut.sum())]
    assert outside.float().mean() > 0.95
    assert inside.float().mean() < 0.05


def test_degenerate_triangles_twins_and_specks_are_left_out():
    whole, speck = ball(), ball(0.005, (4.0, 4.0, 4.0), level=0)
    flat = torch.tensor([[0, 0, 1], [5, 5, 5]])
    twins = whole.faces[:50][:, [1, 0, 2]]
    mesh = together(whole, speck)
    mesh = Mesh(mesh.verts, torch.cat([mesh.faces, flat, twins]))
    assert mended(mesh).kept.tolist() == [True] * len(whole.faces) + [False] * (len(speck.faces) + 2 + 50)


def test_a_mesh_in_pieces_loses_none():
    whole = ball()
    pieces = Mesh(
        (whole.verts[whole.faces] * (1 + 0.2 * torch.rand(len(whole.faces), 1, 1).double())).reshape(-1, 3),
        torch.arange(3 * len(whole.faces)).reshape(-1, 3),
    )
    assert mended(pieces).kept.all()


def test_holes_are_measured_but_the_one_a_bust_stands_on():
    whole = ball()
    height = whole.verts[whole.faces].mean(dim=1)
    bust = Mesh(whole.verts, whole.faces[height[:, 1] > -0.7])
    mask = Mesh(whole.verts, whole.faces[height[:, 2] > 0])
    assert open_share(whole) == open_share(bust) == 0
    assert open_share(mask) == pytest.approx(0.5, abs=0.05)  # a disc beside half a ball
