"""Whether points span a body.

And if not, what they lie on.
"""

import numpy as np
from jaxtyping import Float

FLAT = 1e-6  # of the size: points that leave a plane by less lie in it


def flatness(points: Float[np.ndarray, "n 3"]) -> str:
    """Say what all points lie on.

    As in "in one plane (y = 0)"; "" where they span a body.
    """
    if len(points) == 0:
        return "nowhere, as there are none"
    low, high = points.min(axis=0), points.max(axis=0)
    size = float((high - low).max())
    if size == 0:
        return "at one point"
    extents = np.linalg.svd((points - points.mean(axis=0)) / size, compute_uv=False) / np.sqrt(len(points))
    if extents[1] < FLAT:
        return "on one line"
    if extents[2] >= FLAT:
        return ""
    same = [f" ({axis} = {low[k] + 0.0:.4g})" for k, axis in enumerate("xyz") if high[k] - low[k] < FLAT * size]
    return f"in one plane{''.join(same)}"
