"""The colours of a rigged head.

Its own field on the surface, plain ones for what was set in.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from headartist.export.rig.rig import SURFACE, Rig
from headartist.export.texture import Color
from headartist.geometry.closest import ClosestPoint
from headartist.geometry.mesh import Mesh

PAINTED = "painted"
PLAIN = {
    "lips": (0.47, 0.18, 0.17),
    "mouth": (0.42, 0.14, 0.13),
    "teeth": (0.92, 0.89, 0.82),
    "tongue": (0.70, 0.33, 0.33),
    "lids": (0.50, 0.27, 0.24),
}
WHITE_OF_EYE = (0.92, 0.91, 0.90)
IRISES = {
    "brown": (0.33, 0.19, 0.10),
    "hazel": (0.45, 0.33, 0.16),
    "green": (0.36, 0.47, 0.30),
    "blue": (0.33, 0.50, 0.66),
    "grey": (0.48, 0.52, 0.55),
}
PUPIL = (0.02, 0.02, 0.02)
PUPIL_DEG, RING_DEG, IRIS_DEG = 10.0, 23.0, 27.0
"""Where pupil, iris and its dark ring end, as seen from the eyeball's centre: an iris is 11.7 mm wide, an eye 24 mm."""
TOUCHING = 1e-4  # world units: a point this close to a part belongs to it


def rig_color(rig: Rig, color_at: Color, iris: str = PAINTED) -> Color:
    """Colour every point of the rig's mesh.

    Eyeballs wear between the lids what the head's field has painted there and white behind them, or are plain.

    Args:
        rig: the head.
        color_at: the head's field.
        iris: "painted" for the field's eyes; or the colour of plain ones, of `IRISES`.
    """
    inner = (rig.part != rig.part_names.index(SURFACE)).nonzero()[:, 0]
    if len(inner) == 0:
        return color_at
    parts = Mesh(rig.mesh.verts, rig.mesh.faces[inner])
    closest = ClosestPoint(parts)
    corners = parts.verts[parts.faces].reshape(-1, 3)
    low, high = corners.amin(0) - TOUCHING, corners.amax(0) + TOUCHING
    palette = torch.tensor([PLAIN.get(name, WHITE_OF_EYE) for name in rig.part_names])
    eyes = rig.part_names.index("eyes") if "eyes" in rig.part_names else -1
    eyeballs = rig.joints[[rig.joint_names.index(f"eye_{side}") for side in ("left", "right")]].cpu().float()

    def color(points: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
        colors = color_at(points).float().cpu().clone()
        points = points.detach().cpu().float()
        within = ((points >= low) & (points <= high)).all(dim=-1).nonzero()[:, 0]
        if len(within) == 0:
            return colors
        found = closest(points[within])
        distance = (found.of(parts.verts, parts.faces) - points[within]).norm(dim=-1)
        part = rig.part[inner[found.face]]
        set_in = distance < TOUCHING
        worn = palette[part]
        if iris == PAINTED:
            between_lids = torch.stack([lids.height(points[within]) < 0 for lids in rig.lids]).any(dim=0)
            set_in &= ~((part == eyes) & between_lids)
        elif eyes >= 0:
            worn[part == eyes] = plain_eye(points[within][part == eyes], eyeballs, iris)
        colors[within[set_in]] = worn[set_in]
        return colors

    return color


def plain_eye(points: Float[Tensor, "n 3"], eyeballs: Float[Tensor, "2 3"], iris: str) -> Float[Tensor, "n 3"]:
    """Paint a plain eye.

    White, iris with a darker ring, and pupil, about the forward axis of the nearer eyeball.
    """
    offset = points[:, None] - eyeballs
    nearer = offset.norm(dim=-1).argmin(dim=1)
    forward = torch.nn.functional.normalize(offset[torch.arange(len(points)), nearer], dim=-1)[:, 2]
    degrees = torch.rad2deg(forward.clamp(-1, 1).acos())[:, None]
    color = torch.tensor(WHITE_OF_EYE).expand(len(points), 3)
    hue = torch.tensor(IRISES[iris])
    for ends, inside in ((IRIS_DEG, 0.45 * hue), (RING_DEG, hue), (PUPIL_DEG, torch.tensor(PUPIL))):
        color = torch.lerp(color, inside.expand_as(color), ((ends - degrees) / 1.5 + 0.5).clamp(0, 1))
    return color
