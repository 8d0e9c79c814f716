"""How much an error counts by where it is.

The face counts more, and its small features most.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from headartist.heads.landmarks import FACE_OVAL

FACE_WEIGHT, FACE_MARGIN = 4.0, 3
"""How much more an error counts on the face, and how far the face reaches beyond the lines of its landmark map, in
places of the latent. The best prediction of each place stays what it was; the faces' small features are found sooner.
"""
FEATURE_WEIGHT, FEATURE_MARGIN = 16.0, 1
"""The same of eyes, brows and lips, which differ so little from the skin that an error of squares hardly asks for them.
"""

HALF_A_LEVEL = 0.5 / 255
"""A line's colour is another part's when it differs by more than this from the oval's; maps come in 256 levels."""


def face_weight(
    landmark_map: Tensor, side: int, on_face: float = FACE_WEIGHT, on_features: float = FEATURE_WEIGHT
) -> Tensor:
    """Weigh every place of a latent or picture, b 1 y x.

    It is `side` wide; places on and around landmarks weigh more, others 1.
    """
    lines = landmark_map.amax(dim=1, keepdim=True) > 0
    oval = torch.tensor(FACE_OVAL.rgb, device=landmark_map.device).view(3, 1, 1) / 255
    features = lines & ((landmark_map - oval).abs() > HALF_A_LEVEL).any(dim=1, keepdim=True)
    weight = torch.where(_near(lines, side, FACE_MARGIN), on_face, 1.0)
    return torch.where(_near(features, side, FEATURE_MARGIN), on_features, weight)


def _near(where: Tensor, side: int, margin: int) -> Tensor:
    """Find places at most `margin` from one of `where`.

    The latent is `side` wide, `where` is b 1 h w bool.
    """
    places = F.adaptive_max_pool2d(where.float(), side)
    return F.max_pool2d(places, 2 * margin + 1, stride=1, padding=margin) > 0
