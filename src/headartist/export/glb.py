"""GLB: one file with the mesh, its normals, its texture and where it came from (glTF 2.0)."""

import json
import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from headartist.export.pictures import png_bytes
from headartist.export.uv import UvAtlas
from headartist.files import replacing
from headartist.geometry.mesh import Mesh
from headartist.version import package_version

# Numbers of the glTF 2.0 specification (and of OpenGL, where they come from).
FLOAT, UNSIGNED_INT = 5126, 5125
ARRAY_BUFFER, ELEMENT_ARRAY_BUFFER = 34962, 34963
LINEAR, LINEAR_MIPMAP_LINEAR, CLAMP_TO_EDGE = 9729, 9987, 33071
JSON_CHUNK, BINARY_CHUNK = 0x4E4F534A, 0x004E4942


def write_glb(
    path: Path | str,
    mesh: Mesh,
    atlas: UvAtlas,
    texture: Float[Tensor, "3 h w"],
    *,
    name: str = "head",
    extras: Mapping[str, object] | None = None,
) -> None:
    """Write a textured head as binary glTF.

    Our world is glTF's: right-handed, y up, the front towards +z. Only v differs: glTF counts it downwards.

    Args:
        path: the file, replaced whole.
        mesh: the surface.
        atlas: its texture coordinates.
        texture: sRGB colours in [0, 1], embedded as PNG.
        name: name of the node, mesh and material in the file.
        extras: what to record in `asset.extras` (prompt, seed, ...); anything that JSON can hold.
    """
    used = atlas.source
    uv = torch.stack([atlas.uv[:, 0], 1.0 - atlas.uv[:, 1]], dim=-1)
    binary = _Binary()
    attributes = {
        "POSITION": binary.add_array(_float32(mesh.verts[used]), "VEC3", ARRAY_BUFFER, bounds=True),
        "NORMAL": binary.add_array(_float32(unit_normals(mesh)[used]), "VEC3", ARRAY_BUFFER),
        "TEXCOORD_0": binary.add_array(_float32(uv), "VEC2", ARRAY_BUFFER),
    }
    indices = binary.add_array(atlas.faces.cpu().numpy().astype("<u4").reshape(-1), "SCALAR", ELEMENT_ARRAY_BUFFER)
    image = binary.add_view(png_bytes(texture))
    asset: dict[str, object] = {"version": "2.0", "generator": f"headartist {package_version()}"}
    document = {
        "asset": asset | ({"extras": dict(extras)} if extras else {}),
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"name": name, "mesh": 0}],
        "meshes": [{"name": name, "primitives": [{"attributes": attributes, "indices": indices, "material": 0}]}],
        "materials": [{"name": name, "pbrMetallicRoughness": SKIN}],
        "textures": [{"source": 0, "sampler": 0}],
        "samplers": [
            {"magFilter": LINEAR, "minFilter": LINEAR_MIPMAP_LINEAR, "wrapS": CLAMP_TO_EDGE, "wrapT": CLAMP_TO_EDGE}
        ],
        "images": [{"name": name, "mimeType": "image/png", "bufferView": image}],
        "accessors": binary.accessors,
        "bufferViews": binary.views,
        "buffers": [{"byteLength": len(binary.data)}],
    }
    with replacing(path) as draft:
        draft.write_bytes(_container(document, bytes(binary.data)))


# Not a metal, and as dull as skin and hair: the learned colours hold their own soft shading already.
SKIN = {"baseColorTexture": {"index": 0}, "metallicFactor": 0.0, "roughnessFactor": 0.8}


def unit_normals(mesh: Mesh) -> Float[Tensor, "v 3"]:
    """Vertex normals of length one everywhere: where a fold leaves none, it points up."""
    normals = mesh.vertex_normals()
    up = torch.tensor([0.0, 1.0, 0.0], dtype=normals.dtype, device=normals.device)
    return torch.where(normals.norm(dim=-1, keepdim=True) > 0.5, normals, up)


class _Binary:
    """The binary chunk under construction, with the views and accessors that describe it."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.views: list[dict[str, object]] = []
        self.accessors: list[dict[str, object]] = []

    def add_view(self, content: bytes, target: int | None = None) -> int:
        """Append bytes, 4-aligned, and return the number of their view."""
        view: dict[str, object] = {"buffer": 0, "byteOffset": len(self.data), "byteLength": len(content)}
        self.views.append(view | ({"target": target} if target else {}))
        self.data += content + b"\0" * (-len(content) % 4)
        return len(self.views) - 1

    def add_array(self, array: np.ndarray, kind: str, target: int, *, bounds: bool = False) -> int:
        """Append an array of float32 or uint32 and return the number of its accessor."""
        accessor = {
            "bufferView": self.add_view(array.tobytes(), target),
            "componentType": FLOAT if array.dtype.kind == "f" else UNSIGNED_INT,
            "count": len(array),
            "type": kind,
        }
        if bounds:
            accessor |= {"min": array.min(axis=0).tolist(), "max": array.max(axis=0).tolist()}
        self.accessors.append(accessor)
        return len(self.accessors) - 1


def _float32(values: Tensor) -> np.ndarray:
    return values.detach().cpu().numpy().astype("<f4")


def _container(document: Mapping[str, object], binary: bytes) -> bytes:
    """The GLB layout: a 12-byte header, then a JSON and a binary chunk, each 4-aligned (glTF 2.0, section 4.4)."""
    text = json.dumps(document, separators=(",", ":"), allow_nan=False).encode()
    text += b" " * (-len(text) % 4)
    length = 12 + 8 + len(text) + 8 + len(binary)
    return b"".join(
        [
            struct.pack("<4sII", b"glTF", 2, length),
            struct.pack("<II", len(text), JSON_CHUNK),
            text,
            struct.pack("<II", len(binary), BINARY_CHUNK),
            binary,
        ]
    )
