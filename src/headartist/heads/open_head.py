"""The shipped open head.

A linear model distilled from the CC0 MakeHuman mesh by `tools/build_open_head.py`.
"""

from importlib.resources import files

import numpy as np
import torch
from torch import Tensor

from headartist.heads.template import HeadTemplate, LandmarkSites

_FILE = files("headartist.heads") / "open_head.npz"


def load_open_head() -> HeadTemplate:
    """Load the average head of the open model.

    Its bases are stored as integers times one step (see the build tool).
    """
    with _FILE.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    step = float(arrays["basis_step"])

    def integers(name: str) -> Tensor:
        return torch.from_numpy(arrays[name].astype(np.int64))

    def floats(name: str) -> Tensor:
        return torch.from_numpy(arrays[name].astype(np.float32, copy=False))

    def basis(name: str) -> Tensor:
        return floats(name).mul_(step)

    def names(name: str) -> tuple[str, ...]:
        return tuple(arrays[name].tolist())

    weights = floats("skin_weights")
    return HeadTemplate(
        name="open",
        verts=floats("verts"),
        faces=integers("faces"),
        uv=floats("uv"),
        uv_faces=integers("uv_faces"),
        part=integers("part"),
        part_names=names("part_names"),
        shape_basis=basis("shape_basis"),
        joint_basis=floats("joint_basis"),
        expression_basis=basis("expression_basis"),
        expression_names=names("expression_names"),
        joints=floats("joints"),
        joint_names=names("joint_names"),
        joint_parents=tuple(arrays["joint_parents"].tolist()),
        skin_weights=weights / weights.sum(dim=1, keepdim=True),
        landmark_sites=LandmarkSites(integers("landmark_triangles"), floats("landmark_barycentric")),
        mirror=integers("mirror"),
        meters_per_unit=float(arrays["metres_per_unit"]),
    )


def makehuman_vertex_ids() -> Tensor:
    """Load each vertex's number in the MakeHuman base mesh.

    -1 where the cut made a new one.

    With it, CC0 MakeHuman hair and clothes, which are bound to numbered base vertices, can be fitted to the head.
    """
    with _FILE.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
        return torch.from_numpy(archive["makehuman_vertex_ids"].astype(np.int64))
