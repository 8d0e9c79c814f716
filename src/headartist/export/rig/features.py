"""Where mouth and eyes lie on a fitted template.

As heights above lines that a surface can be cut along.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from headartist.heads.template import HeadTemplate

# fmt: off
# MediaPipe's landmarks, from the subject's right to the left.
UPPER_LIP = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308)
LOWER_LIP = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308)
# Once round each opening of the lids.
LIDS = (
    (263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466),
    (33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246),
)
# fmt: on
MOUTH_DEPTH = 0.07  # world units: a surface further than this from the line between the lips is not the mouth
EYE_DEPTH = 0.07  # the same from the plane of a lid opening


@dataclass(frozen=True)
class MouthLine:
    """The line between the lips, from corner to corner, x rising."""

    points: Float[Tensor, "n 3"]

    @classmethod
    def of(cls, fitted: HeadTemplate) -> "MouthLine":
        """Midway between the inner lips of a template."""
        sites = fitted.site_positions().detach().cpu()
        middle = (sites[list(UPPER_LIP)] + sites[list(LOWER_LIP)]) / 2
        return cls(middle[middle[:, 0].argsort()])

    def height(self, points: Float[Tensor, "n 3"]) -> Float[Tensor, "n"]:
        """How far each point lies above the line."""
        return points[:, 1] - self._at(points, 1)

    def near(self, points: Float[Tensor, "n 3"], depth: float = MOUTH_DEPTH) -> Bool[Tensor, "n"]:
        """Tell which points lie near the line.

        Between the corners and not further than `depth` from it.
        """
        x = points[:, 0]
        between = (x > self.points[0, 0]) & (x < self.points[-1, 0])
        offset = torch.hypot(points[:, 1] - self._at(points, 1), points[:, 2] - self._at(points, 2))
        return between & (offset < depth)

    def _at(self, points: Tensor, axis: int) -> Tensor:
        line = self.points.numpy()
        values = np.interp(points[:, 0].detach().cpu().numpy(), line[:, 0], line[:, axis])
        return torch.from_numpy(values).to(points)


@dataclass(frozen=True)
class LidOpening:
    """The polygon between the lids of one eye.

    Seen from the front.
    """

    points: Float[Tensor, "n 3"]

    @classmethod
    def both(cls, fitted: HeadTemplate) -> tuple["LidOpening", ...]:
        """Find the left and the right eye of a template."""
        sites = fitted.site_positions().detach().cpu()
        return tuple(cls(sites[list(loop)]) for loop in LIDS)

    def height(self, points: Float[Tensor, "n 3"]) -> Float[Tensor, "n"]:
        """Measure to the polygon in the x-y plane, negative inside."""
        p, a = points[:, None, :2], self.points[:, :2].to(points)
        b = a.roll(-1, dims=0)
        side = b - a
        along = (((p - a) * side).sum(-1) / side.square().sum(-1).clamp(min=1e-12)).clamp(0, 1)
        distance = (p - a - along[..., None] * side).norm(dim=-1).amin(dim=1)
        # The even-odd rule: how many sides a ray to +x crosses.
        spans = (a[:, 1] > p[..., 1]) != (b[:, 1] > p[..., 1])
        rise = torch.where(side[:, 1] == 0, 1.0, side[:, 1])
        crossing = a[:, 0] + (p[..., 1] - a[:, 1]) * side[:, 0] / rise
        inside = (spans & (p[..., 0] < crossing)).sum(dim=1) % 2 == 1
        return torch.where(inside, -distance, distance)

    def near(self, points: Float[Tensor, "n 3"]) -> Bool[Tensor, "n"]:
        """Points not further than `EYE_DEPTH` from the opening."""
        center, extent = self.points.mean(0).to(points), (self.points.amax(0) - self.points.amin(0)).to(points)
        offset = (points - center).abs()
        return (offset <= extent / 2 + EYE_DEPTH).all(dim=-1)
