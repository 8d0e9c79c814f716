"""GLB: one file with the mesh, its normals, its texture, its rig and where it came from (glTF 2.0)."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from headartist.export.glb_rig import animated, morph_targets, skinned
from headartist.export.gltf import (
    ARRAY_BUFFER,
    CLAMP_TO_EDGE,
    ELEMENT_ARRAY_BUFFER,
    LINEAR,
    LINEAR_MIPMAP_LINEAR,
    Binary,
    container,
)
from headartist.export.pictures import png_bytes
from headartist.export.rig import Rig
from headartist.export.uv import UvAtlas
from headartist.files import replacing
from headartist.geometry.mesh import Mesh
from headartist.version import package_version


def write_glb(
    path: Path | str,
    mesh: Mesh,
    atlas: UvAtlas,
    texture: Float[Tensor, "3 h w"],
    *,
    rig: Rig | None = None,
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
        rig: of this very mesh: morph targets under ARKit's names, a skin, and a demonstration of three seconds.
        name: name of the node, mesh and material in the file.
        extras: what to record in `asset.extras` (prompt, seed, ...); anything that JSON can hold.
    """
    used = atlas.source
    uv = torch.stack([atlas.uv[:, 0], 1.0 - atlas.uv[:, 1]], dim=-1)
    binary = Binary()
    attributes = {
        "POSITION": binary.add_array(_float32(mesh.verts[used]), "VEC3", ARRAY_BUFFER, bounds=True),
        "NORMAL": binary.add_array(_float32(unit_normals(mesh)[used]), "VEC3", ARRAY_BUFFER),
        "TEXCOORD_0": binary.add_array(_float32(uv), "VEC2", ARRAY_BUFFER),
    }
    indices = binary.add_array(atlas.faces.cpu().numpy().astype("<u4").reshape(-1), "SCALAR", ELEMENT_ARRAY_BUFFER)
    image = binary.add_view(png_bytes(texture))
    primitive: dict[str, object] = {"attributes": attributes, "indices": indices, "material": 0}
    head: dict[str, object] = {"name": name, "primitives": [primitive]}
    nodes: list[dict[str, object]] = [{"name": name, "mesh": 0}]
    roots: list[int] = [0]
    moving: dict[str, object] = {}
    if rig is not None:
        primitive["targets"] = morph_targets(binary, rig, used)
        head |= {"weights": [0.0] * len(rig.shape_names), "extras": {"targetNames": list(rig.shape_names)}}
        roots, moving = skinned(binary, rig, used, nodes, attributes)
        moving |= animated(binary, rig)
    asset: dict[str, object] = {"version": "2.0", "generator": f"headartist {package_version()}"}
    document = {
        "asset": asset | ({"extras": dict(extras)} if extras else {}),
        "scene": 0,
        "scenes": [{"nodes": roots}],
        "nodes": nodes,
        "meshes": [head],
        **_textured(name, image),
        **moving,
        "accessors": binary.accessors,
        "bufferViews": binary.views,
        "buffers": [{"byteLength": len(binary.data)}],
    }
    with replacing(path) as draft:
        draft.write_bytes(container(document, bytes(binary.data)))


def _textured(name: str, image: int) -> dict[str, object]:
    """The document's one material, whose colour is the image in a view of the binary chunk."""
    filters = {"magFilter": LINEAR, "minFilter": LINEAR_MIPMAP_LINEAR, "wrapS": CLAMP_TO_EDGE, "wrapT": CLAMP_TO_EDGE}
    return {
        "materials": [{"name": name, "pbrMetallicRoughness": SKIN}],
        "textures": [{"source": 0, "sampler": 0}],
        "samplers": [filters],
        "images": [{"name": name, "mimeType": "image/png", "bufferView": image}],
    }


# Not a metal, and as dull as skin and hair: the learned colours hold their own soft shading already.
SKIN = {"baseColorTexture": {"index": 0}, "metallicFactor": 0.0, "roughnessFactor": 0.8}


def unit_normals(mesh: Mesh) -> Float[Tensor, "v 3"]:
    """Vertex normals of length one everywhere: where a fold leaves none, it points up."""
    normals = mesh.vertex_normals()
    up = torch.tensor([0.0, 1.0, 0.0], dtype=normals.dtype, device=normals.device)
    return torch.where(normals.norm(dim=-1, keepdim=True) > 0.5, normals, up)


def _float32(values: Tensor) -> np.ndarray:
    return values.detach().cpu().numpy().astype("<f4")
