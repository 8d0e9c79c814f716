"""What a head's surface is made of, as pictures in its atlas: colour, roughness, and the relief it lost."""

from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from headartist.export.pictures import save_png
from headartist.export.rig_value import Rig
from headartist.export.texture import painted
from headartist.export.uv import UvAtlas

ROUGHNESS = 0.8  # as dull as skin and hair: the learned colours hold their own soft shading already
WET = {"lips": 0.5, "mouth": 0.45, "teeth": 0.25, "tongue": 0.4, "lids": 0.5, "eyes": 0.15}


@dataclass(frozen=True)
class Material:
    """Pictures of one size, row 0 at the top; the surface is no metal anywhere.

    Attributes:
        colour: sRGB in [0, 1].
        normal: a finer surface's normals in the tangent space of this one (`normal_map`); None where there is none.
        roughness: in [0, 1] (linear); None where it is `ROUGHNESS` everywhere.
    """

    colour: Float[Tensor, "3 h w"]
    normal: Float[Tensor, "3 h w"] | None = None
    roughness: Float[Tensor, "h w"] | None = None


def roughness_map(rig: Rig, atlas: UvAtlas, size: int) -> Float[Tensor, "h w"] | None:
    """Dull skin, and what was set in as wet as it is; None where nothing was set in.

    Args:
        rig: the head, whose mesh the atlas belongs to.
        atlas: where each triangle lies.
        size: height and width in pixels.
    """
    if len(rig.part_names) == 1:
        return None
    of_part = torch.tensor([WET.get(name, ROUGHNESS) for name in rig.part_names])
    return painted(atlas, lambda face, _: of_part[rig.part[face], None].expand(-1, 3), size)[0]


def save_pictures(path: Path, material: Material) -> dict[str, Path]:
    """Write the pictures beside a mesh file: `NAME.png`, and `NAME.roughness.png` and `NAME.normal.png` if there.

    Returns:
        The path of each, by "colour", "roughness" and "normal".
    """
    pictures = {"colour": material.colour}
    if material.roughness is not None:
        pictures["roughness"] = material.roughness.expand(3, -1, -1)
    if material.normal is not None:
        pictures["normal"] = material.normal
    paths = {kind: path.with_suffix(".png" if kind == "colour" else f".{kind}.png") for kind in pictures}
    for kind, picture in pictures.items():
        save_png(paths[kind], picture)
    return paths
