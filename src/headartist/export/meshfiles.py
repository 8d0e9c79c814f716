"""OBJ with pictures, and PLY with vertex colours.

The OBJ has its material too.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from headartist.export.material import ROUGHNESS, MaterialMaps, replacing_pictures
from headartist.export.surface import unit_normals
from headartist.export.texture import Color
from headartist.export.uv import UvAtlas
from headartist.geometry.mesh import Mesh
from headartist.system.files import replacing


def write_obj(path: Path | str, mesh: Mesh, atlas: UvAtlas, material: MaterialMaps) -> list[Path]:
    """Write an OBJ with its pictures.

    `NAME.obj` with `NAME.mtl` and `NAME.png` and so on beside it; returns the paths.

    Positions stay welded: only texture coordinates are split along the seams, so the file can be sculpted on.
    Roughness and normal map are stated as the PBR extension of MTL has it (`Pr`, `map_Pr`, `norm`).
    """
    path = Path(path)
    mtl = path.with_suffix(".mtl")
    corner = torch.stack([mesh.faces, atlas.faces, mesh.faces], dim=-1).reshape(-1, 9) + 1
    with (
        replacing_pictures(path.with_suffix(""), material) as pictures,
        replacing(mtl) as mtl_draft,
        replacing(path) as draft,
        draft.open("w") as file,
    ):
        mtl_draft.write_text(_mtl(pictures))
        file.write(f"mtllib {mtl.name}\no head\n")
        np.savetxt(file, _array(mesh.verts), "v %.6f %.6f %.6f")
        np.savetxt(file, _array(atlas.uv), "vt %.6f %.6f")
        np.savetxt(file, _array(unit_normals(mesh)), "vn %.4f %.4f %.4f")
        file.write("usemtl head\ns 1\n")
        np.savetxt(file, corner.cpu().numpy(), "f %d/%d/%d %d/%d/%d %d/%d/%d")
    return [path, mtl, *pictures.values()]


def _mtl(pictures: Mapping[str, Path]) -> str:
    # Blender looks for a normal map under map_Bump alone.
    keys = {"color": "map_Kd", "roughness": "map_Pr", "normal": "norm"}
    lines = ["newmtl head", "Ka 0 0 0", "Kd 1 1 1", "Ks 0 0 0", "illum 1", "Pm 0"]
    lines += [] if "roughness" in pictures else [f"Pr {ROUGHNESS:g}"]
    lines += [f"{keys[kind]} {picture.name}" for kind, picture in pictures.items()]
    lines += [f"map_Bump -bm 1 {pictures['normal'].name}"] if "normal" in pictures else []
    return "\n".join(lines) + "\n"


@torch.no_grad()
def write_ply(path: Path | str, mesh: Mesh, color_at: Color) -> None:
    """Write a binary PLY.

    With normals and 8-bit vertex colours; needs no texture coordinates.
    """
    colors = color_at(mesh.verts).clamp(0.0, 1.0).mul(255.0).round()
    corner = [(name, "<f4") for name in ("x", "y", "z", "nx", "ny", "nz")]
    vertex = np.empty(len(mesh.verts), dtype=[*corner, ("red", "u1"), ("green", "u1"), ("blue", "u1")])
    columns = _array(torch.cat([mesh.verts, unit_normals(mesh), colors.to(mesh.verts)], dim=-1))
    for k, name in enumerate(vertex.dtype.names or ()):
        vertex[name] = columns[:, k]
    face = np.empty(len(mesh.faces), dtype=[("count", "u1"), ("corners", "<i4", 3)])
    face["count"], face["corners"] = 3, mesh.faces.cpu().numpy()
    with replacing(path) as draft:
        draft.write_bytes(_ply_header(vertex, len(face)).encode() + vertex.tobytes() + face.tobytes())


def _ply_header(vertex: np.ndarray, face_count: int) -> str:
    assert vertex.dtype.fields is not None
    kinds = {"f": "float", "u": "uchar"}
    properties = [f"property {kinds[field[0].kind]} {name}" for name, field in vertex.dtype.fields.items()]
    return "\n".join(
        [
            "ply",
            "format binary_little_endian 1.0",
            f"element vertex {len(vertex)}",
            *properties,
            f"element face {face_count}",
            "property list uchar int vertex_indices",
            "end_header\n",
        ]
    )


def _array(values: Tensor) -> np.ndarray:
    return values.detach().cpu().numpy()
