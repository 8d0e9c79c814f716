"""The colours of a rigged head: its own field on the surface, plain ones for what was set in."""

import torch
from jaxtyping import Float
from torch import Tensor

from headartist.export.rig_value import SURFACE, Rig
from headartist.export.texture import Colour
from headartist.geometry.closest import ClosestPoint
from headartist.geometry.mesh import Mesh

PLAIN = {
    "lips": (0.47, 0.18, 0.17),
    "mouth": (0.42, 0.14, 0.13),
    "teeth": (0.92, 0.89, 0.82),
    "tongue": (0.70, 0.33, 0.33),
    "lids": (0.50, 0.27, 0.24),
}
WHITE_OF_EYE = (0.92, 0.91, 0.90)
TOUCHING = 1e-4  # world units: a point this close to a part belongs to it


def rig_colour(rig: Rig, colour_at: Colour) -> Colour:
    """A colour for every point of the rig's mesh.

    Eyeballs wear between the lids what the head's field has painted there, and white behind them.

    Args:
        rig: the head.
        colour_at: the head's field.
    """
    inner = (rig.part != rig.part_names.index(SURFACE)).nonzero()[:, 0]
    if len(inner) == 0:
        return colour_at
    parts = Mesh(rig.mesh.verts, rig.mesh.faces[inner])
    closest = ClosestPoint(parts)
    corners = parts.verts[parts.faces].reshape(-1, 3)
    low, high = corners.amin(0) - TOUCHING, corners.amax(0) + TOUCHING
    palette = torch.tensor([PLAIN.get(name, WHITE_OF_EYE) for name in rig.part_names])
    eyes = rig.part_names.index("eyes") if "eyes" in rig.part_names else -1

    def colour(points: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
        colours = colour_at(points).float().cpu().clone()
        points = points.detach().cpu().float()
        within = ((points >= low) & (points <= high)).all(dim=-1).nonzero()[:, 0]
        if len(within) == 0:
            return colours
        found = closest(points[within])
        distance = (found.of(parts.verts, parts.faces) - points[within]).norm(dim=-1)
        part = rig.part[inner[found.face]]
        between_lids = torch.stack([lids.height(points[within]) < 0 for lids in rig.lids]).any(dim=0)
        plain = (distance < TOUCHING) & ~((part == eyes) & between_lids)
        colours[within[plain]] = palette[part[plain]]
        return colours

    return colour
