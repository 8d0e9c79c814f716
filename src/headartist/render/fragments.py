"""Fragments: what the rasteriser finds, as one value.

Under every pixel's centre.
"""

from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Fragments:
    """The nearest triangle of every pixel.

    Row 0 is the top of the picture (y_ndc = +1).

    Attributes:
        face: index of the triangle, -1 where nothing is.
        bary: perspective-correct barycentrics of the pixel's centre in its triangle, 0 where nothing is.
        depth: view depth (clip w) in world units, 0 where nothing is.
    """

    face: Int[Tensor, "b h w"]
    bary: Float[Tensor, "b h w 3"]
    depth: Float[Tensor, "b h w"]
