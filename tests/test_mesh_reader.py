"""Laws of reading mesh files: every make gives the same triangles, and no file is believed."""

import base64
import json
import os
import struct
import time
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh

from headartist.heads.readers import mesh as mesh_reader
from headartist.heads.readers.mesh import read_mesh
from headartist.heads.readers.raw_mesh import RawMesh, strip_triangles
from headartist.system.errors import HeadArtistError

BALL = trimesh.creation.icosphere(2)
VERTS, FACES = np.array(BALL.vertices), np.array(BALL.faces)
TETRAHEDRON = "v 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\n"


def corners(mesh: RawMesh) -> np.ndarray:
    return mesh.verts[mesh.faces]


def write(folder: Path, content: str | bytes, name: str = "head.obj") -> Path:
    (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return folder / name


# --- OBJ -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_polygons_become_fans_and_numbers_may_count_backwards(tmp_path, end):
    text = (
        "v 0 0 0 1 0.5 0.5 0.5\nv 1 0 0\nv 1 1 0\nv 0 1 0\nf 1 2 \\\n 3 4\nf -4//1 -3//1 -2//1\nl 1 2\np 1\n# f 9 9 9\n"
    )
    mesh = read_mesh(write(tmp_path, text.replace("\n", end)))
    assert mesh.faces.tolist() == [[0, 1, 2], [0, 2, 3], [0, 1, 2]]
    assert mesh.verts.tolist() == [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]]
    assert mesh.uv is None


def test_objects_groups_and_materials_name_their_triangles(tmp_path):
    text = f"{TETRAHEDRON}f 1 2 3\no a head\ng skin left\nusemtl pink\nf 1 2 4\ng\nf 2 3 4\no eye\nf 1 3 4 2\n"
    mesh = read_mesh(write(tmp_path, text))
    named = [mesh.names[label] for label in mesh.label]
    assert named == [(), ("a head", "skin", "left", "pink"), ("a head", "pink"), ("eye", "pink"), ("eye", "pink")]


def test_texture_coordinates_are_read_where_every_triangle_has_them(tmp_path):
    text = f"{TETRAHEDRON}vt 0 0\nvt 1 0\nvt 0.5 1\nf 1/1 2/2 3/3\n"
    mesh = read_mesh(write(tmp_path, text))
    assert mesh.uv is not None
    assert mesh.uv[mesh.uv_faces].tolist() == [[[0, 0], [1, 0], [0.5, 1]]]
    assert read_mesh(write(tmp_path, text + "f 1 2 4\n")).uv is None


def test_a_face_of_very_many_corners_takes_a_moment(tmp_path):
    count = 97_000
    angle = np.linspace(0, 2 * np.pi, count, endpoint=False)
    verts = "".join(f"v {x:.6f} {y:.6f} 0\n" for x, y in zip(np.cos(angle), np.sin(angle), strict=True))
    path = write(tmp_path, f"{verts}f {' '.join(map(str, range(1, count + 1)))}\n")
    began = time.process_time()
    assert len(read_mesh(path).faces) == count - 2
    assert time.process_time() - began < 5


@pytest.mark.parametrize(
    "line", ["v 0 0", "v a b c", "f 1 2", "f 1 2 5", "f 0 1 2", "f -5 1 2", "f 1/1 2/1 3/1", "f a b c"]
)
def test_a_line_that_makes_no_sense_is_named(tmp_path, line):
    with pytest.raises(HeadArtistError, match=rf"cannot be read as a mesh \(line 5 is '{line}'\): save it again\."):
        read_mesh(write(tmp_path, f"{TETRAHEDRON}{line}\nf 1 2 3\n"))


def test_too_many_triangles_or_bytes_are_refused_early(tmp_path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("headartist.heads.readers.obj.MOST_FACES", 2)
    with pytest.raises(HeadArtistError, match=r"it has more than 2,000,000 triangles\): decimate it"):
        read_mesh(write(tmp_path, f"{TETRAHEDRON}f 1 2 3 4\nf 1 2 3\n"))
    monkeypatch.setattr(mesh_reader, "LARGEST", 10)
    with pytest.raises(HeadArtistError, match=r"bytes, more than the 10 that are read: decimate it"):
        read_mesh(tmp_path / "head.obj")


def test_two_gigabytes_are_refused_unread(tmp_path):
    with (tmp_path / "huge.stl").open("wb") as file:
        file.truncate(1 << 31)
    with pytest.raises(HeadArtistError, match="has 2,147,483,648 bytes, more than"):
        read_mesh(tmp_path / "huge.stl")


# --- STL and PLY ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["head.stl", "ascii.stl", "head.ply", "ascii.ply", "head.glb", "HEAD.OBJ"])
def test_every_make_gives_the_same_triangles(tmp_path, name):
    made = {"ascii.stl": {"file_type": "stl_ascii"}, "ascii.ply": {"encoding": "ascii"}}.get(name, {})
    BALL.export(tmp_path / name.lower(), **made)
    mesh = read_mesh((tmp_path / name.lower()).rename(tmp_path / name))
    np.testing.assert_allclose(corners(mesh), VERTS[FACES], atol=1e-6)


def strips_of(faces: np.ndarray) -> list[int]:
    return [int(corner) for face in faces for corner in (*face, -1)]


def test_a_strip_turns_every_second_triangle():
    assert strip_triangles(np.array([4, 5, 6, 7, -1, 0, 1, 2, 3])).tolist() == [
        [4, 5, 6],
        [6, 5, 7],
        [0, 1, 2],
        [2, 1, 3],
    ]
    assert strip_triangles(np.array([-1, -1, 0, 1])).tolist() == []


@pytest.mark.parametrize("order", ["ascii", "binary_little_endian", "binary_big_endian"])
def test_triangle_strips_of_ply_are_read(tmp_path, order):
    strip = strips_of(FACES)
    header = (
        f"ply\nformat {order} 1.0\ncomment by hand\nelement vertex {len(VERTS)}\nproperty float x\nproperty float y\n"
        "property float z\nproperty uchar red\nelement tristrips 1\nproperty list int int vertex_indices\nend_header\n"
    )
    if order == "ascii":
        rows = "".join(f"{x} {y} {z} 9\n" for x, y, z in VERTS)
        content = f"{rows}{len(strip)} {' '.join(map(str, strip))}\n".encode()
    else:
        sign = "<" if "little" in order else ">"
        content = b"".join(struct.pack(f"{sign}fffB", *vert, 9) for vert in VERTS)
        content += struct.pack(f"{sign}{len(strip) + 1}i", len(strip), *strip)
    mesh = read_mesh(write(tmp_path, header.encode() + content, "head.ply"))
    np.testing.assert_allclose(corners(mesh), VERTS[FACES], atol=1e-6)
    with pytest.raises(HeadArtistError, match="it ends too early"):
        read_mesh(write(tmp_path, header.encode() + content[:-20], "cut.ply"))


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("element vertex 4000000000\nproperty float x\n", "claims 4,000,000,000 rows of vertex"),
        ("element vertex 4\n", "claims 4 rows of vertex"),
        ("element vertex -1\n", "its header says 'element vertex -1'"),
        ("element vertex 1\nproperty quaternion x\n", "its header says 'property quaternion x'"),
        ("property float x\n", "its header says 'property float x'"),
    ],
)
def test_a_ply_header_is_not_believed(tmp_path, header, words):
    with pytest.raises(HeadArtistError, match=words):
        read_mesh(write(tmp_path, f"ply\nformat ascii 1.0\n{header}end_header\n", "head.ply"))


# --- glTF ----------------------------------------------------------------------------------------------------------

Tree = dict[str, Any]


def gltf_tree() -> tuple[Tree, bytes]:
    """The ball as a node that is scaled within one that is turned and moved."""
    binary = VERTS.astype("<f4").tobytes() + FACES.astype("<u2").tobytes()
    split = VERTS.size * 4
    tree: Tree = {
        "asset": {"version": "2.0"},
        "scenes": [{"nodes": [0]}],
        "nodes": [
            {"children": [1], "rotation": [0, 0.7071067811865476, 0, 0.7071067811865476], "translation": [0, 5, 0]},
            {"mesh": 0, "name": "head", "scale": [2, 3, 4]},
        ],
        "meshes": [{"name": "ball", "primitives": [{"attributes": {"POSITION": 0}, "indices": 1, "material": 0}]}],
        "materials": [{"name": "skin"}],
        "accessors": [
            {"bufferView": 0, "componentType": 5126, "type": "VEC3", "count": len(VERTS)},
            {"bufferView": 1, "componentType": 5123, "type": "SCALAR", "count": FACES.size},
        ],
        "bufferViews": [
            {"buffer": 0, "byteLength": split},
            {"buffer": 0, "byteOffset": split, "byteLength": len(binary) - split},
        ],
        "buffers": [{"byteLength": len(binary)}],
    }
    return tree, binary


def as_glb(tree: Tree, binary: bytes) -> bytes:
    text = json.dumps(tree).encode()
    text += b" " * (-len(text) % 4)
    binary += b"\0" * (-len(binary) % 4)
    chunks = struct.pack("<I", len(text)) + b"JSON" + text + struct.pack("<I", len(binary)) + b"BIN\0" + binary
    return b"glTF" + struct.pack("<II", 2, 12 + len(chunks)) + chunks


def placed() -> np.ndarray:
    """Scaled, turned by a quarter about y, and moved."""
    x, y, z = (VERTS * [2, 3, 4]).T
    return np.stack([z, y + 5, -x], axis=1)


@pytest.mark.parametrize("name", ["head.glb", "head.vrm"])
def test_nodes_place_their_meshes_and_name_them(tmp_path, name):
    mesh = read_mesh(write(tmp_path, as_glb(*gltf_tree()), name))
    np.testing.assert_allclose(corners(mesh), placed()[FACES], atol=1e-5)
    assert mesh.names == (("head", "ball", "skin"),)


def test_buffers_lie_in_a_gltf_or_beside_it(tmp_path):
    tree, binary = gltf_tree()
    write(tmp_path, binary, "my ball.bin")
    data = "data:application/octet-stream;base64," + base64.b64encode(binary).decode()
    for uri in ("my%20ball.bin", data):
        tree["buffers"][0]["uri"] = uri
        mesh = read_mesh(write(tmp_path, json.dumps(tree), "head.gltf"))
        np.testing.assert_allclose(corners(mesh), placed()[FACES], atol=1e-5)


@pytest.mark.parametrize(
    "uri", ["../secret.bin", "/etc/passwd", "https://example.com/a.bin", "file:///etc/passwd", "%2e%2e/secret.bin"]
)
def test_no_buffer_is_read_from_elsewhere(tmp_path, uri):
    write(tmp_path, gltf_tree()[1], "secret.bin")
    (tmp_path / "inner").mkdir()
    tree = gltf_tree()[0]
    tree["buffers"][0]["uri"] = uri
    with pytest.raises(HeadArtistError, match=r"lies outside of its folder\): export it as \.glb"):
        read_mesh(write(tmp_path / "inner", json.dumps(tree), "head.gltf"))


def test_a_buffer_that_is_a_link_out_of_the_folder_is_not_read(tmp_path):
    write(tmp_path, gltf_tree()[1], "secret.bin")
    (tmp_path / "inner").mkdir()
    try:
        (tmp_path / "inner" / "a.bin").symlink_to(tmp_path / "secret.bin")
    except OSError:
        pytest.skip("links are not allowed here")
    tree = gltf_tree()[0]
    tree["buffers"][0]["uri"] = "a.bin"
    with pytest.raises(HeadArtistError, match="lies outside of its folder"):
        read_mesh(write(tmp_path / "inner", json.dumps(tree), "head.gltf"))


def test_a_skinned_mesh_stands_where_its_joints_carry_it(tmp_path):
    tree, binary = gltf_tree()
    bind = np.diag([0.1, 0.1, 0.1, 1.0]).astype("<f4").T.tobytes()
    tree["bufferViews"].append({"buffer": 0, "byteOffset": len(binary), "byteLength": 64})
    tree["accessors"].append({"bufferView": 2, "componentType": 5126, "type": "MAT4", "count": 1})
    tree["skins"] = [{"joints": [2], "inverseBindMatrices": 2}]
    tree["nodes"].append({"name": "root", "translation": [0, 7, 0]})
    tree["scenes"][0]["nodes"].append(2)
    tree["nodes"][1]["skin"] = 0
    mesh = read_mesh(write(tmp_path, as_glb(tree, binary + bind), "head.glb"))
    np.testing.assert_allclose(corners(mesh), (0.1 * VERTS + [0, 7, 0])[FACES], atol=1e-5)


def _packed(name: str, **more: Any) -> dict[str, Any]:
    return {"extensionsRequired": [name], "extensionsUsed": [name], **more}


def _draco() -> Tree:
    """As Blender writes it: accessors without content, of which readers make zeros."""
    tree = gltf_tree()[0]
    for accessor in tree["accessors"]:
        del accessor["bufferView"]
    tree["meshes"][0]["primitives"][0]["extensions"] = {"KHR_draco_mesh_compression": {"bufferView": 0}}
    return tree


def _with(path: str, value: Any) -> Tree:
    tree = gltf_tree()[0]
    *above, last = path.split(".")
    here: Any = tree
    for step in above:
        here = here[int(step) if step.isdigit() else step]
    here[int(last) if last.isdigit() else last] = value
    return tree


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        (
            _draco() | _packed("KHR_draco_mesh_compression"),
            "needs KHR_draco_mesh_compression.*: export it without Draco",
        ),
        (_draco(), "needs KHR_draco_mesh_compression.*: export it without Draco"),
        (gltf_tree()[0] | _packed("EXT_meshopt_compression"), "EXT_meshopt_compression.*: export it without meshopt"),
        (_with("bufferViews.0.extensions", {"EXT_meshopt_compression": {}}), "EXT_meshopt_compression"),
        (_with("accessors.0.sparse", {"count": 1}), "sparse accessors, .*: export it without shape keys"),
        (_with("accessors.0.count", 10**12), "claims more vertices than it holds"),
        (_with("accessors.0.byteOffset", 10**12), "claims more vertices than it holds"),
        (_with("accessors.0.count", -1), "contradicts itself"),
        (_with("accessors.0.type", "VEC9"), "contradicts itself"),
        (_with("nodes.1.mesh", 7), "contradicts itself"),
        (_with("buffers", 3), "contradicts itself"),
        ([], "its JSON holds no glTF"),
    ],
)
def test_what_a_gltf_packs_or_claims_is_told(tmp_path, tree, words):
    with pytest.raises(HeadArtistError, match=words) as refused:
        read_mesh(write(tmp_path, as_glb(tree, gltf_tree()[1]), "head.glb"))
    assert "\n" not in str(refused.value)


def test_packed_textures_do_not_matter(tmp_path):
    tree, binary = gltf_tree()
    mesh = read_mesh(write(tmp_path, as_glb(tree | _packed("KHR_texture_basisu"), binary), "head.glb"))
    assert len(mesh.faces) == len(FACES)


def test_nodes_within_themselves_end(tmp_path):
    tree, binary = gltf_tree()
    tree["nodes"][1]["children"] = [0, 1]
    assert len(read_mesh(write(tmp_path, as_glb(tree, binary), "head.glb")).faces) == len(FACES)


def test_json_nested_without_end_is_refused(tmp_path):
    for content in (b"[" * 1_000_000, b'{"a":' * 1_000_000):
        with pytest.raises(HeadArtistError, match="its JSON is damaged"):
            read_mesh(write(tmp_path, content, "deep.gltf"))


def test_claims_cost_no_memory(tmp_path):
    paths = [
        write(tmp_path, as_glb(_with("accessors.0.count", 10**10), gltf_tree()[1]), "a.glb"),
        write(tmp_path, as_glb(_draco(), gltf_tree()[1]), "b.glb"),
        write(tmp_path, "ply\nformat ascii 1.0\nelement vertex 900000000\nproperty float x\nend_header\n", "c.ply"),
    ]
    false_count = write(tmp_path, b"\0" * 80 + struct.pack("<I", 2**32 - 1), "d.stl")
    tracemalloc.start()
    assert len(read_mesh(false_count).faces) == 0
    for path in paths:
        with pytest.raises(HeadArtistError):
            read_mesh(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 30_000_000


# --- what is no file -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".obj", ".ply", ".stl", ".glb", ".gltf", ".vrm"])
@pytest.mark.parametrize("content", [b"garbage", b"ply\nformat ascii 1.0\nend_header\n", b"glTF\x02\x00\x00\x00"])
def test_garbage_is_refused_in_one_sentence_or_empty(tmp_path, suffix, content):
    path, told = write(tmp_path, content, f"head{suffix}"), ""
    try:
        assert len(read_mesh(path).faces) == 0
    except HeadArtistError as refused:
        told = str(refused)
    assert told == "" or f"head{suffix} cannot be read as a mesh (" in told
    assert "\n" not in told


def test_pipes_and_devices_are_never_opened(tmp_path):
    if not hasattr(os, "mkfifo"):
        pytest.skip("there are no pipes here")
    os.mkfifo(tmp_path / "pipe.obj")
    (tmp_path / "zeros.obj").symlink_to("/dev/zero")
    for name in ("pipe.obj", "zeros.obj"):
        with pytest.raises(HeadArtistError, match=f"{name}' is no plain file"):
            read_mesh(tmp_path / name)
    write(tmp_path, b"", "empty.obj")
    with pytest.raises(HeadArtistError, match=r"empty\.obj' is empty"):
        read_mesh(tmp_path / "empty.obj")


@pytest.mark.parametrize("number", ["nan", "inf", "1e300"])
def test_numbers_that_are_none_are_refused(tmp_path, number):
    with pytest.raises(HeadArtistError, match="vertices that are not finite numbers"):
        read_mesh(write(tmp_path, f"v {number} 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n"))
