"""What a user's file may lack.

Made from the shape alone: texture coordinates and mirror partners.
"""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor


def cylindrical_uv(
    verts: Float[Tensor, "v 3"], faces: Int[Tensor, "f 3"]
) -> tuple[Float[Tensor, "u 2"], Int[Tensor, "f 3"]]:
    """Wrap texture coordinates around the y axis.

    On a cylinder, the face in the middle and the seam at the back.

    Legal everywhere, though parts that lie behind each other overlap. Every triangle has corners of its own; those
    that cross the seam are cut off at its edge.

    Returns:
        Coordinates in [0, 1], v up, and the triangles' corners in them.
    """
    middle = (verts.amax(dim=0) + verts.amin(dim=0)) / 2
    x, y, z = (verts - middle).unbind(1)
    u = 0.5 + torch.atan2(x, z) / (2 * math.pi)
    v = (y - y.min()) / (y.max() - y.min()).clamp(min=1e-12)
    corners = torch.stack([u, v], dim=1)[faces]
    crosses = corners[..., 0].amax(dim=1) - corners[..., 0].amin(dim=1) > 0.5
    low = crosses[:, None] & (corners[..., 0] < 0.5)
    corners[..., 0] = torch.where(low, 1.0, corners[..., 0])
    return corners.reshape(-1, 2), torch.arange(3 * len(faces)).view(-1, 3)


def mirror_partners(verts: Float[Tensor, "v 3"]) -> Int[Tensor, "v"]:
    """Find each vertex's mirror partner.

    The one nearest to its mirror image in the plane x = 0.
    """
    # Imported here: it takes a while, and only users' own templates need it.
    from scipy.spatial import cKDTree

    points = verts.double().numpy()
    return torch.from_numpy(cKDTree(points).query(points * [-1, 1, 1])[1]).long()
