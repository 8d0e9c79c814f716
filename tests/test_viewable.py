"""GLBs of other people: what a page can show is shown, in a real browser too; all else is refused in one sentence."""

import base64
import copy
import json
import os
import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from expressive_glb import Model, balls, container
from headartist import cli
from headartist.export.pictures import png_bytes
from headartist.system.errors import HeadArtistError
from headartist.viewer.page import view
from headartist.viewer.viewable import LARGEST_JSON, SHOWN, read_document

WORKSHOP = Path(__file__).parents[1] / "tools" / "viewer"
CHROMIUM = os.environ.get("CHROMIUM")
DRACO, KTX2, LAMPS = "KHR_draco_mesh_compression", "KHR_texture_basisu", "KHR_lights_punctual"
MESHOPT = ("EXT_meshopt_compression", "KHR_meshopt_compression")
PNG = png_bytes(torch.full((3, 2, 2), 0.5))

needs_browser = pytest.mark.skipif(
    not (CHROMIUM and shutil.which("node") and (WORKSHOP / "node_modules").is_dir()),
    reason="`make viewer` installs tools/viewer and names a browser",
)


# -- files as others write them: each is a ball or two, and is seen as such --


def ball(**parts: Any) -> Model:
    """One ball with the shape jawOpen, and `parts` in its document."""
    model = balls(["jawOpen"])
    model.document |= parts
    return model


def with_picture(mime: str, texture: dict[str, Any], picture: bytes = PNG, **parts: Any) -> Model:
    """A ball with texture coordinates and one picture."""
    model = ball(**parts)
    count = model.buffer.accessors[1]["count"]
    model.primitive["attributes"]["TEXCOORD_0"] = model.buffer.array(np.full((count, 2), 0.5), "VEC2")
    model.primitive["material"] = 0
    model.document["materials"] = [{"pbrMetallicRoughness": {"baseColorTexture": {"index": 0}}}]
    model.document["textures"] = [texture]
    model.document["images"] = [{"mimeType": mime, "bufferView": model.buffer.view(picture)}]
    return model


def skinned() -> Model:
    """Two balls, each with a skin of its own joint, which holds it where it is."""
    model = balls(["jawOpen"], ["jawOpen"])
    for k in range(2):
        attributes = model.document["meshes"][k]["primitives"][0]["attributes"]
        count = model.buffer.accessors[attributes["POSITION"]]["count"]
        ones = model.buffer.array(np.eye(4)[np.zeros(count, int)], "VEC4")
        zeros = np.zeros((count, 4), "u1")
        model.buffer.accessors.append(
            {"bufferView": model.buffer.view(zeros.tobytes()), "count": count, "type": "VEC4", "componentType": 5121}
        )
        attributes |= {"WEIGHTS_0": ones, "JOINTS_0": len(model.buffer.accessors) - 1}
        model.document["nodes"][k]["skin"] = k
    model.document["nodes"] += [{}, {}]
    model.document["scenes"] = [{"nodes": [0, 1, 2, 3]}]
    model.document["skins"] = [{"joints": [2]}, {"joints": [3]}]
    return model


def animated() -> Model:
    """A ball whose nameless animation moves its shape."""
    model = ball()
    sampler = {"input": model.buffer.array(np.array([0.0, 1.0]), "SCALAR")}
    sampler["output"] = model.buffer.array(np.array([0.0, 1.0]), "SCALAR")
    channel = {"sampler": 0, "target": {"node": 0, "path": "weights"}}
    model.document["animations"] = [{"samplers": [sampler], "channels": [channel]}]
    return model


def sparse() -> Model:
    """A ball whose shape is written as the vertices that it moves."""
    model = ball()
    number = model.primitive["targets"][0]["POSITION"]
    dense = model.buffer.accessors[number]
    start = model.buffer.views[dense["bufferView"]]["byteOffset"]
    moved = np.frombuffer(model.buffer.data, "<f4", dense["count"] * 3, start).reshape(-1, 3)
    which = np.flatnonzero(np.abs(moved).sum(axis=1))
    indices = {"bufferView": model.buffer.view(which.astype("<u2").tobytes()), "componentType": 5123}
    values = {"bufferView": model.buffer.view(moved[which].tobytes())}
    del dense["bufferView"]
    dense["sparse"] = {"count": len(which), "indices": indices, "values": values}
    return model


def quantized() -> Model:
    """A ball in 16-bit numbers of its node's scale, with its shape in bytes."""
    model = ball(extensionsUsed=["KHR_mesh_quantization"], extensionsRequired=["KHR_mesh_quantization"])
    for number, kind, code in (
        (model.primitive["attributes"]["POSITION"], "<i2", 5122),
        (model.primitive["targets"][0]["POSITION"], "i1", 5120),
    ):
        accessor = model.buffer.accessors[number]
        start = model.buffer.views[accessor["bufferView"]]["byteOffset"]
        values = np.frombuffer(model.buffer.data, "<f4", accessor["count"] * 3, start).reshape(-1, 3) * 100
        padded = np.pad(values.round().astype(kind), ((0, 0), (0, 1)))
        accessor |= {"bufferView": model.buffer.view(padded.tobytes()), "componentType": code}
        accessor |= {"min": values.min(axis=0).round().tolist(), "max": values.max(axis=0).round().tolist()}
        model.buffer.views[-1]["byteStride"] = padded.strides[0]
    model.document["nodes"] = [{"mesh": 0, "scale": [0.01] * 3}]
    return model


def coloured() -> Model:
    """A ball with colours at its vertices, unlit."""
    model = ball(extensionsUsed=["KHR_materials_unlit"], materials=[{"extensions": {"KHR_materials_unlit": {}}}])
    count = model.buffer.accessors[1]["count"]
    colours = np.random.default_rng(0).random((count, 3))
    model.primitive["attributes"]["COLOR_0"] = model.buffer.array(colours, "VEC3")
    model.primitive["material"] = 0
    return model


def instanced() -> Model:
    """Two balls that are one mesh at two places."""
    model = balls([])
    places = model.buffer.array(np.array([[0.0, 0, 0], [2.2, 0, 0]]), "VEC3")
    extension = {"EXT_mesh_gpu_instancing": {"attributes": {"TRANSLATION": places}}}
    model.document["nodes"] = [{"mesh": 0, "extensions": extension}]
    model.document["extensionsUsed"] = model.document["extensionsRequired"] = list(extension)
    return model


def in_links() -> Model:
    """A ball whose data stand in its JSON."""
    model = ball()
    link = "data:application/octet-stream;base64," + base64.b64encode(model.buffer.data).decode()
    model.document["buffers"] = [{"byteLength": len(model.buffer.data), "uri": link}]
    return model


def with_points() -> Model:
    """A ball, and its vertices as points and lines; and a surface that has no places at all."""
    model = ball()
    places = model.primitive["attributes"]
    more = [{"attributes": places, "mode": mode} for mode in (0, 1)]
    model.document["meshes"] += [{"primitives": more}, {"primitives": [{"attributes": {}}]}]
    model.document["nodes"] += [{"mesh": 1}, {"mesh": 2}]
    model.document["scenes"] = [{"nodes": [0, 1, 2]}]
    return model


def furnished() -> Model:
    """A ball with a camera and a lamp of a million candelas."""
    lamp = {"type": "point", "intensity": 1e6}
    model = ball(cameras=[{"type": "perspective", "perspective": {"yfov": 1, "znear": 0.1}}])
    model.document |= {"extensions": {LAMPS: {"lights": [lamp]}}, "extensionsUsed": [LAMPS]}
    model.document["nodes"] += [{"camera": 0}, {"extensions": {LAMPS: {"light": 0}}, "translation": [0, 0, 3]}]
    model.document["scenes"] = [{"nodes": [0, 1, 2]}]
    return model


def with_draco_too() -> Model:
    """A ball that lies in the file plainly, and says that it does in Draco's way as well."""
    model = ball(extensionsUsed=[DRACO])
    model.primitive["extensions"] = {DRACO: {"bufferView": 0, "attributes": {"POSITION": 0}}}
    return model


def still() -> Model:
    """A ball of whose two shapes one is empty."""
    model = ball()
    model.primitive["targets"].append({})
    model.document["meshes"][0]["extras"]["targetNames"].append("still")
    return model


def interleaved() -> Model:
    """A ball whose vertices lie 16 bytes apart, and end with the last one's own 12."""
    model = ball()
    accessor = model.buffer.accessors[model.primitive["attributes"]["POSITION"]]
    start = model.buffer.views[accessor["bufferView"]]["byteOffset"]
    places = np.frombuffer(model.buffer.data, "<f4", accessor["count"] * 3, start).reshape(-1, 3)
    accessor["bufferView"] = model.buffer.view(np.pad(places, ((0, 0), (0, 1))).tobytes()[:-4])
    model.buffer.views[-1]["byteStride"] = 16
    return model


def glassy() -> Model:
    """A ball of glass."""
    extension = {"KHR_materials_transmission": {"transmissionFactor": 0.5}, "KHR_materials_volume": {}}
    model = ball(materials=[{"extensions": extension}], extensionsUsed=list(extension))
    model.primitive["material"] = 0
    return model


ONE_BALL: dict[str, Callable[[], Model]] = {
    "plain": ball,
    "a thousand times as large": lambda: balls(["jawOpen"], scale=1e3),
    "a thousandth as large": lambda: balls(["jawOpen"], scale=1e-3),
    "a thousand radii off": lambda: balls(["jawOpen"], offset=1e3),
    "animated": animated,
    "sparse": sparse,
    "quantized": quantized,
    "coloured": coloured,
    "in links": in_links,
    "with points": with_points,
    "furnished": furnished,
    "with Draco too": with_draco_too,
    "glassy": glassy,
    "interleaved": interleaved,
    "textured": lambda: with_picture("image/png", {"source": 0}),
    "with KTX2 too": lambda: with_picture(
        "image/png",
        {"source": 0, "extensions": {KTX2: {"source": 0}}},
        extensionsUsed=[KTX2],
    ),
    "with a broken picture": lambda: with_picture("image/png", {"source": 0}, b"none"),
    "without scenes": lambda: ball(scenes=[]),
    "in the second scene": lambda: ball(scenes=[{"nodes": []}, {"nodes": [0]}]),
    "in two scenes": lambda: ball(scene=1, scenes=[{"nodes": [0]}, {"nodes": [0]}, {}]),
    "unknown, but not required": lambda: ball(extensionsUsed=["VRMC_vrm", "ACME_hats"]),
}
TWO_BALLS: dict[str, Callable[[], Model]] = {
    "two": lambda: balls(["Head_jawOpen"], ["Teeth.jawOpen"]),
    "skinned": skinned,
    "instanced": instanced,
}


def bytes_of(model: Model, **parts: Any) -> bytes:
    return Model(model.document | parts, model.buffer).glb()


def changed(path: str, value: Any) -> bytes:
    """A ball's GLB with one value of its whole document replaced, such as `accessors.0.count`."""
    model = ball()
    document = model.whole()
    *way, last = [int(word) if word.isdigit() else word for word in path.split(".")]
    at = document
    for word in way:
        at = at[word]
    at[last] = value
    return container(document, model.buffer.data)


def refusal(glb: bytes) -> str:
    with pytest.raises(HeadArtistError) as refused:
        read_document("head.glb", glb)
    return str(refused.value)


@pytest.mark.parametrize("name", ONE_BALL | TWO_BALLS)
def test_what_others_write_is_taken(name: str):
    assert read_document("head.glb", (ONE_BALL | TWO_BALLS)[name]().glb())["asset"] == {"version": "2.0"}


@pytest.mark.parametrize("name", sorted(SHOWN))
def test_a_required_extension_that_the_page_shows_is_taken(name: str):
    assert read_document("head.glb", bytes_of(ball(), extensionsRequired=[name], extensionsUsed=[name]))


@pytest.mark.parametrize(
    ("name", "way"),
    [
        (
            DRACO,
            "without Draco compression (`gltf-transform copy IN OUT`, or Blender's export with Compression off)",
        ),
        (KTX2, "with PNG or JPEG pictures instead of KTX2 (`gltf-transform ktxdecompress IN OUT`)"),
        ("KHR_materials_pbrSpecularGlossiness", "without 'KHR_materials_pbrSpecularGlossiness'"),
        ("ACME_\n<b>hat</b>", r"without 'ACME_\n<b>hat</b>'"),
    ],
)
def test_a_required_extension_that_the_page_cannot_show_is_refused_by_name(name: str, way: str):
    used = {"extensionsUsed": [name], "extensionsRequired": ["KHR_mesh_quantization", name]}
    assert refusal(bytes_of(ball(), **used)) == (
        f"head.glb needs {name!r}, which the page cannot show: save it again {way}."
    )


def test_all_extensions_that_are_missing_are_named():
    both = [DRACO, "ACME_hats"]
    assert "needs 'KHR_draco_mesh_compression' and 'ACME_hats', which" in refusal(
        bytes_of(ball(), extensionsRequired=both)
    )


def test_a_surface_that_lies_in_draco_only_is_refused_even_where_nothing_says_so():
    model = with_draco_too()
    del model.buffer.accessors[model.primitive["attributes"]["POSITION"]]["bufferView"]
    assert "needs 'KHR_draco_mesh_compression'" in refusal(model.glb())


@pytest.mark.parametrize(
    ("mime", "texture", "words"),
    [
        ("image/ktx2", {"source": 0}, "is 'image/ktx2'"),
        ("image/png", {"extensions": {KTX2: {"source": 0}}}, "lies in 'KHR_texture_basisu'"),
        ("image/png", {}, "lies in 'no file'"),
    ],
)
def test_a_picture_that_no_browser_shows_is_refused(mime: str, texture: dict[str, Any], words: str):
    assert refusal(with_picture(mime, texture).glb()) == (
        f"head.glb has a picture that {words}, which the page cannot show: save it again with PNG or JPEG pictures."
    )


def test_what_has_no_surface_is_refused():
    assert "holds no mesh: give a GLB" in refusal(container({"asset": {"version": "2.0"}}))
    for mode in (0, 1, 3):
        lines = ball()
        lines.primitive["mode"] = mode
        assert "holds no triangles in any scene" in refusal(lines.glb())
    assert "holds no triangles in any scene" in refusal(bytes_of(ball(), scenes=[{"nodes": []}, {}]))


def packed(count: object) -> bytes:
    stream = {"buffer": 0, "byteLength": 4, "byteStride": 12, "count": count, "mode": "ATTRIBUTES"}
    return changed("bufferViews.1.extensions", {MESHOPT[0]: stream})


def nodes(*children: list[int]) -> bytes:
    return bytes_of(ball(), nodes=[{"mesh": 0, "children": own} for own in children])


def with_json(text: bytes) -> bytes:
    return struct.pack("<4sIIII", b"glTF", 2, 20 + len(text), len(text), 0x4E4F534A) + text


DAMAGED = {
    "nested 100,000 deep": with_json(b'{"asset": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
    "no number": with_json(b'{"asset": {"version": "2.0", "x": NaN}}'),
    "UTF-16": with_json('{"asset": {"version": "2.0"}}'.encode("utf-16")),
    "glTF 1": changed("asset.version", "1.0"),
    "a version that is a number": changed("asset.version", 2.0),
    "JSON beyond the file": struct.pack("<4sIIII", b"glTF", 2, 20, 10**9, 0x4E4F534A),
    "JSON beyond the limit": with_json(b" " * (LARGEST_JSON + 1)),
    "a count beyond the data": changed("accessors.1.count", 10**6),
    "a count beyond everything": changed("accessors.1.count", 10**400),
    "a count of zeros beyond memory": changed("accessors.1", {"count": 10**9, "type": "VEC3", "componentType": 5126}),
    "a negative count": changed("accessors.1.count", -1),
    "half a count": changed("accessors.1.count", 1.5),
    "a count that is none": changed("accessors.1.count", True),
    "data beyond the buffer": changed("bufferViews.1.byteOffset", 10**9),
    "data before the buffer": changed("bufferViews.1.byteOffset", -4),
    "packed data beyond memory": packed(10**9),
    "no such accessor": changed("meshes.0.primitives.0.attributes.POSITION", 99),
    "the accessor before the first": changed("meshes.0.primitives.0.attributes.POSITION", -1),
    "no such mesh": changed("nodes.0.mesh", 1),
    "a node in itself": nodes([0]),
    "nodes in a circle": nodes([], [2], [1]),
    "a node of two parents": nodes([2], [2], []),
    "nodes 2,000 deep": nodes(*([k + 1] for k in range(2_000)), []),
    "nodes that are none": bytes_of(ball(), nodes=[7]),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_what_is_absurd_is_told_in_one_sentence(name: str):
    told = refusal(DAMAGED[name])
    assert told.startswith("head.glb is damaged or not a GLB")
    assert told.endswith(": write it again as binary glTF 2.0 with everything inside.")
    assert len(told) < 200


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def places(value: Any, at: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at] * bool(at) + [place for key, one in inner for place in places(one, (*at, key))]


RICH = [skinned(), sparse(), with_picture("image/png", {"source": 0}), animated()]
DOCUMENTS = [(model.whole(), model.buffer.data) for model in RICH]


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_a_file_with_any_value_in_any_place_is_taken_or_refused_in_one_sentence(data: st.DataObject):
    document, buffer = data.draw(st.sampled_from(DOCUMENTS))
    *way, last = data.draw(st.sampled_from(places(document)))
    document = at = copy.deepcopy(document)
    for word in way:
        at = at[word]
    at[last] = data.draw(JSON)
    told = "."
    try:
        read_document("head.glb", container(document, buffer))
    except HeadArtistError as refused:
        told = str(refused)
    assert "\n" not in told
    assert told.endswith(".")


# -- files, before they are read --


def test_a_vrm_is_a_glb(tmp_path: Path):
    path = tmp_path / "avatar.VRM"
    path.write_bytes(ball().glb())
    assert view([path]) == tmp_path / "avatar.html"


def test_files_that_no_browser_could_open_are_refused_unread(tmp_path: Path, capsys):
    for name in ("one.glb", "two.glb"):
        with (tmp_path / name).open("wb") as file:
            file.truncate(300_000_000)
    both = [str(tmp_path / "one.glb"), str(tmp_path / "two.glb")]
    assert cli.run(["view", *both]) == 2
    assert "would make a page of 800 MB, and browsers open 500 MB: view fewer heads at once" in capsys.readouterr().err
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.skipif(os.name == "nt", reason="Windows has neither")
def test_only_regular_files_are_read(tmp_path: Path, capsys):
    os.mkfifo(tmp_path / "pipe.glb")
    (tmp_path / "endless.glb").symlink_to("/dev/zero")
    for name in ("pipe.glb", "endless.glb"):
        assert cli.run(["view", str(tmp_path / name)]) == 2
        assert f"{name} is neither a Head folder nor a .glb file" in capsys.readouterr().err
    for name in ("config.json", "provenance.json", "head.glb"):
        folder = tmp_path / name.partition(".")[0]
        folder.mkdir()
        os.mkfifo(folder / name)
        assert cli.run(["view", str(folder)]) == 2
        assert f"{name} is not a regular file: move it away" in capsys.readouterr().err


# -- in a browser --


@needs_browser
def test_the_page_takes_every_extension_that_its_loader_knows():
    loader = (WORKSHOP / "node_modules/three/examples/jsm/loaders/GLTFLoader.js").read_text(encoding="utf-8")
    table = loader.partition("const EXTENSIONS = {")[2].partition("}")[0]
    known = {line.split("'")[1] for line in table.splitlines() if "'" in line}
    assert known - SHOWN == {"KHR_binary_glTF", DRACO, KTX2}
    assert known > SHOWN


def lopsided(**parts: Any) -> Model:
    """A ball and a small one on its left, as its viewer sees it on the right."""
    model = balls([], [])
    model.document |= parts | {"nodes": [{"mesh": 0}, {"mesh": 1, "scale": [0.5, 0.5, 0.5]}]}
    return model


def meshopt(tmp_path: Path, extension: str) -> bytes:
    plain, squeezed = tmp_path / "plain.glb", tmp_path / f"{extension}.glb"
    plain.write_bytes(ball().glb())
    subprocess.run(["node", "compress.js", plain, squeezed, extension], cwd=WORKSHOP, check=True)
    return squeezed.read_bytes()


def nowhere() -> bytes:
    model = ball()
    model.buffer.data = struct.pack("<f", float("nan")).ljust(4) * (len(model.buffer.data) // 4)
    return model.glb()


LONG = "x" * 999
NAMES = ["eyeBlink_L", "Mesh.eyeBlinkRight", "EyeWideLeft", "viseme_aa", "<b>x</b>", None, "", "same", "same"]
SHAPES = ["eyeBlinkLeft", "eyeBlinkRight", "eyeWideLeft", "viseme_aa", "<b>x</b>", "shape 6", "shape 7", "same"]
NAMES += [LONG, "\ud800"]
SHAPES += ["same (2)", LONG, "\ud800"]


@pytest.fixture(scope="module")
def seen(tmp_path_factory) -> dict[str, dict[str, Any]]:
    """What the browser shows of each file."""
    folder = tmp_path_factory.mktemp("pages")
    files = {name: make().glb() for name, make in (ONE_BALL | TWO_BALLS).items()}
    files |= {name: meshopt(folder, name) for name in MESHOPT}
    files |= {"lopsided": lopsided().glb(), "VRM 0": lopsided(extensions={"VRM": {}}).glb(), "nowhere": nowhere()}
    squeezed = files[MESHOPT[0]]
    files["torn"] = squeezed[:-64] + bytes(64)
    files["named"] = bytes_of(balls(NAMES), asset={"version": "2.0", "extras": {"prompt": "<b>a\ud800</b>"}})
    files["still"] = still().glb()
    files["no faces"] = balls(["viseme_aa"]).glb()
    pages = []
    for name, glb in files.items():
        (folder / f"{name}.glb").write_bytes(glb)
        pages.append(view([folder / f"{name}.glb"]))
    ended = subprocess.run(["node", "look.js", *pages], cwd=WORKSHOP, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return dict(zip(files, json.loads(ended.stdout), strict=True))


@needs_browser
@pytest.mark.parametrize("name", [*ONE_BALL, *TWO_BALLS, *MESHOPT])
def test_what_others_write_is_seen_whole_and_moves(seen, name: str):
    """Centred and as large as its plain twin; alone the animation's controls take some of its room."""
    shown = seen[name]
    assert shown["words"] == []
    assert shown["complaints"] == [] or name == "with a broken picture"
    twin = seen["two" if name in TWO_BALLS else "plain"]
    if name != "animated":
        assert shown["box"] == pytest.approx(twin["box"], abs=0.01)
    assert shown["sliders"] == ([] if name == "instanced" else ["jawOpen"])
    assert all(share > 0.005 for move, share in shown["moves"].items() if move != "Neutral")


@needs_browser
def test_shapes_of_one_name_move_together(seen):
    one, two = seen["plain"]["moves"]["jawOpen"], seen["two"]["moves"]["jawOpen"]
    assert two > 1.5 * one


@needs_browser
def test_heads_of_the_first_vrm_are_turned_to_the_viewer(seen):
    there, back = seen["lopsided"], seen["VRM 0"]
    assert there["mass"][0] < 0.48
    assert back["mass"][0] - 0.5 == pytest.approx(0.5 - there["mass"][0], abs=0.01)


@needs_browser
def test_what_a_page_only_finds_out_by_itself_is_told_in_words(seen):
    assert seen["nowhere"]["words"] == [
        "This head cannot be shown: its vertices lie at places that are no finite numbers."
    ]
    (told,) = seen["torn"]["words"]
    assert told.startswith("This head cannot be shown: its file is damaged, or holds what this page cannot read (")


@needs_browser
def test_every_named_shape_has_a_slider_that_moves_it(seen):
    shown = seen["named"]
    assert shown["complaints"] == []
    assert sorted(shown["sliders"]) == sorted(SHAPES)
    assert all(shown["moves"][name] > 0.005 for name in shown["sliders"])
    assert shown["groups"]["Eyes"] == SHAPES[:3]
    assert shown["wide"] is False


@needs_browser
def test_a_shape_that_leaves_a_surface_alone_moves_nothing(seen):
    assert seen["still"]["complaints"] == []
    moves = seen["still"]["moves"]
    assert moves["still"] == 0
    assert moves["jawOpen"] > 0.005


@needs_browser
def test_ready_faces_hide_where_they_move_nothing(seen):
    assert seen["named"]["faces"] == ["Neutral", "Blink", "Surprised"]
    assert seen["plain"]["faces"] == ["Neutral", "Open", "Surprised"]
    assert seen["no faces"]["faces"] == []
    assert seen["instanced"]["faces"] == []
