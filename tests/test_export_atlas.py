"""Laws of the surface, its UV atlas and its baked texture."""

import numpy as np
import pytest
import torch
from scipy.ndimage import grey_dilation, grey_erosion
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from ball_avatar import icosphere, linear_color
from headartist.export.surface import tidy
from headartist.export.texture import bake, gutter, texels
from headartist.export.uv import UvAtlas, unwrap
from headartist.geometry.mesh import Mesh
from headartist.geometry.tets import TetGrid, marching_tets
from headartist.system.errors import HeadArtistError


def marched() -> Mesh:
    """A bumpy ball as marching tetrahedra cut it: with slivers down to a thousandth of a usual edge."""
    grid = TetGrid(24, 1.0)
    points = grid.positions()
    x, y, z = points.unbind(-1)
    ripple = (7 * x).sin() * (8 * y).sin() + (15 * z + 3 * x).sin() / 2
    return tidy(marching_tets(grid, points.norm(dim=-1) - 0.7 - 0.06 * ripple))


def atlas_of(mesh: Mesh, limit: int) -> tuple[Mesh, UvAtlas]:
    return mesh, unwrap(mesh, resolution=512, patch_faces=limit)


BUMPY = icosphere(4, bumps=0.15)
CASES = {
    "one patch": atlas_of(BUMPY, 10_000),
    "eight patches": atlas_of(BUMPY, 700),
    "marching tetrahedra": atlas_of(marched(), 1_000),
}
ATLAS = CASES["eight patches"][1]
every_case = pytest.mark.parametrize(("mesh", "atlas"), CASES.values(), ids=CASES.keys())


def joined(*meshes: Mesh) -> Mesh:
    first = np.cumsum([0, *(len(mesh.verts) for mesh in meshes)])
    verts = torch.cat([mesh.verts for mesh in meshes])
    return Mesh(verts, torch.cat([mesh.faces + int(k) for mesh, k in zip(meshes, first, strict=False)]))


def sampled(texture: torch.Tensor, uv: torch.Tensor) -> torch.Tensor:
    """Bilinear reading with v up, as a viewer does it."""
    where = torch.stack([uv[:, 0] * 2 - 1, 1 - uv[:, 1] * 2], dim=-1)[None, None].to(texture)
    read = torch.nn.functional.grid_sample(texture[None], where, align_corners=False, padding_mode="border")
    return read[0, :, 0].T


# --- surface -------------------------------------------------------------------------------------------------------


def test_tidy_leaves_a_clean_mesh_as_it_is():
    clean = tidy(BUMPY)
    assert torch.equal(clean.verts, BUMPY.verts)
    assert torch.equal(clean.faces, BUMPY.faces)


def test_tidy_drops_slivers_specks_and_unused_vertices():
    head, speck = icosphere(3), icosphere(0)
    far = Mesh(speck.verts * 0.01 + 3, speck.faces)
    flat = Mesh(torch.tensor([[0.0, 0, 0], [1, 1, 1], [2, 2, 2]]), torch.tensor([[0, 1, 2]]))
    lone = Mesh(torch.zeros(5, 3), torch.zeros(0, 3, dtype=torch.int64))
    clean = tidy(joined(lone, far, head, flat), min_share=0.05)
    assert torch.equal(clean.verts, head.verts)
    assert torch.equal(clean.faces, head.faces)


def test_tidy_keeps_two_large_pieces():
    pair = joined(icosphere(2), Mesh(icosphere(2).verts + 3, icosphere(2).faces))
    assert torch.equal(tidy(pair).faces, pair.faces)


@pytest.mark.parametrize("count", [0, 1])
def test_tidy_refuses_a_head_without_surface(count):
    with pytest.raises(HeadArtistError, match=r"no surface to export .* with --overwrite and another --seed"):
        tidy(Mesh(torch.zeros(3 * count, 3), torch.arange(3 * count).reshape(-1, 3)))


# --- atlas ---------------------------------------------------------------------------------------------------------


@every_case
def test_every_split_vertex_maps_to_its_source(mesh, atlas):
    assert torch.equal(atlas.source[atlas.faces], mesh.faces)
    assert torch.equal(atlas.faces.unique(), torch.arange(len(atlas.uv)))


@every_case
def test_every_triangle_lies_in_the_unit_square_with_area(mesh, atlas):
    assert atlas.uv.min() >= 0
    assert atlas.uv.max() <= 1
    a, b, c = atlas.uv.double()[atlas.faces].unbind(1)
    area = ((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]).abs() / 2
    assert area.min() > 0
    assert 0.4 < area.sum() < 1


@every_case
def test_no_texel_is_owned_by_two_triangles(mesh, atlas):
    hit = texels(atlas, 1024)
    strictly_inside = hit.barycentric.amin(dim=1) > 1e-9
    owners = torch.bincount(hit.index[strictly_inside], minlength=1024 * 1024)
    assert owners.max() == 1


@every_case
def test_charts_keep_apart(mesh, atlas):
    size = 512
    edges = torch.cat([atlas.faces[:, [0, 1]], atlas.faces[:, [1, 2]]]).T.numpy()
    graph = coo_array((np.ones(edges.shape[1]), tuple(edges)), shape=(len(atlas.uv),) * 2)
    _, chart = connected_components(graph, directed=False)
    hit = texels(atlas, size)
    owner = np.full(size * size, -1)
    owner[hit.index] = chart[atlas.faces[hit.face, 0]]
    owner = owner.reshape(size, size)
    highest = grey_dilation(owner, size=(3, 3))
    lowest = grey_erosion(np.where(owner < 0, owner.max() + 1, owner), size=(3, 3))
    assert (highest[owner >= 0] == lowest[owner >= 0]).all()


def test_unwrapping_is_repeatable():
    again = unwrap(BUMPY, resolution=512, patch_faces=700)
    assert torch.equal(again.uv, ATLAS.uv)
    assert torch.equal(again.faces, ATLAS.faces)


def test_unwrap_refuses_what_has_no_shape():
    with pytest.raises(HeadArtistError, match="0 faces"):
        unwrap(Mesh(torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.int64)))
    broken = icosphere(1).verts.clone()
    broken[7, 1] = torch.nan
    with pytest.raises(HeadArtistError, match="1 vertices that are not finite"):
        unwrap(Mesh(broken, icosphere(1).faces))


# --- texture -------------------------------------------------------------------------------------------------------


@every_case
def test_barycentrics_lead_back_to_the_pixel_centre(mesh, atlas):
    hit = texels(atlas, 256)
    assert torch.allclose(hit.barycentric.sum(-1), torch.ones(len(hit.index), dtype=torch.float64))
    uv = (atlas.uv[atlas.faces[hit.face]] * hit.barycentric[..., None]).sum(1)
    column, row = hit.index % 256, hit.index // 256
    assert torch.allclose(uv * 256, torch.stack([column + 0.5, 255.5 - row], dim=-1).double(), atol=1e-4)


def test_texels_cover_a_triangle_by_its_area():
    triangle = UvAtlas(torch.tensor([[0.1, 0.2], [0.9, 0.3], [0.4, 0.8]]), torch.tensor([[0, 1, 2]]), torch.arange(3))
    area = 0.5 * (0.8 * 0.6 - 0.1 * 0.3)
    assert len(texels(triangle, 1000).index) == pytest.approx(area * 1e6, rel=2e-3)


@every_case
def test_the_texture_shows_the_colour_field_everywhere_on_the_surface(mesh, atlas):
    size = 512
    texture = bake(mesh, atlas, linear_color, size)
    generator = torch.Generator().manual_seed(0)
    face = torch.randint(len(mesh.faces), (20_000,), generator=generator)
    weights = torch.rand(20_000, 3, generator=generator)
    weights = (weights / weights.sum(-1, keepdim=True))[..., None]
    points = (mesh.verts[mesh.faces[face]] * weights).sum(1)
    read = sampled(texture, (atlas.uv[atlas.faces[face]] * weights).sum(1))
    # a texel is about 0.01 units wide here and the field changes by 0.3 a unit: the seams may err by one texel
    assert (read - linear_color(points)).abs().max() < 0.01
    assert (read - linear_color(points)).abs().mean() < 1e-4


def test_a_texture_has_no_holes():
    texture = bake(BUMPY, ATLAS, lambda points: torch.full_like(points, 0.7), 128)
    assert texture.shape == (3, 128, 128)
    assert torch.equal(texture, torch.full((3, 128, 128), 0.7))


def test_a_texture_stays_in_range():
    texture = bake(BUMPY, ATLAS, lambda points: points * 100, 128)
    assert texture.min() == 0
    assert texture.max() == 1


def test_bake_names_what_is_wrong():
    with pytest.raises(HeadArtistError, match=r"colour field is not finite at .* with --overwrite and smaller"):
        bake(BUMPY, ATLAS, lambda points: points / 0, 64)


def test_a_triangle_thinner_than_a_pixel_leaves_its_colour():
    sliver = torch.tensor([[0.2031, 0.5], [0.2032, 0.5], [0.2031, 0.7]])
    atlas = UvAtlas(sliver, torch.tensor([[0, 1, 2]]), torch.arange(3))
    assert len(texels(atlas, 64).index) == 0
    mesh = Mesh(torch.tensor([[0.1, 0.2, 0.3], [0.1, 0.2, 0.3], [0.5, 0.6, 0.7]]), torch.tensor([[0, 1, 2]]))
    texture = bake(mesh, atlas, lambda points: points, 64)
    along = torch.linspace(0, 1, 9)[:, None]
    uv = sliver[0] * (1 - along) + sliver[2] * along
    inner = slice(1, -1)  # at its two tips filtering reads half a pixel beyond
    expected = mesh.verts[0] * (1 - along) + mesh.verts[2] * along
    assert torch.allclose(sampled(texture, uv)[inner], expected[inner], atol=1e-3)


def test_pixels_beside_a_chart_take_its_nearest_point():
    square = UvAtlas(
        torch.tensor([[0.25, 0.25], [0.75, 0.25], [0.75, 0.75], [0.25, 0.75]]),
        torch.tensor([[0, 1, 2], [0, 2, 3]]),
        torch.arange(4),
    )
    covered = torch.zeros(64, dtype=torch.bool)
    covered[texels(square, 8).index] = True
    assert covered.reshape(8, 8)[2:6, 2:6].all()
    assert covered.sum() == 16
    beside = gutter(square, 8, covered)
    uv = (square.uv[square.faces[beside.face]] * beside.barycentric[..., None]).sum(1)
    center = torch.stack([beside.index % 8 + 0.5, 7.5 - beside.index // 8], dim=-1).double() / 8
    assert torch.allclose(uv, center.clamp(0.25, 0.75))
    ring = torch.zeros(8, 8, dtype=torch.bool)
    ring[1:7, 1:7] = True
    assert torch.equal(beside.index, (ring.reshape(-1) & ~covered).nonzero()[:, 0])
