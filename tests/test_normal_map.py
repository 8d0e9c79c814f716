"""Laws of tangents and normal maps."""

import pytest
import torch
from torch.nn.functional import normalize

from ball_avatar import icosphere
from headartist.export import UvAtlas, normal_map, simplified, unwrap
from headartist.export.normal_map import FLAT, tangents
from headartist.export.surface import unit_normals
from headartist.geometry.closest import ClosestPoint
from headartist.geometry.mesh import Mesh
from test_export_atlas import sampled

SIZE = 512
SQUARE = Mesh(torch.tensor([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]]), torch.tensor([[0, 1, 2], [0, 2, 3]]))
UV = torch.tensor([[0.1, 0.1], [0.9, 0.1], [0.9, 0.9], [0.1, 0.9]])


def rippled(subdivisions: int) -> Mesh:
    """A sphere with ripples that few triangles cannot show."""
    sphere = icosphere(subdivisions)
    x, y, z = sphere.verts.unbind(-1)
    ripple = (23 * x).sin() * (21 * y).sin() * (19 * z).cos()
    return Mesh(sphere.verts * (1 + 0.012 * ripple)[:, None], sphere.faces)


FINE = rippled(6)
COARSE = simplified(FINE, 2_000)
ATLAS = unwrap(COARSE, resolution=SIZE)


def read(picture: torch.Tensor, mesh: Mesh, atlas: UvAtlas, count: int = 20_000) -> tuple[torch.Tensor, ...]:
    """At random points: where they lie, their interpolated normals, and the normals that a viewer reads from a map."""
    generator = torch.Generator().manual_seed(0)
    face = torch.randint(len(mesh.faces), (count,), generator=generator)
    weights = torch.rand(count, 3, generator=generator)
    weights = (weights / weights.sum(-1, keepdim=True))[..., None]

    def at(values: torch.Tensor) -> torch.Tensor:
        return (values[atlas.faces[face]] * weights).sum(1)

    tangent = tangents(mesh, atlas)
    n = normalize(at(unit_normals(mesh)[atlas.source]), dim=-1)
    t = normalize(at(tangent[:, :3]), dim=-1)
    b = normalize(torch.linalg.cross(n, t), dim=-1) * tangent[atlas.faces[face, 0], 3:]
    x, y, z = (sampled(picture, at(atlas.uv)) * 2 - 1).unbind(-1)
    shown = normalize(x[:, None] * t + y[:, None] * b + z[:, None] * n, dim=-1)
    return at(mesh.verts[atlas.source]), n, shown


def degrees(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return (a * b).sum(-1).clamp(-1, 1).acos().rad2deg()


def square_atlas(uv: torch.Tensor) -> UvAtlas:
    return UvAtlas(uv, SQUARE.faces, torch.arange(4))


@pytest.mark.parametrize(
    ("uv", "tangent", "sign"),
    [
        (UV, (1, 0, 0), 1),
        (UV.flip(1), (0, 1, 0), -1),
        (1 - UV, (-1, 0, 0), 1),
        (torch.stack([1 - UV[:, 0], UV[:, 1]], 1), (-1, 0, 0), -1),
    ],
    ids=["straight", "transposed", "turned", "mirrored"],
)
def test_a_tangent_points_along_u_and_its_bitangent_along_v(uv, tangent, sign):
    found = tangents(SQUARE, square_atlas(uv))
    assert torch.allclose(found, torch.tensor([[*tangent, sign]]).float().expand(4, 4), atol=1e-6)


def test_tangents_are_units_at_right_angles_to_normals():
    found, normal = tangents(COARSE, ATLAS), unit_normals(COARSE)[ATLAS.source]
    assert (found[:, :3].norm(dim=-1) - 1).abs().max() < 1e-5
    assert (found[:, :3] * normal).sum(-1).abs().max() < 1e-5
    assert (found[:, 3].abs() == 1).all()


def test_tangents_of_a_triangle_without_room_in_the_atlas_are_finite():
    found = tangents(SQUARE, square_atlas(torch.full((4, 2), 0.5)))
    assert (found[:, :3].norm(dim=-1) - 1).abs().max() < 1e-5


def test_a_surface_has_no_relief_over_itself():
    picture = normal_map(COARSE, COARSE, ATLAS, 128)
    assert (picture - torch.tensor(FLAT)[:, None, None]).abs().max() < 2e-3


def test_a_slope_to_the_right_of_the_picture_is_red_and_one_upwards_green():
    for axis, channel in ((0, 0), (1, 1)):
        tilted = SQUARE.verts.clone()
        tilted[:, 2] = 0.2 - 0.2 * tilted[:, axis]  # falls along the axis, so its normal leans that way
        picture = normal_map(Mesh(tilted, SQUARE.faces), SQUARE, square_atlas(UV), 32)
        middle = picture[:, 16, 16] * 2 - 1
        assert middle[channel] == pytest.approx(0.2 / (1 + 0.2**2) ** 0.5, abs=1e-3)
        assert middle[1 - channel].abs() < 1e-3


def test_a_normal_map_brings_the_lost_relief_back():
    place, plain, shown = read(normal_map(FINE, COARSE, ATLAS, SIZE), COARSE, ATLAS)
    truth = normalize(ClosestPoint(FINE)(place).of(unit_normals(FINE), FINE.faces), dim=-1)
    assert degrees(plain, truth).mean() > 5
    assert degrees(shown, truth).mean() < 1


def test_what_has_no_counterpart_stays_flat():
    bare = COARSE.verts[COARSE.faces].mean(dim=1)[:, 1] > 0
    place, plain, shown = read(normal_map(FINE, COARSE, ATLAS, SIZE, bare=bare), COARSE, ATLAS)
    above, below = place[:, 1] > 0.1, place[:, 1] < -0.1
    assert degrees(plain, shown)[above].quantile(0.99) < 1
    assert degrees(plain, shown)[below].mean() > 5


def test_another_fold_of_the_surface_is_not_mistaken_for_ours():
    """Of a sheet seen from behind nothing is taken."""
    behind = Mesh(SQUARE.verts - torch.tensor([0, 0, 0.01]), SQUARE.faces.flip(1))
    picture = normal_map(behind, SQUARE, square_atlas(UV), 32)
    assert (picture - torch.tensor(FLAT)[:, None, None]).abs().max() < 1e-5
