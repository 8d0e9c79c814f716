"""GLBs to view: the open template with its 52 expressions, a picture and an animation; and small balls of any kind."""

import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from headartist.export.pictures import png_bytes
from headartist.heads.load import load_template

PALETTE = {
    "skin": (0.83, 0.62, 0.50),
    "eyes": (0.93, 0.91, 0.88),
    "teeth": (0.95, 0.92, 0.86),
    "tongue": (0.75, 0.38, 0.36),
    "lashes": (0.15, 0.11, 0.09),
}
FLOAT, UNSIGNED_INT = 5126, 5125
RINGS, SPOKES = 8, 12


class _Buffer:
    def __init__(self):
        self.data, self.views, self.accessors = b"", [], []

    def view(self, content: bytes) -> int:
        self.views.append({"buffer": 0, "byteOffset": len(self.data), "byteLength": len(content)})
        self.data += content + b"\0" * (-len(content) % 4)
        return len(self.views) - 1

    def array(self, values: np.ndarray, kind: str) -> int:
        values = values.astype("<f4" if values.dtype.kind == "f" else "<u4")
        flat = values.reshape(len(values), -1)
        accessor = {"bufferView": self.view(values.tobytes()), "count": len(values), "type": kind}
        accessor["componentType"] = FLOAT if values.dtype.kind == "f" else UNSIGNED_INT
        self.accessors.append(accessor | {"min": flat.min(axis=0).tolist(), "max": flat.max(axis=0).tolist()})
        return len(self.accessors) - 1


def write(path: Path, *, prompt: str = "an open head", seed: int = 7) -> Path:
    """Write the file and return its path."""
    template = load_template("open")
    faces, part = template.faces.numpy(), template.part.numpy()
    # Vertices are split where parts meet, so that each has the colour of one part.
    corners = np.stack([faces, part[:, None].repeat(3, axis=1)], axis=-1).reshape(-1, 2)
    pairs, corner = np.unique(corners, axis=0, return_inverse=True)
    normals = template.mesh().vertex_normals().numpy()
    buffer = _Buffer()
    u = (pairs[:, 1] + 0.5) / len(template.part_names)
    primitive = {
        "attributes": {
            "POSITION": buffer.array(template.verts.numpy()[pairs[:, 0]], "VEC3"),
            "NORMAL": buffer.array(normals[pairs[:, 0]], "VEC3"),
            "TEXCOORD_0": buffer.array(np.stack([u, np.full_like(u, 0.5)], -1), "VEC2"),
        },
        "indices": buffer.array(corner.reshape(-1), "SCALAR"),
        "targets": [
            {"POSITION": buffer.array(moved[pairs[:, 0]], "VEC3")} for moved in template.expression_basis.numpy()
        ],
        "material": 0,
    }
    colours = torch.tensor([PALETTE[name] for name in template.part_names]).T[:, None].contiguous()
    image = buffer.view(png_bytes(colours))
    times = np.array([0.0, 0.5, 1.0])
    weights = np.zeros((3, len(template.expression_names)))
    weights[1, template.expression_names.index("jawOpen")] = 1.0
    sampler = {"input": buffer.array(times, "SCALAR"), "output": buffer.array(weights.reshape(-1), "SCALAR")}
    document = {
        "asset": {"version": "2.0", "extras": {"prompt": prompt, "seed": seed, "headartist": "0.1.0"}},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [primitive], "extras": {"targetNames": list(template.expression_names)}}],
        "materials": [{"pbrMetallicRoughness": {"baseColorTexture": {"index": 0}, "metallicFactor": 0}}],
        "samplers": [{"magFilter": 9728, "minFilter": 9728, "wrapS": 33071, "wrapT": 33071}],
        "textures": [{"source": 0, "sampler": 0}],
        "images": [{"mimeType": "image/png", "bufferView": image}],
        "animations": [
            {
                "samplers": [sampler | {"interpolation": "LINEAR"}],
                "channels": [{"sampler": 0, "target": {"node": 0, "path": "weights"}}],
            }
        ],
        "accessors": buffer.accessors,
        "bufferViews": buffer.views,
        "buffers": [{"byteLength": len(buffer.data)}],
    }
    path.write_bytes(container(document, buffer.data))
    return path


@dataclass
class Model:
    """A GLB in the making: its document, to be changed at will, and its data."""

    document: dict[str, Any]
    buffer: _Buffer = field(default_factory=_Buffer)

    def whole(self) -> dict[str, Any]:
        """The document with what it says of its data, or else what there is."""
        found = {"accessors": self.buffer.accessors, "bufferViews": self.buffer.views}
        return found | {"buffers": [{"byteLength": len(self.buffer.data)}]} | self.document

    def glb(self) -> bytes:
        """The file."""
        return container(self.whole(), self.buffer.data)

    @property
    def primitive(self) -> dict[str, Any]:
        """The first surface of the first mesh."""
        return self.document["meshes"][0]["primitives"][0]


def balls(*names: Sequence[object], scale: float = 1.0, offset: float = 0.0) -> Model:
    """Make a model of balls side by side, one a mesh, each with a shape for each of its names.

    Args:
        names: of each ball's shapes, as its mesh's `extras.targetNames`; shape k pushes spoke k outwards.
        scale: radius of a ball.
        offset: how far the first ball's centre lies from the origin along each axis.
    """
    model = Model({"asset": {"version": "2.0"}, "scene": 0, "scenes": [{"nodes": list(range(len(names)))}]})
    model.document |= {"nodes": [{"mesh": k} for k in range(len(names))], "meshes": []}
    polar, turn = np.meshgrid(np.linspace(0.01, np.pi - 0.01, RINGS), np.arange(SPOKES) / SPOKES * 2 * np.pi)
    normals = np.stack([np.sin(polar) * np.cos(turn), np.sin(polar) * np.sin(turn), np.cos(polar)], -1).reshape(-1, 3)
    spoke, ring = np.meshgrid(np.arange(SPOKES), np.arange(RINGS - 1), indexing="ij")
    after = (spoke + 1) % SPOKES * RINGS + ring
    corners = np.stack(
        [spoke * RINGS + ring, spoke * RINGS + ring + 1, after, after, spoke * RINGS + ring + 1, after + 1]
    )
    faces = model.buffer.array(np.moveaxis(corners, 0, -1).reshape(-1), "SCALAR")
    for k, own in enumerate(names):
        places = (normals + np.array([2.2 * k, 0, 0])) * scale + offset
        spokes = np.arange(len(normals))[:, None] // RINGS
        pushes = ((spokes == j % SPOKES) * normals * scale / 2 for j in range(len(own)))
        primitive = {"attributes": {"POSITION": model.buffer.array(places, "VEC3")}, "indices": faces}
        primitive["targets"] = [{"POSITION": model.buffer.array(push, "VEC3")} for push in pushes]
        model.document["meshes"].append({"primitives": [primitive], "extras": {"targetNames": list(own)}})
        if not own:
            del primitive["targets"], model.document["meshes"][k]["extras"]
    return model


def container(document: object, binary: bytes = b"") -> bytes:
    """The GLB layout around a document."""
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<II", len(text), 0x4E4F534A) + text
    if binary:
        chunks += struct.pack("<II", len(binary), 0x004E4942) + binary
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks
