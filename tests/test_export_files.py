"""Round trips through the files, and the Khronos validator."""

import io
import json
import shutil
import struct
import subprocess
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image

import headartist.system.version
from ball_avatar import Ball, icosphere, linear_color
from headartist.export import (
    MaterialMaps,
    Rig,
    UvAtlas,
    bake,
    export_head,
    rig_head,
    unwrap,
    write_glb,
    write_obj,
    write_ply,
)
from headartist.export.head import VARIANTS
from headartist.export.material import roughness_map
from headartist.export.normal_map import FLAT, tangents
from headartist.export.rig.color import IRISES, plain_eye, rig_color
from headartist.geometry.mesh import Mesh
from headartist.system.errors import HeadArtistError
from headartist.system.files import replacing
from headartist.system.version import package_version
from remeshed import TEMPLATE, remeshed

MESH = icosphere(3)
ATLAS = unwrap(MESH, resolution=256)
TEXTURE = bake(MESH, ATLAS, linear_color, 256)
MATERIAL = MaterialMaps(TEXTURE)
VALIDATOR = Path(__file__).parents[1] / "tools" / "validator"
COUNTS = ("numErrors", "numWarnings", "numInfos", "numHints")
SILENT = dict.fromkeys(COUNTS, 0) | {"messages": [], "truncated": False}


def glb_parts(path: Path) -> tuple[dict, bytes]:
    content = path.read_bytes()
    magic, version, length = struct.unpack_from("<4sII", content)
    assert (magic, version, length) == (b"glTF", 2, len(content))
    text_length, text_kind = struct.unpack_from("<I4s", content, 12)
    binary_length, binary_kind = struct.unpack_from("<I4s", content, 20 + text_length)
    assert (text_kind, binary_kind) == (b"JSON", b"BIN\0")
    assert 28 + text_length + binary_length == len(content)
    return json.loads(content[20 : 20 + text_length]), content[28 + text_length :]


def assert_shows_the_field(loaded: trimesh.Trimesh) -> None:
    """Every vertex, read through its texture coordinate, has the field's colour to within a texel and rounding."""
    seen = loaded.visual.to_color().vertex_colors[:, :3] / 255
    expected = linear_color(torch.tensor(np.asarray(loaded.vertices))).numpy()
    assert np.abs(seen - expected).max() < 0.02


def same_surface(loaded: trimesh.Trimesh, mesh: Mesh) -> bool:
    corners = mesh.verts[mesh.faces].numpy()
    return loaded.triangles.shape == corners.shape and np.abs(loaded.triangles - corners).max() < 1e-5


def validated(path: Path) -> dict:
    """What the Khronos validator has to say."""
    node = shutil.which("node")
    if node is None or not (VALIDATOR / "node_modules").is_dir():
        pytest.skip("needs node, and `npm ci` in tools/validator")
    command = [node, str(VALIDATOR / "validate.js"), str(path)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=False).stdout)


# --- GLB -----------------------------------------------------------------------------------------------------------


def test_a_glb_comes_back_as_it_was(tmp_path):
    write_glb(tmp_path / "head.glb", MESH, ATLAS, MATERIAL)
    loaded = trimesh.load(tmp_path / "head.glb", force="mesh", process=False)
    assert same_surface(loaded, MESH)
    assert_shows_the_field(loaded)
    picture = np.asarray(loaded.visual.material.baseColorTexture.convert("RGB"))
    assert np.abs(picture / 255 - TEXTURE.permute(1, 2, 0).numpy()).max() <= 0.5 / 255 + 1e-6


def test_a_glb_is_smooth_across_the_seams(tmp_path):
    write_glb(tmp_path / "head.glb", MESH, ATLAS, MATERIAL)
    document, binary = glb_parts(tmp_path / "head.glb")
    accessor = document["accessors"][document["meshes"][0]["primitives"][0]["attributes"]["NORMAL"]]
    offset = document["bufferViews"][accessor["bufferView"]]["byteOffset"]
    stored = np.frombuffer(binary, "<f4", 3 * accessor["count"], offset).reshape(-1, 3)
    assert np.abs(stored - MESH.vertex_normals()[ATLAS.source].numpy()).max() < 1e-6
    assert np.abs(stored - MESH.verts[ATLAS.source].numpy()).max() < 0.02  # the unit sphere's normals are its points


def test_a_glb_says_where_it_came_from(tmp_path):
    write_glb(tmp_path / "a.glb", MESH, ATLAS, MATERIAL, name="statue", extras={"prompt": "a bronze büste", "seed": 7})
    document, _ = glb_parts(tmp_path / "a.glb")
    assert document["asset"]["generator"].startswith("headartist")
    assert document["asset"]["extras"] == {"prompt": "a bronze büste", "seed": 7}
    assert document["nodes"][0]["name"] == "statue"
    assert document["materials"][0]["pbrMetallicRoughness"]["metallicFactor"] == 0


def test_a_glb_names_the_release_that_wrote_it(tmp_path, monkeypatch):
    def missing(_: str) -> str:
        raise PackageNotFoundError

    write_glb(tmp_path / "installed.glb", MESH, ATLAS, MATERIAL)
    assert glb_parts(tmp_path / "installed.glb")[0]["asset"]["generator"] == f"headartist {package_version()}"
    monkeypatch.setattr(headartist.system.version, "version", missing)
    write_glb(tmp_path / "bare.glb", MESH, ATLAS, MATERIAL)
    assert glb_parts(tmp_path / "bare.glb")[0]["asset"]["generator"] == "headartist 0+unknown"


def test_the_files_do_not_change_from_run_to_run(tmp_path):
    for name in ("a.glb", "b.glb"):
        write_glb(tmp_path / name, MESH, ATLAS, MATERIAL)
    assert (tmp_path / "a.glb").read_bytes() == (tmp_path / "b.glb").read_bytes()


def folded() -> Mesh:
    """A triangle and its mirror back to back: area normals cancel at every vertex."""
    return Mesh(torch.eye(3), torch.tensor([[0, 1, 2], [0, 2, 1]]))


def with_a_speck() -> Mesh:
    """A ball beside a triangle so small that its area is next to nothing in single precision."""
    verts, faces = 0.7e-6 * torch.eye(3), torch.tensor([[0, 1, 2]])
    return Mesh(torch.cat([MESH.verts, verts]), torch.cat([MESH.faces, faces + len(MESH.verts)]))


@pytest.mark.parametrize(
    "mesh", [MESH, icosphere(4, bumps=0.2), folded(), with_a_speck()], ids=["sphere", "bumpy", "folded", "speck"]
)
def test_the_khronos_validator_is_silent(tmp_path, mesh):
    atlas = unwrap(mesh, resolution=128)
    relief = torch.full((3, 128, 128), 0.5)  # with it come tangents
    material = MaterialMaps(bake(mesh, atlas, linear_color, 128), relief)
    write_glb(tmp_path / "head.glb", mesh, atlas, material, extras={"seed": 1})
    assert validated(tmp_path / "head.glb") == SILENT


RELIEF = torch.tensor([0.5, 0.5, 1.0])[:, None, None].expand(3, 256, 256)
ROUGHNESS = torch.linspace(0, 1, 256).expand(256, 256)


def picture_in(document: dict, binary: bytes, texture: dict) -> np.ndarray:
    view = document["bufferViews"][document["images"][document["textures"][texture["index"]]["source"]]["bufferView"]]
    content = binary[view["byteOffset"] : view["byteOffset"] + view["byteLength"]]
    return np.asarray(Image.open(io.BytesIO(content))) / 255


def test_a_glb_holds_roughness_and_relief_with_the_frame_they_are_in(tmp_path):
    write_glb(tmp_path / "head.glb", MESH, ATLAS, MaterialMaps(TEXTURE, RELIEF, ROUGHNESS))
    document, binary = glb_parts(tmp_path / "head.glb")
    (material,) = document["materials"]
    surface = material["pbrMetallicRoughness"]
    assert surface["metallicFactor"] == 0
    assert "roughnessFactor" not in surface
    green = picture_in(document, binary, surface["metallicRoughnessTexture"])[..., 1]
    assert np.abs(green - ROUGHNESS.numpy()).max() <= 0.5 / 255 + 1e-6
    relief = picture_in(document, binary, material["normalTexture"])
    assert np.abs(relief - RELIEF.permute(1, 2, 0).numpy()).max() <= 0.5 / 255 + 1e-6
    stored = values(document, binary, document["meshes"][0]["primitives"][0]["attributes"]["TANGENT"])
    assert np.array_equal(stored, tangents(MESH, ATLAS))
    assert validated(tmp_path / "head.glb") == SILENT


def test_a_glb_without_relief_has_no_tangents(tmp_path):
    write_glb(tmp_path / "head.glb", MESH, ATLAS, MATERIAL)
    document, _ = glb_parts(tmp_path / "head.glb")
    assert "TANGENT" not in document["meshes"][0]["primitives"][0]["attributes"]
    assert document["materials"][0]["pbrMetallicRoughness"]["roughnessFactor"] == 0.8


# --- a rigged GLB --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def rigged() -> tuple[Rig, UvAtlas]:
    rig = rig_head(remeshed(16), TEMPLATE, eyes=True)
    return rig, unwrap(rig.mesh, resolution=128)


@pytest.fixture(scope="module")
def rigged_glb(rigged, tmp_path_factory) -> Path:
    rig, atlas = rigged
    path = tmp_path_factory.mktemp("rigged") / "head.glb"
    write_glb(path, rig.mesh, atlas, MaterialMaps(bake(rig.mesh, atlas, rig_color(rig, linear_color), 128)), rig=rig)
    return path


def values(document: dict, binary: bytes, number: int) -> np.ndarray:
    """An accessor's content, sparse or not."""
    accessor = document["accessors"][number]
    width = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}[accessor["type"]]

    def read(view: int, dtype: str, count: int) -> np.ndarray:
        return np.frombuffer(binary, dtype, count, document["bufferViews"][view]["byteOffset"])

    dtype = {5126: "<f4", 5125: "<u4", 5121: "|u1"}[accessor["componentType"]]
    if "bufferView" in accessor:
        return read(accessor["bufferView"], dtype, width * accessor["count"]).reshape(-1, width)
    content = np.zeros((accessor["count"], width), dtype)
    if "sparse" in accessor:
        sparse = accessor["sparse"]
        moving = read(sparse["indices"]["bufferView"], "<u4", sparse["count"])
        assert (np.diff(moving.astype(int)) > 0).all()
        content[moving] = read(sparse["values"]["bufferView"], dtype, width * sparse["count"]).reshape(-1, width)
    return content


def test_a_glb_holds_every_shape_under_its_arkit_name(rigged, rigged_glb):
    rig, atlas = rigged
    document, binary = glb_parts(rigged_glb)
    head = document["meshes"][0]
    assert head["extras"]["targetNames"] == list(TEMPLATE.expression_names)
    assert head["weights"] == [0] * 52
    still = 0.02e-3 / TEMPLATE.meters_per_unit
    for shape, target in zip(rig.shapes, head["primitives"][0]["targets"], strict=True):
        assert np.abs(values(document, binary, target["POSITION"]) - shape[atlas.source].numpy()).max() <= still


def test_still_vertices_take_no_room(rigged_glb):
    document, _ = glb_parts(rigged_glb)
    targets = document["meshes"][0]["primitives"][0]["targets"]
    brow = document["accessors"][targets[0]["POSITION"]]
    assert brow["sparse"]["count"] < 0.2 * brow["count"]


def test_the_skin_of_a_glb_at_rest_moves_nothing(rigged, rigged_glb):
    """Joint matrices times inverse bind matrices are the identity, and shares sum to one."""
    rig, _ = rigged
    document, binary = glb_parts(rigged_glb)
    skin, nodes = document["skins"][0], document["nodes"]
    assert [nodes[joint]["name"] for joint in skin["joints"]] == list(rig.joint_names)
    parents = {child: k for k, node in enumerate(nodes) for child in node.get("children", [])}
    inverse_bind = values(document, binary, skin["inverseBindMatrices"]).reshape(-1, 4, 4).transpose(0, 2, 1)
    for joint, matrix in zip(skin["joints"], inverse_bind, strict=True):
        place, node = np.zeros(3), joint
        while True:
            place = place + nodes[node]["translation"]
            if node not in parents:
                break
            node = parents[node]
        assert np.allclose(matrix[:3, 3], -place, atol=1e-6)
    attributes = document["meshes"][0]["primitives"][0]["attributes"]
    assert (values(document, binary, attributes["WEIGHTS_0"]).astype(int).sum(axis=1) == 255).all()


def test_the_demonstration_of_a_glb_lasts_three_seconds(rigged_glb):
    document, binary = glb_parts(rigged_glb)
    (animation,) = document["animations"]
    times = values(document, binary, animation["samplers"][0]["input"])
    assert times[-1] == 3
    paths = [channel["target"]["path"] for channel in animation["channels"]]
    assert paths == ["weights", "rotation", "rotation", "rotation"]
    weights = values(document, binary, animation["samplers"][0]["output"])
    assert len(weights) == 52 * len(times)


def test_the_khronos_validator_is_silent_about_a_rig(rigged_glb):
    assert validated(rigged_glb) == SILENT


def test_what_is_set_in_has_its_own_colours_and_the_surface_keeps_its(rigged):
    rig, _ = rigged
    color = rig_color(rig, linear_color)
    centers = rig.mesh.verts[rig.mesh.faces].mean(dim=1)
    surface = rig.part == 0
    assert torch.equal(color(centers[surface]), linear_color(centers[surface]))
    teeth = rig.part == rig.part_names.index("teeth")
    assert (color(centers[teeth]) == color(centers[teeth])[0]).all()


def test_plain_eyes_look_ahead_with_a_pupil_in_the_iris_in_the_white():
    eyeballs = torch.tensor([[0.3, 0.0, 0.0], [-0.3, 0.0, 0.0]])
    degrees = torch.tensor([0.0, 17.0, 25.0, 40.0, 180.0])
    away = torch.stack([degrees.deg2rad().sin(), torch.zeros(5), degrees.deg2rad().cos()], dim=1)
    for eyeball in eyeballs:
        pupil, iris, ring, white, behind = plain_eye(eyeball + 0.1 * away, eyeballs, "blue")
        assert torch.allclose(iris, torch.tensor(IRISES["blue"]))
        assert pupil.max() < ring.max() < iris.max() < white.min()
        assert torch.equal(white, behind)


class Remeshed(Ball):
    """The template's surface in colours."""

    def __init__(self) -> None:
        self.mesh = remeshed(16)


def test_a_rigged_export_and_its_game_variant(tmp_path):
    export_head(Remeshed(), tmp_path, texture_size=64, formats=("glb",), rig=TEMPLATE)
    document, _ = glb_parts(tmp_path / "head.glb")
    assert "licences" in document["asset"]["extras"]
    assert len(document["meshes"][0]["primitives"][0]["targets"]) == 52
    paths = export_head(Fine(), tmp_path, texture_size=64, formats=("glb", "ply"), variant="game")
    assert [path.name for path in paths] == ["head_game.glb", "head_game.ply"]
    document, _ = glb_parts(paths[0])
    indices = document["meshes"][0]["primitives"][0]["indices"]
    assert 15_000 < document["accessors"][indices]["count"] / 3 <= 20_000
    assert "normalTexture" in document["materials"][0]


@pytest.fixture(scope="module")
def quick_rigs():
    """A rig is carried to a head once for all that differ in their colours alone."""
    rigs = {}

    def remembered(mesh, template, *, eyes):
        key = len(mesh.faces), eyes
        if key not in rigs:
            rigs[key] = rig_head(mesh, template, eyes=eyes)
        return rigs[key]

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("headartist.export.head.rig_head", remembered)
        patched.setattr("headartist.export.head.GAME_FACES", 3_000)
        yield


SETTINGS = {
    "bare": {},
    "bare, delit": {"delight": True},
    "rigged": {"rig": TEMPLATE},
    "rigged, delit": {"rig": TEMPLATE, "delight": True},
    "with eyes": {"rig": TEMPLATE, "eyes": True},
    "with plain eyes": {"rig": TEMPLATE, "eyes": True, "iris": "green", "delight": True},
}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_the_khronos_validator_is_silent_about_every_variant(quick_rigs, tmp_path, settings, variant):
    (path,) = export_head(Remeshed(), tmp_path, texture_size=64, formats=("glb",), variant=variant, **settings)
    assert validated(path) == SILENT


def test_teeth_shine_and_skin_does_not(rigged):
    rig, atlas = rigged
    picture = roughness_map(rig, atlas, 128)
    uv = atlas.uv[atlas.faces].mean(dim=1)
    column, row = (uv[:, 0] * 128).long(), ((1 - uv[:, 1]) * 128).long()
    read = picture[row.clamp(max=127), column.clamp(max=127)]
    for name, roughness in (("surface", 0.8), ("teeth", 0.25), ("eyes", 0.15)):
        own = read[rig.part == rig.part_names.index(name)]
        assert (own - roughness).abs().median() < 1e-6


def test_what_was_set_in_has_no_relief(tmp_path, monkeypatch):
    """Of a simplified head with a mouth the relief is the surface's alone."""
    monkeypatch.setattr("headartist.export.head.GAME_FACES", 3_000)
    export_head(Remeshed(), tmp_path, texture_size=128, formats=("glb",), rig=TEMPLATE, variant="game")
    document, binary = glb_parts(tmp_path / "head_game.glb")
    material = document["materials"][0]
    relief = picture_in(document, binary, material["normalTexture"])
    shiny = picture_in(document, binary, material["pbrMetallicRoughness"]["metallicRoughnessTexture"])[..., 1] < 0.6
    assert np.abs(relief[shiny] - np.array(FLAT)).max() < 0.02
    assert np.abs(relief[~shiny] - np.array(FLAT)).mean() > 0.005
    assert validated(tmp_path / "head_game.glb") == SILENT


class Fine(Ball):
    """More triangles than a game wants."""

    def __init__(self) -> None:
        super().__init__(subdivisions=6)


def test_an_unknown_variant_is_refused(tmp_path):
    with pytest.raises(HeadArtistError, match="variant 'gam' is unknown: did you mean 'game'"):
        export_head(Ball(), tmp_path, variant="gam")


# --- OBJ and PLY ---------------------------------------------------------------------------------------------------


def test_an_obj_comes_back_as_it_was(tmp_path):
    paths = write_obj(tmp_path / "head.obj", MESH, ATLAS, MATERIAL)
    assert [path.name for path in paths] == ["head.obj", "head.mtl", "head.png"]
    loaded = trimesh.load(tmp_path / "head.obj", force="mesh", process=False)
    assert same_surface(loaded, MESH)
    assert_shows_the_field(loaded)


def test_an_mtl_names_roughness_and_relief(tmp_path):
    paths = write_obj(tmp_path / "head.obj", MESH, ATLAS, MaterialMaps(TEXTURE, RELIEF, ROUGHNESS))
    assert {path.name for path in paths} == {
        "head.obj",
        "head.mtl",
        "head.png",
        "head.normal.png",
        "head.roughness.png",
    }
    lines = (tmp_path / "head.mtl").read_text().splitlines()
    assert {
        "map_Kd head.png",
        "map_Pr head.roughness.png",
        "norm head.normal.png",
        "map_Bump -bm 1 head.normal.png",
    } <= set(lines)
    assert Image.open(tmp_path / "head.normal.png").size == (256, 256)
    write_obj(tmp_path / "plain.obj", MESH, ATLAS, MATERIAL)
    plain = (tmp_path / "plain.mtl").read_text()
    assert "Pr 0.8" in plain
    assert "norm" not in plain


def test_an_obj_keeps_its_positions_welded(tmp_path):
    write_obj(tmp_path / "head.obj", MESH, ATLAS, MATERIAL)
    lines = (tmp_path / "head.obj").read_text().splitlines()
    assert sum(line.startswith("v ") for line in lines) == len(MESH.verts) < len(ATLAS.uv)


def test_a_ply_comes_back_as_it_was(tmp_path):
    write_ply(tmp_path / "head.ply", MESH, linear_color)
    loaded = trimesh.load(tmp_path / "head.ply", process=False)
    assert np.array_equal(loaded.faces, MESH.faces)
    assert np.array_equal(loaded.vertices, MESH.verts)
    colors = loaded.visual.vertex_colors[:, :3] / 255
    assert np.abs(colors - linear_color(MESH.verts).numpy()).max() <= 0.5 / 255 + 1e-6


# --- the whole export ----------------------------------------------------------------------------------------------


def test_export_writes_every_format_and_nothing_else(tmp_path):
    paths = export_head(Ball(), tmp_path / "new" / "folder", texture_size=64, metadata={"prompt": "a ball"})
    assert sorted(path.name for path in paths) == ["head.glb", "head.mtl", "head.obj", "head.ply", "head.png"]
    assert sorted((tmp_path / "new" / "folder").iterdir()) == sorted(paths)
    assert glb_parts(paths[0])[0]["asset"]["extras"] == {"prompt": "a ball"}
    assert Image.open(tmp_path / "new" / "folder" / "head.png").size == (64, 64)


def test_export_writes_only_what_was_asked(tmp_path):
    assert export_head(Ball(), tmp_path, formats=["ply"]) == [tmp_path / "head.ply"]
    assert list(tmp_path.iterdir()) == [tmp_path / "head.ply"]


def test_export_drops_a_speck(tmp_path):
    ball = Ball()
    speck = icosphere(0)
    verts = torch.cat([ball.mesh.verts, speck.verts * 0.01 + 3])
    ball.mesh = Mesh(verts, torch.cat([ball.mesh.faces, speck.faces[:3] + len(ball.mesh.verts)]))
    export_head(ball, tmp_path, formats=["ply"])
    assert np.array_equal(trimesh.load(tmp_path / "head.ply", process=False).vertices, Ball().mesh.verts)


def test_a_failed_write_leaves_the_old_file(tmp_path):
    (tmp_path / "head.glb").write_text("old")

    def fail_halfway():
        with replacing(tmp_path / "head.glb") as draft:
            draft.write_text("half")
            raise RuntimeError("halfway")

    with pytest.raises(RuntimeError, match="halfway"):
        fail_halfway()
    assert (tmp_path / "head.glb").read_text() == "old"
    assert list(tmp_path.iterdir()) == [tmp_path / "head.glb"]


def test_export_refuses_an_unknown_format(tmp_path):
    with pytest.raises(HeadArtistError, match="'fbx' is unknown: choose from glb, obj, ply, usd"):
        export_head(Ball(), tmp_path, formats=["fbx"])
