"""Round trips through the files, and the Khronos validator."""

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

import headartist.version
from ball_avatar import Ball, icosphere, linear_colour
from headartist.errors import HeadArtistError
from headartist.export import bake, export_head, unwrap, write_glb, write_obj, write_ply
from headartist.files import replacing
from headartist.geometry.mesh import Mesh
from headartist.version import package_version

MESH = icosphere(3)
ATLAS = unwrap(MESH, resolution=256)
TEXTURE = bake(MESH, ATLAS, linear_colour, 256)
VALIDATOR = Path(__file__).parents[1] / "tools" / "validator"


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
    expected = linear_colour(torch.tensor(np.asarray(loaded.vertices))).numpy()
    assert np.abs(seen - expected).max() < 0.02


def same_surface(loaded: trimesh.Trimesh, mesh: Mesh) -> bool:
    corners = mesh.verts[mesh.faces].numpy()
    return loaded.triangles.shape == corners.shape and np.abs(loaded.triangles - corners).max() < 1e-5


# --- GLB -----------------------------------------------------------------------------------------------------------


def test_a_glb_comes_back_as_it_was(tmp_path):
    write_glb(tmp_path / "head.glb", MESH, ATLAS, TEXTURE)
    loaded = trimesh.load(tmp_path / "head.glb", force="mesh", process=False)
    assert same_surface(loaded, MESH)
    assert_shows_the_field(loaded)
    picture = np.asarray(loaded.visual.material.baseColorTexture.convert("RGB"))
    assert np.abs(picture / 255 - TEXTURE.permute(1, 2, 0).numpy()).max() <= 0.5 / 255 + 1e-6


def test_a_glb_is_smooth_across_the_seams(tmp_path):
    write_glb(tmp_path / "head.glb", MESH, ATLAS, TEXTURE)
    document, binary = glb_parts(tmp_path / "head.glb")
    accessor = document["accessors"][document["meshes"][0]["primitives"][0]["attributes"]["NORMAL"]]
    offset = document["bufferViews"][accessor["bufferView"]]["byteOffset"]
    stored = np.frombuffer(binary, "<f4", 3 * accessor["count"], offset).reshape(-1, 3)
    assert np.array_equal(stored, MESH.vertex_normals()[ATLAS.source])
    assert np.abs(stored - MESH.verts[ATLAS.source].numpy()).max() < 0.02  # the unit sphere's normals are its points


def test_a_glb_says_where_it_came_from(tmp_path):
    write_glb(tmp_path / "a.glb", MESH, ATLAS, TEXTURE, name="statue", extras={"prompt": "a bronze büste", "seed": 7})
    document, _ = glb_parts(tmp_path / "a.glb")
    assert document["asset"]["generator"].startswith("headartist")
    assert document["asset"]["extras"] == {"prompt": "a bronze büste", "seed": 7}
    assert document["nodes"][0]["name"] == "statue"
    assert document["materials"][0]["pbrMetallicRoughness"]["metallicFactor"] == 0


def test_a_glb_names_the_release_that_wrote_it(tmp_path, monkeypatch):
    def missing(_: str) -> str:
        raise PackageNotFoundError

    write_glb(tmp_path / "installed.glb", MESH, ATLAS, TEXTURE)
    assert glb_parts(tmp_path / "installed.glb")[0]["asset"]["generator"] == f"headartist {package_version()}"
    monkeypatch.setattr(headartist.version, "version", missing)
    write_glb(tmp_path / "bare.glb", MESH, ATLAS, TEXTURE)
    assert glb_parts(tmp_path / "bare.glb")[0]["asset"]["generator"] == "headartist 0+unknown"


def test_the_files_do_not_change_from_run_to_run(tmp_path):
    for name in ("a.glb", "b.glb"):
        write_glb(tmp_path / name, MESH, ATLAS, TEXTURE)
    assert (tmp_path / "a.glb").read_bytes() == (tmp_path / "b.glb").read_bytes()


def folded() -> Mesh:
    """A triangle and its mirror back to back: area normals cancel at every vertex."""
    return Mesh(torch.eye(3), torch.tensor([[0, 1, 2], [0, 2, 1]]))


@pytest.mark.parametrize("mesh", [MESH, icosphere(4, bumps=0.2), folded()], ids=["sphere", "bumpy", "folded"])
def test_the_khronos_validator_is_silent(tmp_path, mesh):
    node = shutil.which("node")
    if node is None or not (VALIDATOR / "node_modules").is_dir():
        pytest.skip("needs node, and `npm ci` in tools/validator")
    atlas = unwrap(mesh, resolution=128)
    write_glb(tmp_path / "head.glb", mesh, atlas, bake(mesh, atlas, linear_colour, 128), extras={"seed": 1})
    command = [node, str(VALIDATOR / "validate.js"), str(tmp_path / "head.glb")]
    report = json.loads(subprocess.run(command, capture_output=True, text=True, check=False).stdout)
    assert report["messages"] == []
    assert (report["numErrors"], report["numWarnings"], report["numInfos"], report["numHints"]) == (0, 0, 0, 0)


# --- OBJ and PLY ---------------------------------------------------------------------------------------------------


def test_an_obj_comes_back_as_it_was(tmp_path):
    paths = write_obj(tmp_path / "head.obj", MESH, ATLAS, TEXTURE)
    assert [path.name for path in paths] == ["head.obj", "head.mtl", "head.png"]
    loaded = trimesh.load(tmp_path / "head.obj", force="mesh", process=False)
    assert same_surface(loaded, MESH)
    assert_shows_the_field(loaded)


def test_an_obj_keeps_its_positions_welded(tmp_path):
    write_obj(tmp_path / "head.obj", MESH, ATLAS, TEXTURE)
    lines = (tmp_path / "head.obj").read_text().splitlines()
    assert sum(line.startswith("v ") for line in lines) == len(MESH.verts) < len(ATLAS.uv)


def test_a_ply_comes_back_as_it_was(tmp_path):
    write_ply(tmp_path / "head.ply", MESH, linear_colour)
    loaded = trimesh.load(tmp_path / "head.ply", process=False)
    assert np.array_equal(loaded.faces, MESH.faces)
    assert np.array_equal(loaded.vertices, MESH.verts)
    colours = loaded.visual.vertex_colors[:, :3] / 255
    assert np.abs(colours - linear_colour(MESH.verts).numpy()).max() <= 0.5 / 255 + 1e-6


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
    with pytest.raises(HeadArtistError, match="'fbx' is unknown: choose from glb, obj, ply"):
        export_head(Ball(), tmp_path, formats=["fbx"])
