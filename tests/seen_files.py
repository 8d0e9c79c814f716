"""What a mesh file shows: read back with the pictures it names, and drawn texel by texel."""

import functools
import json
import struct
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
import trimesh
from PIL import Image

from headartist.geometry.cameras import turntable
from headartist.render.rasterize import interpolate, rasterize

VIEWS = turntable(2, 10.0, 40.0, 3.0)
SIZE = 64


@dataclass(frozen=True)
class Surface:
    """Corners of triangles in the world and in a picture, f 3 c, v up; colours at them where there is no picture."""

    corners: np.ndarray
    uv: np.ndarray | None
    picture: bytes | None
    colours: np.ndarray | None = None


def shown(path: Path) -> torch.Tensor:
    """Two views of a mesh file, b 3 h w in [0, 1] before grey."""
    surface = READERS[path.suffix](path)
    corners = torch.from_numpy(np.ascontiguousarray(surface.corners, dtype=np.float32))
    faces = torch.arange(3 * len(corners)).view(-1, 3)
    clip = torch.nn.functional.pad(corners.view(-1, 3), (0, 1), value=1.0) @ VIEWS.clip_from_world.transpose(1, 2)
    fragments = rasterize(clip, faces, SIZE)
    covered = (fragments.face >= 0)[:, None]
    if surface.uv is None:
        colours = torch.from_numpy(np.ascontiguousarray(surface.colours, dtype=np.float32)).view(-1, 3)
        seen = interpolate(colours, fragments, faces).permute(0, 3, 1, 2)
    else:
        uv = torch.from_numpy(np.ascontiguousarray(surface.uv, dtype=np.float32)).view(-1, 2)
        place = interpolate(uv, fragments, faces) * torch.tensor([2.0, -2.0]) + torch.tensor([-1.0, 1.0])
        texture = _decoded(surface.picture).expand(len(VIEWS), -1, -1, -1)
        seen = torch.nn.functional.grid_sample(texture, place, align_corners=False, padding_mode="border")
    return torch.where(covered, seen, 0.5)


@functools.cache
def _decoded(picture: bytes) -> torch.Tensor:
    pixels = np.asarray(Image.open(BytesIO(picture)).convert("RGB"), dtype=np.float32) / 255
    return torch.from_numpy(pixels).permute(2, 0, 1)


def _read_obj(path: Path) -> Surface:
    rows: dict[str, list[list[str]]] = {}
    for line in path.read_text().splitlines():
        word, *rest = line.split()
        rows.setdefault(word, []).append(rest)
    verts, uv = (np.array(rows[word], dtype=np.float32) for word in ("v", "vt"))
    corner = np.array([[index.split("/") for index in face] for face in rows["f"]], dtype=int) - 1
    lines = [line.split() for line in (path.parent / rows["mtllib"][0][0]).read_text().splitlines()]
    (picture,) = [words[1] for words in lines if words[0] == "map_Kd"]
    return Surface(verts[corner[..., 0]], uv[corner[..., 1]], (path.parent / picture).read_bytes())


def _read_glb(path: Path) -> Surface:
    content = path.read_bytes()
    (length,) = struct.unpack_from("<I", content, 12)
    document, binary = json.loads(content[20 : 20 + length]), content[28 + length :]

    def view(number: int) -> bytes:
        found = document["bufferViews"][number]
        return binary[found["byteOffset"] : found["byteOffset"] + found["byteLength"]]

    (primitive,) = document["meshes"][0]["primitives"]
    place, uv = (
        np.frombuffer(view(document["accessors"][primitive["attributes"][name]]["bufferView"]), "<f4")
        for name in ("POSITION", "TEXCOORD_0")
    )
    faces = np.frombuffer(view(document["accessors"][primitive["indices"]]["bufferView"]), "<u4").reshape(-1, 3)
    texture = document["materials"][0]["pbrMetallicRoughness"]["baseColorTexture"]["index"]
    image = document["images"][document["textures"][texture]["source"]]
    upwards = uv.reshape(-1, 2) * [1, -1] + [0, 1]
    return Surface(place.reshape(-1, 3)[faces], upwards[faces], view(image["bufferView"]))


def _read_usd(path: Path) -> Surface:
    from pxr import Usd

    stage = Usd.Stage.Open(str(path))
    stage.Reload()  # not what an earlier file of this name held
    surface = stage.GetPrimAtPath("/head/surface")
    points, corner, uv, uv_corner = (
        np.array(surface.GetAttribute(name).Get())
        for name in ("points", "faceVertexIndices", "primvars:st", "primvars:st:indices")
    )
    picture = stage.GetPrimAtPath("/head/material/colour").GetAttribute("inputs:file").Get().resolvedPath
    return Surface(points[corner.reshape(-1, 3)], uv[uv_corner.reshape(-1, 3)], Path(picture).read_bytes())


def _read_ply(path: Path) -> Surface:
    loaded = trimesh.load(path, process=False)
    colours = loaded.visual.vertex_colors[:, :3] / 255
    return Surface(np.asarray(loaded.triangles), None, None, colours[loaded.faces])


READERS = {".obj": _read_obj, ".glb": _read_glb, ".usd": _read_usd, ".ply": _read_ply}
