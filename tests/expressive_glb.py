"""A GLB of the open template with its 52 expressions as morph targets, a picture and a short animation."""

import json
import struct
from pathlib import Path

import numpy as np
import torch

from headartist.export.pictures import png_bytes
from headartist.heads.template import load_template

PALETTE = {
    "skin": (0.83, 0.62, 0.50),
    "eyes": (0.93, 0.91, 0.88),
    "teeth": (0.95, 0.92, 0.86),
    "tongue": (0.75, 0.38, 0.36),
    "lashes": (0.15, 0.11, 0.09),
}
FLOAT, UNSIGNED_INT = 5126, 5125


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


def container(document: object, binary: bytes = b"") -> bytes:
    """The GLB layout around a document."""
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<II", len(text), 0x4E4F534A) + text
    if binary:
        chunks += struct.pack("<II", len(binary), 0x004E4942) + binary
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks
