"""The foundry's characters from the body model on: layers, pictures, shards, all made by formula."""

from dataclasses import replace

import numpy as np
import pytest

from headartist.geometry.cameras import look
from headartist.heads.open_head import makehuman_vertex_ids
from headartist_foundry.data.bodies import make_body
from headartist_foundry.data.render_shards import render_shard
from headartist_foundry.data.renderer import Light, Renderer
from headartist_foundry.data.scenes import make_scene
from headartist_foundry.data.traits import Traits
from test_foundry_data import PERSON

pytest.importorskip("anny", reason="the body model comes with the foundry")

SIZE = 32
CHARACTERS = {
    "man with beard, glasses and hat": (replace(PERSON, hat="knitted hat"), {"skin", "eye", "hair", "metal", "cloth"}),
    "woman with long hair": (
        replace(PERSON, sex="woman", age="young", hair="long", beard="", glasses=""),
        {"skin", "eye", "hair"},
    ),
    "alien": (replace(PERSON, kind="alien", expression="neutral", beard="", glasses=""), {"skin", "eye"}),
}


@pytest.mark.parametrize(("traits", "materials"), CHARACTERS.values(), ids=CHARACTERS)
def test_a_character_has_what_its_traits_say_and_fills_its_place_in_the_picture(traits: Traits, materials: set[str]):
    layers, body = make_scene(traits, None, np.random.default_rng(0))
    assert {layer.material for layer in layers} == materials
    for layer in layers:
        assert np.isfinite(layer.verts).all()
        assert layer.faces.min() >= 0
        assert layer.faces.max() < len(layer.verts)
        assert layer.uv.shape == (len(layer.faces), 3, 2)

    view = look(0.0)
    light = Light(np.array([0.0, 0.0, 1.0]), 0.4)
    rgb, normal = Renderer(layers).draw(view, SIZE, light, np.array([0.0, 0.0, 1.0]))
    assert 0 <= rgb.min() <= rgb.max() <= 1
    head = np.abs(normal - 0.5).max(axis=-1) > 0.1
    assert 0.2 < head.mean() < 0.6
    columns, rows = view.project(body.head.site_positions(), SIZE)[0][0].numpy().astype(int).T
    assert head[rows, columns].mean() > 0.95


def test_the_head_lies_on_the_base_mesh_that_hair_and_eyes_are_fitted_to():
    traits = replace(CHARACTERS["woman with long hair"][0], build="overweight", age="old")
    body = make_body(traits, np.random.default_rng(1))
    ids = makehuman_vertex_ids().numpy()
    np.testing.assert_allclose(body.head_verts[ids >= 0], body.base[ids[ids >= 0]], atol=1e-6)
    made = body.head_verts[ids < 0]
    assert np.linalg.norm(made[:, None] - body.head_verts[None, ids >= 0], axis=-1).min(axis=1).max() < 0.1


def test_the_skin_of_an_alien_is_of_its_color():
    means = {}
    for color in ("green", "purple"):
        layers, _ = make_scene(replace(CHARACTERS["alien"][0], alien_color=color), None, np.random.default_rng(0))
        (skin,) = (layer for layer in layers if layer.material == "skin")
        means[color] = skin.texture[..., :3].mean(axis=(0, 1))
    assert means["green"].argmax() == 1
    assert means["purple"].argmin() == 1


def test_a_shard_is_sound_and_follows_from_its_seed():
    shard, again, other = (render_shard((0, number), 1, 2, SIZE, None) for number in (0, 0, 1))
    assert shard.rgb.shape == shard.normal.shape == (2, SIZE, SIZE, 3)
    assert shard.sites.shape == (2, 478, 2)
    assert np.isfinite(shard.sites).all()
    assert len(shard.traits) == 1
    assert shard.head.tolist() == [0, 0]
    assert not np.array_equal(shard.rgb[0], shard.rgb[1])
    assert shard.traits == again.traits
    for name in ("rgb", "normal", "sites", "azimuth_deg", "elevation_deg", "head"):
        np.testing.assert_array_equal(getattr(shard, name), getattr(again, name))
    assert not np.array_equal(shard.rgb, other.rgb)
