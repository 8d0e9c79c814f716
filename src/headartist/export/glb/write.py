"""GLB: a head in one file (glTF 2.0).

With the mesh, its normals, its texture, its rig and where it came from.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from headartist.export.glb.document import (
    ARRAY_BUFFER,
    CLAMP_TO_EDGE,
    ELEMENT_ARRAY_BUFFER,
    LINEAR,
    LINEAR_MIPMAP_LINEAR,
    Binary,
    container,
)
from headartist.export.glb.rig import animated, morph_targets, skinned
from headartist.export.material import ROUGHNESS, MaterialMaps
from headartist.export.normal_map import tangents
from headartist.export.pictures import png_bytes
from headartist.export.rig.rig import Rig
from headartist.export.surface import unit_normals
from headartist.export.uv import UvAtlas
from headartist.geometry.mesh import Mesh
from headartist.system.files import replacing
from headartist.system.version import package_version


def write_glb(
    path: Path | str,
    mesh: Mesh,
    atlas: UvAtlas,
    material: MaterialMaps,
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
        material: its pictures, embedded as PNG; tangents are written where there is a normal map.
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
    if material.normal is not None:
        attributes["TANGENT"] = binary.add_array(_float32(tangents(mesh, atlas)), "VEC4", ARRAY_BUFFER)
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
        **_painted(binary, name, material),
        **moving,
        "accessors": binary.accessors,
        "bufferViews": binary.views,
        "buffers": [{"byteLength": len(binary.data)}],
    }
    with replacing(path) as draft:
        draft.write_bytes(container(document, bytes(binary.data)))


def _painted(binary: Binary, name: str, material: MaterialMaps) -> dict[str, object]:
    """Describe the document's one material.

    Its pictures are images in the binary chunk.
    """
    images: list[dict[str, object]] = []

    def texture(kind: str, picture: Float[Tensor, "3 h w"]) -> dict[str, int]:
        images.append({"name": kind, "mimeType": "image/png", "bufferView": binary.add_view(png_bytes(picture))})
        return {"index": len(images) - 1}

    surface: dict[str, object] = {"baseColorTexture": texture(name, material.color), "metallicFactor": 0.0}
    relief: dict[str, object] = {}
    if material.roughness is None:
        surface["roughnessFactor"] = ROUGHNESS
    else:  # in glTF green is roughness and blue metal, here times 0
        grey = material.roughness.expand(3, -1, -1)
        surface["metallicRoughnessTexture"] = texture("roughness", grey)
    if material.normal is not None:
        relief["normalTexture"] = texture("normal", material.normal)
    filters = {"magFilter": LINEAR, "minFilter": LINEAR_MIPMAP_LINEAR, "wrapS": CLAMP_TO_EDGE, "wrapT": CLAMP_TO_EDGE}
    return {
        "materials": [{"name": name, "pbrMetallicRoughness": surface, **relief}],
        "textures": [{"source": k, "sampler": 0} for k in range(len(images))],
        "samplers": [filters],
        "images": images,
    }


def _float32(values: Tensor) -> np.ndarray:
    return values.detach().cpu().numpy().astype("<f4")
