"""Which GLB files a page can show: opened within bounds of time and memory, refused in one sentence. No torch."""

import json
import struct
from collections.abc import Iterator
from itertools import chain
from typing import Any, Never
from urllib.parse import unquote

from headartist.system.errors import HeadArtistError

# What `tools/viewer` unpacks. Without what a file only uses, and does not require, it is shown all the same.
SHOWN = frozenset(
    {
        "EXT_materials_bump",
        "EXT_mesh_gpu_instancing",
        "EXT_meshopt_compression",
        "EXT_texture_avif",
        "EXT_texture_webp",
        "KHR_lights_punctual",  # read, then left out: the page has a lamp of its own
        "KHR_materials_anisotropy",
        "KHR_materials_clearcoat",
        "KHR_materials_diffuse_roughness",
        "KHR_materials_dispersion",
        "KHR_materials_emissive_strength",
        "KHR_materials_ior",
        "KHR_materials_iridescence",
        "KHR_materials_sheen",
        "KHR_materials_specular",
        "KHR_materials_transmission",
        "KHR_materials_unlit",
        "KHR_materials_volume",
        "KHR_mesh_quantization",
        "KHR_meshopt_compression",
        "KHR_texture_transform",
    }
)
LARGEST_JSON = 50_000_000  # bytes; a head's takes some ten thousand
LARGEST_UNPACKED = 2**30  # bytes that a file asks for and does not hold: zeros, and what is compressed
MOST_NAMED = 9  # extensions in one sentence
DEEPEST = 1_000  # nodes within nodes, which browsers visit recursively

_DRACO = "KHR_draco_mesh_compression"
_MESHOPT = ("EXT_meshopt_compression", "KHR_meshopt_compression")
_PICTURE_EXTENSIONS = ("EXT_texture_avif", "EXT_texture_webp")
_PICTURES = frozenset(f"image/{kind}" for kind in ("png", "jpeg", "jpg", "webp", "avif", "gif", "bmp"))
_REMEDIES = {
    _DRACO: "without Draco compression (`gltf-transform copy IN OUT`, or Blender's export with Compression off)",
    "KHR_texture_basisu": "with PNG or JPEG pictures instead of KTX2 (`gltf-transform ktxdecompress IN OUT`)",
}
_MISMADE = "write it again as binary glTF 2.0 with everything inside."
_JSON_CHUNK, _BINARY_CHUNK = 0x4E4F534A, 0x004E4942
_SURFACES = (4, 5, 6)  # triangles, strips and fans of them
_COMPONENT_BYTES = {5120: 1, 5121: 1, 5122: 2, 5123: 2, 5125: 4, 5126: 4}
_COMPONENTS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT2": 4, "MAT3": 9, "MAT4": 16}
_REFERENCES = (
    ("images", "bufferView", "bufferViews"),
    ("textures", "source", "images"),
    ("nodes", "mesh", "meshes"),
    ("nodes", "skin", "skins"),
    ("skins", "joints", "nodes"),
    ("skins", "inverseBindMatrices", "accessors"),
)

Item = dict[str, Any]


class _Damage(ValueError):
    """What about a file does not fit together."""


def read_document(name: str, glb: bytes) -> Item:
    """Read the JSON of a GLB (glTF 2.0, section 4.4) that a page can show by itself.

    Args:
        name: what messages call the file.
        glb: its content.

    Raises:
        HeadArtistError: when it is damaged, no GLB at all, refers to other files, needs what the page cannot do, or
            holds no surface.
    """
    try:
        document, held = _unpack(glb)
        complaint = next(_complaints(document, held), None)
    except _Damage as damage:
        complaint = f"is damaged or not a GLB ({damage}): {_MISMADE}"
    except (struct.error, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        complaint = f"is damaged or not a GLB: {_MISMADE}"
    if complaint:
        raise HeadArtistError(f"{name} {complaint}")
    return document


def _unpack(glb: bytes) -> tuple[Item, int]:
    """Take out the JSON, and how many bytes the binary chunk holds."""
    magic, version, length, size, kind = struct.unpack_from("<4sIIII", glb)
    if (magic, version, kind, length) != (b"glTF", 2, _JSON_CHUNK, len(glb)):
        raise ValueError
    rest = length - 20 - size
    if rest < 0 or size > LARGEST_JSON:
        raise _Damage(f"its JSON takes {size} bytes of {min(length - 20, LARGEST_JSON)}")
    document = json.loads(glb[20 : 20 + size].decode("utf-8-sig"), parse_constant=_no_number)
    if not document["asset"]["version"].startswith("2."):
        raise _Damage(f"its version of glTF is {document['asset']['version']!r:.20}")
    held, kind = struct.unpack_from("<II", glb, 20 + size) if rest >= 8 else (0, _BINARY_CHUNK)
    return document, min(held, rest - 8) if kind == _BINARY_CHUNK else 0


def _no_number(word: str) -> Never:
    raise _Damage(f"{word} is no JSON")


def _complaints(document: Item, held: int) -> Iterator[str]:
    """Say what follows a file's name in the sentence that refuses it; the first says it best."""
    yield from _strangers(document)
    yield from _extensions(document)
    _check_references(document)
    _check_data(document, held)
    yield from _pictures(document)
    if not any(_is_surface(document, node) for node in _shown_nodes(document)):
        what = "no triangles in any scene, only points, lines or nothing" if document.get("meshes") else "no mesh"
        yield f"holds {what}: give a GLB with the surface of a head."


# -- what the page cannot do --


def _strangers(document: Item) -> Iterator[str]:
    for item in chain(_items(document, "buffers"), _items(document, "images")):
        link = item.get("uri", "data:")
        if not link.startswith("data:"):
            yield f"refers to another file, {unquote(link)!r:.200}: {_MISMADE}"


def _extensions(document: Item) -> Iterator[str]:
    needed = [name for name in document.get("extensionsRequired", []) if name not in SHOWN][:MOST_NAMED]
    if _DRACO not in needed and any(_only_draco(document, primitive) for primitive in _primitives(document)):
        needed.append(_DRACO)
    if needed:
        names = " and ".join(f"{name!r:.80}" for name in needed)
        ways = dict.fromkeys(_REMEDIES.get(name, f"without {name!r:.80}") for name in needed)
        yield f"needs {names}, which the page cannot show: save it again {' and '.join(ways)}."


def _only_draco(document: Item, primitive: Item) -> bool:
    """Whether a surface lies nowhere but in its Draco stream."""
    if _DRACO not in primitive.get("extensions", {}):
        return False
    found = [_at(document, "accessors", index) for index in primitive["attributes"].values()]
    return not all({"bufferView", "sparse"} & accessor.keys() for accessor in found)


def _pictures(document: Item) -> Iterator[str]:
    """Textures of which no picture is one that browsers show."""
    for texture in _items(document, "textures"):
        extensions = texture.get("extensions", {})
        sources = [texture, *(extensions[name] for name in _PICTURE_EXTENSIONS if name in extensions)]
        kinds = [_kind(_at(document, "images", source["source"])) for source in sources if "source" in source]
        if not any(kind in _PICTURES for kind in kinds):
            what = f"is {kinds[0]!r:.40}" if kinds else f"lies in {', '.join(extensions) or 'no file'!r:.80}"
            yield f"has a picture that {what}, which the page cannot show: save it again with PNG or JPEG pictures."


def _kind(image: Item) -> str:
    # Browsers look for themselves where nothing is said.
    said: str = image.get("mimeType") or image.get("uri", "data:image/png").removeprefix("data:")
    return said.partition(",")[0].partition(";")[0].lower()


# -- what does not fit together --


def _check_references(document: Item) -> None:
    for owner, key, owned in _REFERENCES:
        for item in _items(document, owner):
            value = item.get(key, [])
            for index in value if isinstance(value, list) else [value]:
                _at(document, owned, index)
    for primitive in _primitives(document):
        for attributes in (primitive["attributes"], *_items(primitive, "targets")):
            for index in (*attributes.values(), primitive.get("indices", 0)):
                _at(document, "accessors", index)


def _check_data(document: Item, held: int) -> None:
    """Every stretch of data lies in what it is a stretch of, and what is unpacked has its bounds."""
    unpacked = 0
    for view in _items(document, "bufferViews"):
        packed = next((way for name, way in view.get("extensions", {}).items() if name in _MESHOPT), None)
        for stretch in (view, packed) if packed else (view,):
            buffer = _at(document, "buffers", stretch["buffer"])
            inside = "uri" not in buffer and _whole(stretch["buffer"]) == 0
            end = _whole(stretch.get("byteOffset", 0)) + _whole(stretch["byteLength"])
            _check_end("a bufferView", end, held if inside else _whole(buffer["byteLength"]))
        unpacked += _whole(packed["count"]) * _whole(packed["byteStride"]) if packed else 0
    for accessor in _items(document, "accessors"):
        count, each = _whole(accessor["count"]), _COMPONENT_BYTES[accessor["componentType"]]
        each *= _COMPONENTS[accessor["type"]]
        if "bufferView" in accessor:
            stride = _whole(_at(document, "bufferViews", accessor["bufferView"]).get("byteStride", each))
            _check_read(document, accessor, stride * (count - 1) + each if count else 0)
        else:
            unpacked += count * each
        if sparse := accessor.get("sparse"):
            changed, indices = _whole(sparse["count"]), sparse["indices"]
            _check_read(document, indices, changed * _COMPONENT_BYTES[indices["componentType"]])
            _check_read(document, sparse["values"], changed * each)
    if unpacked > LARGEST_UNPACKED:
        raise _Damage(f"it asks for {unpacked / 1e9:.3g} GB that it does not hold")


def _check_read(document: Item, reader: Item, size: int) -> None:
    view = _at(document, "bufferViews", reader["bufferView"])
    _check_end("an accessor", _whole(reader.get("byteOffset", 0)) + size, _whole(view["byteLength"]))


def _check_end(what: str, end: int, size: int) -> None:
    if end > size:
        raise _Damage(f"{what} ends at byte {end} of {size}")


def _shown_nodes(document: Item) -> list[Item]:
    """Find the nodes of all scenes, or all nodes where there is no scene."""
    nodes, scenes = _items(document, "nodes"), _items(document, "scenes")
    children = [[_index(child, len(nodes)) for child in node.get("children", [])] for node in nodes]
    inner = list(chain.from_iterable(children))
    forest = list(_levels(sorted(set(range(len(nodes))).difference(inner)), children))
    if len(set(inner)) < len(inner) or sum(map(len, forest)) < len(nodes):
        raise _Damage("its nodes form no tree")
    if len(forest) > DEEPEST:
        raise _Damage(f"its nodes lie {len(forest)} deep in each other")
    starts = {_index(node, len(nodes)) for scene in scenes for node in scene.get("nodes", [])}
    shown = chain.from_iterable(_levels(sorted(starts), children) if scenes else forest)
    return [nodes[k] for k in shown]


def _levels(level: list[int], children: list[list[int]]) -> Iterator[list[int]]:
    while level:
        yield level
        level = [child for node in level for child in children[node]]


def _is_surface(document: Item, node: Item) -> bool:
    if "mesh" not in node:
        return False
    primitives = _items(_at(document, "meshes", node["mesh"]), "primitives")
    solid = (one["attributes"] for one in primitives if one.get("mode", _SURFACES[0]) in _SURFACES)
    return any("POSITION" in one and _at(document, "accessors", one["POSITION"])["count"] for one in solid)


# -- reading what anybody may have written --


def _items(item: Item, name: str) -> list[Item]:
    items = item.get(name, [])
    if not (isinstance(items, list) and all(isinstance(one, dict) for one in items)):
        raise _Damage(f"its {name} are no list of objects")
    return items


def _primitives(document: Item) -> Iterator[Item]:
    for mesh in _items(document, "meshes"):
        yield from _items(mesh, "primitives")


def _at(document: Item, name: str, index: object) -> Item:
    items: list[Item] = document.get(name, [])
    return items[_index(index, len(items))]


def _index(value: object, count: int) -> int:
    k = _whole(value)
    if k >= count:
        raise _Damage(f"it names number {k} of {count}")
    return k


def _whole(value: object) -> int:
    """Read a count, a place or a size; some write 3.0 for 3."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 2**53 or value % 1:
        raise _Damage(f"{value!r:.40} is no count")
    return int(value)
