"""The foundry's words and pictures: traits, captions, garments, made things, drawing, spoiling."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from headartist.geometry.cameras import look
from headartist.heads.load import load_template
from headartist_foundry.data import procedural, procedural_hair
from headartist_foundry.data.bodies import Body
from headartist_foundry.data.captions import (
    NEGATIVE_WORDS,
    NORMAL_PREFIX,
    SYNONYMS,
    caption,
    negative_caption,
)
from headartist_foundry.data.corruptions import CORRUPTIONS, lump, rippled, torn, unfinished
from headartist_foundry.data.makehuman_assets import read_garment
from headartist_foundry.data.paint import adorn, places, texel_places, wrinkle_depth
from headartist_foundry.data.pictures import Pictures, spoil
from headartist_foundry.data.render_shards import contact_sheet
from headartist_foundry.data.renderer import Light, Renderer
from headartist_foundry.data.scenes import Layer
from headartist_foundry.data.shards import Shard
from headartist_foundry.data.traits import HAIR_COLORS, Traits, sample_traits

PERSON = Traits(
    kind="human",
    sex="man",
    age="old",
    origin="asian",
    build="",
    expression="smiling",
    hair="bald",
    hair_color="black",
    beard="short beard",
    beard_color="white",
    glasses="glasses",
    hat="",
    hat_color="red",
    alien_color="green",
)


def some_captions(traits: Traits, *, normals: bool = False, count: int = 200) -> list[str]:
    rng = np.random.default_rng(0)
    return [caption(traits, rng, normals=normals) for _ in range(count)]


def share_saying(captions: list[str], *words: str) -> float:
    return float(np.mean([any(word in text for word in words) for text in captions]))


def test_same_seed_same_traits():
    draws = [[sample_traits(np.random.default_rng(3)) for _ in range(20)] for _ in range(2)]
    assert draws[0] == draws[1]


def test_beard_color_does_not_follow_hair_color():
    rng = np.random.default_rng(0)
    bearded = [t for t in (sample_traits(rng) for _ in range(3000)) if t.beard]
    assert 0.15 < np.mean([t.beard_color != t.hair_color for t in bearded]) < 0.5
    assert all(t.sex == "man" for t in bearded)


@pytest.mark.parametrize("word", ["short beard", "glasses", "smiling", "old"])
def test_captions_nearly_always_name_what_is_there(word):
    assert share_saying(some_captions(PERSON), *SYNONYMS[word]) > 0.8


def test_captions_never_name_what_is_absent():
    bare = replace(PERSON, beard="", glasses="", expression="neutral", hair="short")
    captions = some_captions(bare)
    assert share_saying(captions, "beard", "glasses", "smil", "bald", "alien", "statue", "hat") == 0


def test_normal_map_captions_keep_to_shape():
    person = replace(PERSON, hair="long", hair_color="pink", beard="")
    normals, colors = some_captions(person, normals=True), some_captions(person)
    assert all(text.startswith(NORMAL_PREFIX) for text in normals)
    assert share_saying(normals, "pink") < 0.5 < share_saying(colors, "pink")


def test_statues_have_no_hair_color():
    assert share_saying(some_captions(replace(PERSON, kind="marble", hair="long")), *HAIR_COLORS) == 0


def test_negative_captions_use_negative_words_or_nothing():
    rng = np.random.default_rng(0)
    captions = [negative_caption(rng) for _ in range(100)]
    words = {word for text in captions for word in text.split(", ") if word}
    assert "" in captions
    assert words == set(NEGATIVE_WORDS)


def write_garment(folder: Path) -> Path:
    (folder / "patch.obj").write_text(
        "v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nvt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\nf 1/1 2/2 3/3 4/4\n"
    )
    path = folder / "patch.mhclo"
    path.write_text(
        "# a comment\nname patch\nobj_file patch.obj\nx_scale 0 1 2.0\nmaterial none\nverts 0\n"
        "0\n1\n2 1 0 0.5 0.5 0.0 1.0 0 0\n0 1 2 0.0 0.0 1.0 0 0 0.5\n\ndelete_verts\n0 - 2\n"
    )
    return path


def test_garment_follows_the_base_mesh(tmp_path):
    garment = read_garment(write_garment(tmp_path))
    base = np.array([[0.0, 0, 0], [4.0, 0, 0], [0, 2.0, 0]])
    # x offsets scale with the distance of vertices 0 and 1 (4 where 2 was authored), z offsets with a decimetre.
    expected = np.array([[0, 0, 0], [4, 0, 0], [2 + 2, 1, 0], [0, 2, 0.05]])
    np.testing.assert_allclose(garment.fit(base), expected)
    assert garment.faces.tolist() == [[0, 1, 2], [0, 2, 3]]
    np.testing.assert_allclose(garment.uv[1], [[0, 0], [1, 1], [0, 1]])
    np.testing.assert_allclose(garment.fit(base + 7), garment.fit(base) + 7)


@pytest.fixture(scope="module")
def body() -> Body:
    return Body(np.zeros((1, 3)), load_template("open"))


def assert_sound(surface: procedural.Surface) -> None:
    verts, faces, uv = surface
    assert np.isfinite(verts).all()
    assert np.isfinite(uv).all()
    assert faces.min() >= 0
    assert faces.max() < len(verts)
    assert uv.shape == (len(faces), 3, 2)


@pytest.mark.parametrize("kind", ["knitted hat", "cap", "helmet", "wizard hat"])
def test_hats_cover_the_crown_and_leave_the_face_free(body, kind):
    skull = procedural.measure_skull(body)
    verts, *_ = surface = procedural.make_hat(skull, kind, np.random.default_rng(0))
    assert_sound(surface)
    crown = body.head_verts[:, 1].max()
    assert verts[:, 1].max() > crown
    before_the_face = (np.abs(verts[:, 0]) < 0.2) & (verts[:, 2] > skull.sites[1, 2] - 0.1)
    assert (verts[before_the_face, 1] > skull.sites[473, 1]).all()


@pytest.mark.parametrize("style", ["curly", "afro", "bob", "long"])
def test_loose_hair_stays_off_the_face_and_has_its_length(body, style):
    skull = procedural.measure_skull(body)
    verts, *_ = surface = procedural_hair.make_loose_hair(skull, style, np.random.default_rng(0))
    assert_sound(surface)
    face = (np.abs(verts[:, 0]) < 0.2) & (verts[:, 2] > skull.sites[10, 2])
    assert (verts[face, 1] > skull.sites[151, 1]).all()
    below_chin = verts[:, 1].min() < skull.sites[152, 1] - 0.2
    assert below_chin == (style == "long")


def test_mohawk_is_a_narrow_fin_above_the_crown(body):
    verts, *_ = surface = procedural_hair.make_mohawk(procedural.measure_skull(body), np.random.default_rng(0))
    assert_sound(surface)
    assert np.abs(verts[:, 0]).max() < 0.1
    assert verts[:, 1].max() > body.head_verts[:, 1].max() + 0.1


@pytest.mark.parametrize("style", ["dreadlocks", "bun", "crown braid", "short"])
def test_hair_on_the_scalp_leaves_face_and_ears_free(body, style):
    skull = procedural.measure_skull(body)
    shells = procedural_hair.make_hair(body, style, np.random.default_rng(0))
    for surface, opacity in shells:
        assert_sound(surface)
        verts = surface[0][np.unique(surface[1])]
        if opacity is not None:
            verts = verts[opacity[np.unique(surface[1])] > 0.5]
            assert np.abs(verts[verts[:, 1] < skull.sites[234, 1], 0]).max() < abs(skull.sites[234, 0]) + 0.1
        face = (np.abs(verts[:, 0]) < 0.2) & (verts[:, 2] > skull.sites[10, 2] - 0.1)
        assert (verts[face, 1] > skull.sites[151, 1]).all()


def test_hair_under_a_hat_lies_within_every_hat(body):
    skull = procedural.measure_skull(body)
    verts, *_ = procedural_hair.make_loose_hair(skull, "afro", np.random.default_rng(0))
    pressed = procedural_hair.pressed(skull, verts)
    size = np.array([skull.half_width, skull.height, skull.half_depth])
    above = (pressed - skull.center)[:, 1] > 0
    assert np.linalg.norm((pressed - skull.center)[above] / size, axis=1).max() < 1.05
    low = verts[:, 1] < skull.center[1] - 0.5 * skull.height
    np.testing.assert_array_equal(pressed[low], verts[low])


def skin() -> np.ndarray:
    texture = np.full((256, 256, 4), 255, np.uint8)
    texture[..., :3] = (200, 150, 120)
    return texture


@pytest.mark.parametrize(
    "change",
    [
        {"freckles": "freckles"},
        *({"paint": paint, "paint_color": "blue"} for paint in ("face paint", "war paint", "clown", "skull")),
    ],
    ids=lambda change: next(iter(change.values())),
)
def test_what_is_painted_on_a_face_shows_there_and_nowhere_else(change):
    plain = skin()
    painted = adorn(plain, replace(PERSON, **change), None, np.random.default_rng(0))
    changed = (painted != plain).any(axis=-1)
    at = texel_places(256)
    assert changed[at.front & (np.abs(at.x) < 6)].mean() > 0.02
    assert not changed[~at.front].any()


def test_wrinkles_are_furrows_of_the_face_alone(body):
    points = body.head_verts
    depth = wrinkle_depth(places(points), np.random.default_rng(0))
    assert 0 <= depth.min() <= depth.max() <= 1
    assert 0.01 < (depth > 0.5).mean() < 0.3
    assert points[depth > 0.1, 2].min() > 0.25


def test_glasses_sit_before_the_eyes_on_both_sides_alike(body):
    skull = procedural.measure_skull(body)
    frames, lenses = procedural.make_glasses(skull, np.random.default_rng(0))
    assert_sound(frames)
    for lens, pupil in zip(lenses, procedural.PUPILS, strict=True):
        assert_sound(lens)
        center = lens[0].mean(axis=0)
        assert np.abs(center[:2] - skull.sites[pupil, :2]).max() < 0.05
        assert center[2] > skull.sites[pupil, 2]


@pytest.mark.parametrize(("kind", "chin"), [("full beard", True), ("goatee", True), ("moustache", False)])
def test_beards_grow_where_they_should(body, kind, chin):
    skull = procedural.measure_skull(body)
    shells = procedural.make_beard(body, skull, kind, np.random.default_rng(0))
    (verts, faces, _), opacity = shells[0]
    grown = verts[np.unique(faces[opacity[faces].min(axis=1) > 0.5])]
    middle = np.abs(grown[:, 0]) < 0.2
    assert (grown[middle, 1] < skull.sites[2, 1]).all()
    assert (np.linalg.norm(grown - skull.sites[152], axis=1).min() < 0.12) == chin


def quad(z: float, color: tuple[int, int, int], alpha: int = 255, half: float = 0.5) -> Layer:
    corners = np.array([[-half, -half, z], [half, -half, z], [half, half, z], [-half, half, z]])
    uv = np.array([[0.1, 0.1], [0.9, 0.1], [0.9, 0.9], [0.1, 0.9]])
    faces = np.array([[0, 1, 2], [0, 2, 3]])
    texture = np.full((4, 4, 4), 255, np.uint8)
    texture[..., :3], texture[..., 3] = color, alpha
    return Layer("matte", corners, faces, uv[faces], texture)


@pytest.mark.parametrize("make", [rippled, torn, unfinished, lump], ids=lambda make: make.__name__)
def test_a_corrupted_head_is_sound_and_is_not_what_it_was_made_from(body, make):
    template = body.head
    uv = template.uv.numpy()[template.uv_faces.numpy()]
    layer = Layer("skin", body.head_verts, template.faces.numpy(), uv, skin())
    corrupted = make([layer], np.random.default_rng(0))
    assert set(CORRUPTIONS) == {"rippled", "torn", "unfinished", "lump"}
    for one in corrupted:
        assert_sound((one.verts, one.faces, one.uv))
    assert len(corrupted) == 1
    assert any(getattr(corrupted[0], name) is not getattr(layer, name) for name in vars(layer))


LIGHT = Light(np.array([0.0, 0.0, 1.0]), 0.1)


def draw(*layers: Layer) -> tuple[np.ndarray, np.ndarray]:
    return Renderer(list(layers)).draw(look(0.0, 0.0, 40.0), 16, LIGHT, np.array([0.0, 0.0, 0.0]))


def test_the_nearer_layer_hides_the_farther():
    rgb, normal = draw(quad(0.3, (255, 0, 0)), quad(0.0, (0, 255, 0)))
    assert rgb[8, 8, 0] > 0.9
    assert rgb[8, 8, 1] == 0
    np.testing.assert_allclose(normal[8, 8], [0.5, 0.5, 1.0], atol=1e-6)
    np.testing.assert_allclose(normal[0, 0], 0.5)


def test_holes_in_the_alpha_show_what_is_behind():
    rgb, _ = draw(quad(0.3, (255, 0, 0), alpha=0), quad(0.0, (0, 255, 0)))
    assert rgb[8, 8, 1] > 0.9
    assert rgb[8, 8, 0] == 0


def test_half_transparent_layers_cover_about_half_of_the_samples():
    rgb, _ = draw(quad(0.3, (255, 255, 255), alpha=128), quad(0.0, (0, 0, 0)))
    assert 0.35 < rgb[5:11, 5:11].mean() < 0.65


def make_shard(count: int = 8, size: int = 32) -> Shard:
    rng = np.random.default_rng(0)
    return Shard(
        rgb=rng.integers(0, 255, (count, size, size, 3), np.uint8),
        normal=rng.integers(0, 255, (count, size, size, 3), np.uint8),
        sites=rng.random((count, 478, 2)).astype(np.float32),
        azimuth_deg=np.linspace(-180, 180, count).astype(np.float32),
        elevation_deg=np.zeros(count, np.float32),
        head=np.arange(count) % 2,
        spoiled=np.arange(count) == 3,
        traits=(PERSON, replace(PERSON, kind="alien")),
    )


def test_a_shard_survives_its_file(tmp_path):
    shard = make_shard()
    shard.save(tmp_path / "shard.npz")
    loaded = Shard.load(tmp_path / "shard.npz")
    assert loaded.traits == shard.traits
    for name in ("rgb", "normal", "sites", "azimuth_deg", "elevation_deg", "head"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(shard, name))
    assert loaded.spoiled.tolist() == shard.spoiled.tolist()
    assert [path.name for path in tmp_path.iterdir()] == ["shard.npz"]
    assert contact_sheet(shard, rows=2, columns=2).size == (2 * 3 * 32, 2 * 32)


def former(named: dict) -> dict:
    """What names traits as files did that were written before they were American."""
    return {name.replace("color", "colour"): value for name, value in named.items()}


def test_shards_of_fewer_traits_and_former_names_are_read_with_the_others_absent(tmp_path):
    shard = make_shard()
    added = ("skin", "eye_color", "freckles", "wrinkles", "paint", "paint_color")
    older = [former({name: value for name, value in asdict(t).items() if name not in added}) for t in shard.traits]
    assert "hair_colour" in older[0]
    arrays = {name: getattr(shard, name) for name in vars(shard) if name not in ("traits", "spoiled")}
    np.savez(tmp_path / "shard.npz", **arrays, traits=json.dumps(older))
    loaded = Shard.load(tmp_path / "shard.npz")
    assert loaded.traits == shard.traits
    assert not loaded.spoiled.any()
    np.testing.assert_array_equal(loaded.rgb, shard.rgb)


def test_pictures_are_those_of_their_shards_in_order(tmp_path):
    shards = [make_shard(), make_shard(count=5)]
    for number, shard in enumerate(shards):
        shard.save(tmp_path / f"{number}.npz")
    pictures = Pictures([tmp_path / "0.npz", tmp_path / "1.npz"])
    assert (len(pictures), pictures.size) == (13, 32)
    rgb, normal = (np.concatenate([getattr(shard, name) for shard in shards]) for name in ("rgb", "normal"))
    for index in (0, 7, 8, 12):
        for normals, source in ((False, rgb), (True, normal)):
            shown = pictures.picture(index, normals=normals).permute(1, 2, 0) * 255
            np.testing.assert_array_equal(shown.round().byte().numpy(), source[index])
    assert pictures.traits[pictures.head[9]] == shards[1].traits[1]


def test_corrupted_heads_are_trained_under_no_words_of_praise(tmp_path):
    shard = make_shard()
    replace(shard, spoiled=np.ones(8, bool)).save(tmp_path / "shard.npz")
    captions = Pictures([tmp_path / "shard.npz"]).batch(np.random.default_rng(0), 40, 64).captions
    assert {word for text in captions for word in text.split(", ") if word} <= set(NEGATIVE_WORDS)


def test_half_the_draws_and_more_face_the_camera(tmp_path):
    shard = make_shard()
    azimuth = np.array([180.0] * 7 + [0.0])
    replace(shard, azimuth_deg=azimuth, elevation_deg=np.zeros(8), spoiled=np.zeros(8, bool)).save(tmp_path / "s.npz")
    pictures = Pictures([tmp_path / "s.npz"])
    assert pictures.facing.tolist() == [7]
    maps = pictures.batch(np.random.default_rng(0), 200, 64).landmark_map
    front = (maps == pictures.landmark_map(7, 64)).flatten(1).all(dim=1).float().mean()
    assert 0.45 < float(front) < 0.65  # half, and an eighth of the other half, but for those that lost their landmarks


def test_batches_repeat_with_their_seed_and_stay_in_range(tmp_path):
    make_shard().save(tmp_path / "shard.npz")
    pictures = Pictures([tmp_path / "shard.npz"])
    first, second = (pictures.batch(np.random.default_rng(5), 6, 64) for _ in range(2))
    assert first.captions == second.captions
    assert torch.equal(first.pictures, second.pictures)
    assert torch.equal(first.landmark_map, second.landmark_map)
    assert first.pictures.shape == (6, 3, 32, 32)
    assert first.landmark_map.shape == (6, 3, 64, 64)
    assert 0 <= float(first.pictures.min()) <= float(first.pictures.max()) <= 1


@pytest.mark.parametrize("normals", [False, True])
def test_spoiling_changes_the_head_and_stays_in_range(normals):
    rng = np.random.default_rng(0)
    picture = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0))
    head = torch.zeros(64, 64, dtype=torch.bool)
    head[16:48, 16:48] = True
    for _ in range(30):
        spoiled = spoil(picture, head, rng, normals=normals)
        assert not torch.equal(spoiled, picture)
        assert 0 <= float(spoiled.min()) <= float(spoiled.max()) <= 1
        if normals:
            assert torch.equal(spoiled[:, ~head], picture[:, ~head])
