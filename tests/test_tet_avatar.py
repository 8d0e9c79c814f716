"""Laws of the tetrahedral head: its start, its gradients, what is remembered, and resuming."""

from dataclasses import replace

import pytest
import torch
import trimesh

from headartist.avatars import tet_start as shape_fit
from headartist.avatars.avatar import Avatar, TrainableAvatar
from headartist.avatars.tet import TetAvatar
from headartist.config.avatars import FieldConfig, TetConfig
from headartist.export.pictures import preview
from headartist.geometry.cameras import look
from headartist.geometry.distance import SignedDistance
from headartist.geometry.mesh import Mesh
from headartist.geometry.tets import marching_tets
from headartist.heads.load import load_template
from headartist.heads.template import HeadTemplate
from headartist.render.shading import Shading
from headartist.system.errors import HeadArtistError

SMALL = FieldConfig(levels=3, base=4, growth=1.7, log2_table=11, width=16, depth=1)
CONFIG = TetConfig(resolution=14, shape=SMALL, color=SMALL, sdf_base="template", fit_steps=150)
GREY = torch.full((3,), 0.5)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("HEADARTIST_CACHE", str(tmp_path_factory.getbasetemp() / "headartist-cache"))


@pytest.fixture(scope="module")
def template() -> HeadTemplate:
    return load_template("open")


def _avatar(template: HeadTemplate, **changes) -> TetAvatar:
    """A small head whose parameters have all left their special first values."""
    generator = torch.Generator().manual_seed(0)
    avatar = TetAvatar(replace(CONFIG, **changes), template, generator=generator)
    with torch.no_grad():
        for field in (avatar.sdf, avatar.offset):
            last = field.mlp[-1].weight
            last.copy_(torch.randn(last.shape, generator=generator) * 0.3)
            field.encoding.table.copy_(torch.randn(field.encoding.table.shape, generator=generator) * 0.05)
    return avatar


def _ball() -> Mesh:
    sphere = trimesh.creation.icosphere(2, radius=0.8)
    return Mesh(torch.tensor(sphere.vertices, dtype=torch.float32), torch.tensor(sphere.faces))


def _optimizer(avatar: TetAvatar) -> torch.optim.Optimizer:
    return torch.optim.AdamW([p for p in avatar.parameters() if p.requires_grad], lr=2e-3)


def _step(avatar: TetAvatar, optimizer: torch.optim.Optimizer, index: int) -> None:
    frame = avatar.render(look(40.0 * index), 32, Shading(), GREY)
    optimizer.zero_grad()
    (frame.normal[:, 0].mean() + frame.opacity.mean() + frame.color.square().mean()).backward()
    optimizer.step()


def _drawn(avatar: TetAvatar) -> Mesh:
    """The surface as a frame hands it on."""
    surface = avatar.render(look(0.0), 8, Shading(color=False), GREY).surface
    assert surface is not None
    return surface


def _equal(a: Mesh, b: Mesh) -> bool:
    return torch.equal(a.verts, b.verts) and torch.equal(a.faces, b.faces)


def test_a_new_head_is_the_marched_distance_of_the_template(template):
    avatar = TetAvatar(CONFIG, template, generator=torch.Generator().manual_seed(0))
    distance = SignedDistance(template.mesh("skin", "eyes"))(avatar.positions)
    distance[avatar.border] = distance[avatar.border].clamp(min=avatar.grid.cell / 2)
    assert _equal(avatar.to_mesh(), marching_tets(avatar.grid, distance))


def test_a_fitted_head_is_the_template_up_to_a_small_part_of_a_cell(template):
    avatar = TetAvatar(replace(CONFIG, sdf_base="fit"), template, generator=torch.Generator().manual_seed(0))
    exact = TetAvatar(CONFIG, template, generator=torch.Generator().manual_seed(0))
    far = SignedDistance(exact.to_mesh())(avatar.to_mesh().verts).abs()
    assert far.mean() < 0.1 * avatar.grid.cell


@pytest.mark.parametrize("base", ["fit", "template"])
def test_the_start_is_remembered_and_does_not_depend_on_the_runs_seed(base, monkeypatch, tmp_path):
    monkeypatch.setenv("HEADARTIST_CACHE", str(tmp_path / "new"))
    config = replace(CONFIG, sdf_base=base, fit_steps=3)
    mesh = _ball()
    first = shape_fit.initial_shape(config, mesh)
    assert len(list((tmp_path / "new").iterdir())) == 1
    monkeypatch.setattr(shape_fit, "SignedDistance", None)  # would fail if anything were computed again
    again = shape_fit.initial_shape(replace(config, refresh=7, color=FieldConfig()), mesh)
    assert first.keys() == again.keys()
    assert all(torch.equal(first[name], again[name]) for name in first)


def test_another_template_or_grid_has_another_start_and_a_damaged_file_is_made_again(monkeypatch, tmp_path):
    monkeypatch.setenv("HEADARTIST_CACHE", str(tmp_path))
    config, mesh = replace(CONFIG, resolution=6), _ball()
    whole = shape_fit.initial_shape(config, mesh)["sdf_base"]
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:100])
    assert torch.equal(shape_fit.initial_shape(config, mesh)["sdf_base"], whole)
    moved = shape_fit.initial_shape(config, Mesh(mesh.verts * 0.9, mesh.faces))["sdf_base"]
    assert not torch.equal(moved, whole)
    assert len(shape_fit.initial_shape(replace(config, resolution=7), mesh)["sdf_base"]) == 8**3
    assert len(list(tmp_path.iterdir())) == 3


def test_a_start_is_remembered_for_one_kind_of_device_and_one_torch(monkeypatch):
    here = shape_fit._fingerprint(CONFIG, _ball())
    elsewhere = Mesh(_ball().verts.to("meta"), _ball().faces)
    monkeypatch.setattr(torch.Tensor, "cpu", lambda self: _ball().verts if self.is_meta else self)
    assert shape_fit._fingerprint(CONFIG, elsewhere) != here
    assert shape_fit._fingerprint(CONFIG, _ball()) == here
    monkeypatch.setattr(torch, "__version__", "1.0")
    assert shape_fit._fingerprint(CONFIG, _ball()) != here


def test_a_cache_that_cannot_be_written_costs_nothing_but_time(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HEADARTIST_CACHE", str(tmp_path / "file" / "below"))
    assert len(shape_fit.initial_shape(replace(CONFIG, resolution=3), _ball())["sdf_base"]) == 4**3


def test_at_refresh_1_surface_and_gradient_are_those_of_the_dense_evaluation(template):
    avatar = _avatar(template, refresh=1)
    every = torch.arange(len(avatar.grid))
    weight = torch.randn(200_000, 3, generator=torch.Generator().manual_seed(1))

    sparse = _drawn(avatar)
    (sparse.verts * weight[: len(sparse.verts)]).sum().backward()
    gradients = {name: p.grad.clone() for name, p in avatar.named_parameters() if p.grad is not None}
    avatar.zero_grad()
    dense = marching_tets(avatar.grid, avatar._sdf_at(every), avatar._moved(every) - avatar.positions)
    (dense.verts * weight[: len(dense.verts)]).sum().backward()

    assert torch.equal(sparse.faces, dense.faces)
    torch.testing.assert_close(sparse.verts, dense.verts)
    assert set(gradients) == {n for n, p in avatar.named_parameters() if not n.startswith("color")}
    for name, parameter in avatar.named_parameters():
        if name in gradients:
            torch.testing.assert_close(gradients[name], parameter.grad, rtol=1e-3, atol=1e-4)


def test_a_whole_band_equals_a_refresh(template):
    """With a band as wide as the grid, steps between refreshes are exact too."""
    exact, banded = _avatar(template, refresh=1), _avatar(template, refresh=100, band=14)
    optimizers = _optimizer(exact), _optimizer(banded)
    for index in range(3):
        for avatar, optimizer in zip((exact, banded), optimizers, strict=True):
            _step(avatar, optimizer, index)
    torch.testing.assert_close(exact.to_mesh().verts, banded.to_mesh().verts)


def test_the_band_follows_the_surface(template):
    """After steps without refresh, the surface that was drawn is the exact one of the same parameters."""
    avatar = _avatar(template, refresh=1_000, band=2)
    optimizer = _optimizer(avatar)
    for index in range(5):
        _step(avatar, optimizer, index)
    learning = _drawn(avatar)
    assert int(avatar.steps) == 6
    torch.testing.assert_close(learning.verts.detach(), avatar.to_mesh().verts)


@pytest.mark.parametrize("stop", [1, 4])
def test_a_resumed_run_equals_the_unbroken_run_bit_for_bit(template, stop):
    whole = _avatar(template, refresh=3)
    optimizer = _optimizer(whole)
    for index in range(6):
        if index == stop:
            state = {name: tensor.clone() for name, tensor in whole.state_dict().items()}
            moments = optimizer.state_dict()
            moments = {
                **moments,
                "state": {k: {n: t.clone() for n, t in v.items()} for k, v in moments["state"].items()},
            }
            with torch.no_grad():
                whole.render(look(0.0), 16, Shading(), GREY)  # a preview leaves no trace
        _step(whole, optimizer, index)

    resumed = TetAvatar.empty(whole.config)
    resumed.load_state_dict(state)
    again = _optimizer(resumed)
    again.load_state_dict(moments)
    for index in range(stop, 6):
        _step(resumed, again, index)
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name
    assert _equal(whole.to_mesh(), resumed.to_mesh())


def test_the_state_is_flat_tensors_and_two_heads_with_it_are_the_same(template):
    avatar = _avatar(template)
    other = TetAvatar.empty(avatar.config)
    before = other.to_mesh()
    other.load_state_dict(avatar.state_dict())
    assert all(isinstance(tensor, torch.Tensor) for tensor in avatar.state_dict().values())
    assert not _equal(before, other.to_mesh())
    assert _equal(avatar.to_mesh(), other.to_mesh())
    points = torch.rand(10, 3)
    assert torch.equal(avatar.material_at(points).color, other.material_at(points).color)


def test_a_frame_hands_on_the_surface_that_was_drawn_with_its_gradient(template):
    avatar = _avatar(template, refresh=2)
    frame = avatar.render(look(0.0), 16, Shading(color=False), GREY)
    assert frame.surface is not None
    assert int(avatar.steps) == 1
    energies = avatar.energies(frame)
    assert int(avatar.steps) == 1
    (energies["laplacian"] + energies["normal_consistency"] + frame.normal.mean()).backward()
    assert avatar.sdf.mlp[-1].weight.grad.abs().max() > 0
    _drawn(avatar).verts.sum().backward()  # its graph is new
    assert int(avatar.steps) == 2


def test_a_shape_that_does_not_learn_is_computed_once(template):
    avatar = _avatar(template)
    avatar.train_parts(("color",))
    mesh = _drawn(avatar)
    optimizer = _optimizer(avatar)
    for index in range(2):
        _step(avatar, optimizer, index)
    assert _drawn(avatar) is avatar.to_mesh() is mesh
    assert not mesh.verts.requires_grad
    assert int(avatar.steps) == 0


def test_a_shape_that_learned_or_was_loaded_is_computed_again(template):
    avatar = _avatar(template)
    avatar.train_parts(("color",))
    held = avatar.to_mesh()
    avatar.train_parts(("offset",))
    _step(avatar, _optimizer(avatar), 0)
    avatar.train_parts(("color",))
    assert not _equal(avatar.to_mesh(), held)
    state = {name: tensor.clone() for name, tensor in avatar.state_dict().items()}
    state["offset.mlp.2.bias"] += 1
    before = avatar.to_mesh()
    avatar.load_state_dict(state)
    assert not _equal(avatar.to_mesh(), before)


def test_two_pictures_of_a_learning_shape_differ(template):
    """An optimizer may change parameters without telling torch that it did."""
    avatar = _avatar(template)
    avatar.train_parts(("sdf", "offset"))
    parameters = [parameter for parameter in avatar.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=1e-2, fused=True)
    pictures = []
    for index in range(3):
        _step(avatar, optimizer, index)
        pictures.append(preview(avatar, size=32))
    assert not torch.equal(pictures[0], pictures[1])
    assert not torch.equal(pictures[1], pictures[2])


@pytest.mark.parametrize("trained", ["offset", "color"])
def test_frozen_parts_stay_as_they_are_bit_for_bit(template, trained):
    avatar = _avatar(template)
    avatar.train_parts((trained,))
    before = {name: tensor.clone() for name, tensor in avatar.state_dict().items()}
    optimizer = _optimizer(avatar)
    for index in range(3):
        _step(avatar, optimizer, index)
    changed = {name for name, tensor in avatar.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed
    assert all(name.startswith(trained + ".") for name in changed)


def test_offsets_move_vertices_at_most_their_share_of_a_cell(template):
    avatar = _avatar(template, offset_cells=0.25)
    with torch.no_grad():
        avatar.offset.mlp[-1].weight.mul_(1e4)
    every = torch.arange(len(avatar.grid))
    moved = (avatar._moved(every) - avatar.positions).detach().abs().max()
    assert moved == pytest.approx(0.25 * avatar.grid.cell, rel=1e-4)


def test_a_head_is_a_trainable_avatar_and_anything_else_is_not(template):
    assert isinstance(_avatar(template), TrainableAvatar)
    assert isinstance(_avatar(template), Avatar)
    assert not isinstance(template, Avatar)


def test_parts_are_all_parameters_and_share_none(template):
    avatar = _avatar(template)
    by_part = avatar.parameters_by_part()
    parts = [id(p) for kinds in by_part.values() for parameters in kinds.values() for p in parameters]
    assert sorted(parts) == sorted(id(p) for p in avatar.parameters())
    assert len(set(parts)) == len(parts)
    assert list(by_part) == ["sdf", "offset", "color"]
    assert all(list(kinds) == ["grid", "mlp"] for kinds in by_part.values())


def test_any_parameters_give_a_watertight_surface(template):
    avatar = _avatar(template)
    with torch.no_grad():
        avatar.sdf.mlp[-1].weight.mul_(30)
        avatar.offset.mlp[-1].weight.zero_()
    mesh = avatar.to_mesh()
    shape = trimesh.Trimesh(mesh.verts.numpy(), mesh.faces.numpy(), process=False)
    assert len(shape.faces) > 1_000
    assert shape.is_watertight


def test_colour_has_no_gradient_to_the_shape(template):
    avatar = _avatar(template)
    points = _drawn(avatar).verts
    colours = avatar.material_at(points).color
    assert colours.min() >= 0
    assert colours.max() <= 1
    colours.sum().backward()
    assert all((p.grad is not None) == name.startswith("color.") for name, p in avatar.named_parameters())


def test_without_colour_the_picture_is_bare_background_and_with_it_the_head_is_seen(template):
    avatar = _avatar(template)
    with torch.no_grad():
        bare = avatar.render(look(0.0), 24, Shading(color=False), GREY)
        seen = avatar.render(look(0.0), 24, Shading(), torch.zeros(3))
    torch.testing.assert_close(bare.color, torch.full_like(bare.color, 0.5))
    assert seen.color[seen.opacity.expand_as(seen.color) > 0.99].min() > 0.1


def test_an_avatar_without_surface_can_still_be_drawn():
    avatar = TetAvatar.empty(CONFIG)
    with torch.no_grad():
        avatar.sdf_base.fill_(1.0)
        frame = avatar.render(look(0.0), 16, Shading(), GREY)
    assert len(avatar.to_mesh().faces) == 0
    assert (frame.opacity == 0).all()


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"resolution": 1}, "avatar.resolution must lie within 2 and 2,048 (got 1)."),
        ({"refresh": 0}, "avatar.refresh must lie within 1 and 1,000,000,000 (got 0)."),
        ({"radius": 0.0}, "avatar.radius must lie within 0.1 and 10 (got 0.0)."),
    ],
)
def test_a_wrong_setting_is_named_with_its_value(wrong, sentence):
    with pytest.raises(HeadArtistError) as error:
        replace(CONFIG, **wrong)
    assert str(error.value) == sentence


def test_a_table_too_large_is_named_with_its_value():
    with pytest.raises(HeadArtistError, match="log2_table must lie within 4 and 24"):
        FieldConfig(log2_table=40)


def test_a_held_face_stays_where_the_rest_of_the_head_moves():
    template = load_template("open")
    avatar = TetAvatar(replace(CONFIG, hold_face=1.0), template, generator=torch.Generator().manual_seed(0))
    before = avatar.to_mesh()
    with torch.no_grad():
        for field in (avatar.sdf, avatar.offset):
            field.mlp[-1].bias.fill_(-0.05)  # everything swells, and shifts
    assert avatar.freedom is not None
    sdf, base = avatar._sdf_everywhere().detach(), avatar.sdf_base
    moved = (sdf - base)[~avatar.border]
    torch.testing.assert_close(moved, -0.05 * avatar.freedom[~avatar.border], atol=1e-6, rtol=0)
    nose = template.site_positions()[4]
    nearest = (avatar.positions - nose).norm(dim=1).argmin()
    assert avatar.freedom[nearest] < 0.3
    behind = avatar.positions[:, 2] < 0
    assert avatar.freedom[behind].min() > 0.99
    assert len(avatar.to_mesh().verts) != len(before.verts)
    copy = TetAvatar.empty(avatar.config)
    copy.load_state_dict(avatar.state_dict())
    torch.testing.assert_close(copy.to_mesh().verts, avatar.to_mesh().verts, atol=0, rtol=0)
