"""Edit fidelity: how much of a head is left in another that was made from it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from headartist.avatars.avatar import Avatar
from headartist.geometry.closest import ClosestPoint, SurfacePoints
from headartist.geometry.mesh import Mesh
from headartist.heads.landmarks import PUPILS
from headartist.heads.template import HeadTemplate
from headartist.system.errors import HeadArtistError

KEY, OLD_KEY = "edit_fidelity", "likeness"
"""What provenance calls it, and called it before."""
UNTOUCHED = 0.02  # of the distance between the eyes: what moved less counts as untouched
# Of sRGB's primaries, as rows X, Y, Z relative to the white point D65 (IEC 61966-2-1).
_RENAMED = {"colour_difference": "color_difference"}
_XYZ = ((0.43395, 0.37622, 0.18983), (0.21264, 0.71517, 0.07219), (0.01775, 0.10948, 0.87277))


@dataclass(frozen=True)
class EditFidelity:
    """What is left of a head.

    Attributes:
        landmark_shift: mean way of the face-mesh landmarks on the surface, as a share of the distance between the eyes.
        untouched: share of the surface that moved less than `UNTOUCHED` of that distance.
        color_difference: mean CIE Lab difference (delta E, 1976) there, where 2.3 is just noticeable; 0 where nothing
            is untouched.
    """

    landmark_shift: float
    untouched: float
    color_difference: float

    def __str__(self) -> str:
        return (
            f"landmarks moved by {self.landmark_shift:.1%} of the distance between the eyes; {self.untouched:.0%} of "
            f"the surface stayed in place, and its colour changed by {self.color_difference:.1f} (delta E)"
        )


def noted(provenance: Mapping[str, Any]) -> EditFidelity | None:
    """Read what an edit's provenance notes; None for a head that is no edit."""
    values = provenance.get(KEY) or provenance.get(OLD_KEY)
    return EditFidelity(**{_RENAMED.get(name, name): value for name, value in values.items()}) if values else None


@torch.no_grad()
def edit_fidelity(parent: Avatar, child: Avatar, template: HeadTemplate) -> EditFidelity:
    """Compare a head with the one that it was made from.

    Points of the parent's surface are followed to the child's: in the same triangle where both have the same triangles,
    as after an edit that moves vertices only, else to the nearest point, which sees no sliding along the surface.

    Args:
        parent: the earlier head.
        child: the later one, on the same device.
        template: the head template of the parent; its landmark sites are looked for on the parent's surface.

    Raises:
        HeadArtistError: when one of them has no surface.
    """
    before, after = parent.to_mesh(), child.to_mesh()
    if not len(before.faces) or not len(after.faces):
        raise HeadArtistError("One of the two heads has no surface, so they cannot be compared: make it again.")
    sites = template.site_positions().to(before.verts)
    eyes = torch.stack([sites[list(pupil.corners)].mean(0) for pupil in PUPILS])
    apart = float((eyes[0] - eyes[1]).norm())

    landmarks = ClosestPoint(before)(sites)
    shift = (_followed(landmarks, before, after) - landmarks.of(before.verts, before.faces)).norm(dim=1).mean() / apart

    middles = _middles(before)
    start, end = middles.of(before.verts, before.faces), _followed(middles, before, after)
    area = before.area_normals.norm(dim=1)
    still = area * ((end - start).norm(dim=1) < UNTOUCHED * apart)
    difference = (lab(parent.material_at(start).color) - lab(child.material_at(end).color)).norm(dim=1)
    return EditFidelity(
        landmark_shift=float(shift),
        untouched=float(still.sum() / area.sum()),
        color_difference=float((still * difference).sum() / still.sum().clamp(min=torch.finfo(area.dtype).tiny)),
    )


def lab(rgb: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
    """Convert to CIE L*a*b*: sRGB colors in [0, 1] under D65: L* in [0, 100], a* and b* about as large."""
    linear = torch.where(rgb <= 0.04045, rgb / 12.92, ((rgb.clamp(min=0.04045) + 0.055) / 1.055) ** 2.4)
    xyz = linear @ torch.tensor(_XYZ, dtype=rgb.dtype, device=rgb.device).T
    edge = 6 / 29
    x, y, z = torch.where(xyz > edge**3, xyz.clamp(min=edge**3) ** (1 / 3), xyz / (3 * edge**2) + 4 / 29).unbind(1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], dim=1)


def _middles(mesh: Mesh) -> SurfacePoints:
    every = torch.arange(len(mesh.faces), device=mesh.faces.device)
    return SurfacePoints(every, torch.full((len(every), 3), 1 / 3, device=mesh.verts.device))


def _followed(points: SurfacePoints, before: Mesh, after: Mesh) -> Float[Tensor, "n 3"]:
    """Find where points of the one surface are on the other."""
    if torch.equal(before.faces, after.faces):
        return points.of(after.verts, after.faces)
    return ClosestPoint(after)(points.of(before.verts, before.faces)).of(after.verts, after.faces)
