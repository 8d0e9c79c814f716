"""What a head's surface is made of.

As pictures in its atlas: colour, roughness, and the relief it lost.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from headartist.export.pictures import png_bytes
from headartist.export.rig.rig import Rig
from headartist.export.texture import painted
from headartist.export.uv import UvAtlas
from headartist.system.files import replacing

ROUGHNESS = 0.8  # as dull as skin and hair: the learned colours hold their own soft shading already
WET = {"lips": 0.5, "mouth": 0.45, "teeth": 0.25, "tongue": 0.4, "lids": 0.5, "eyes": 0.15}


@dataclass(frozen=True)
class MaterialMaps:
    """Pictures of one size, row 0 at the top.

    The surface is no metal anywhere.

    Attributes:
        color: sRGB in [0, 1].
        normal: a finer surface's normals in the tangent space of this one (`normal_map`); None where there is none.
        roughness: in [0, 1] (linear); None where it is `ROUGHNESS` everywhere.
    """

    color: Float[Tensor, "3 h w"]
    normal: Float[Tensor, "3 h w"] | None = None
    roughness: Float[Tensor, "h w"] | None = None


def roughness_map(rig: Rig, atlas: UvAtlas, size: int) -> Float[Tensor, "h w"] | None:
    """Paint how dull the surface is.

    Dull skin, and what was set in as wet as it is; None where nothing was set in.

    Args:
        rig: the head, whose mesh the atlas belongs to.
        atlas: where each triangle lies.
        size: height and width in pixels.
    """
    if len(rig.part_names) == 1:
        return None
    of_part = torch.tensor([WET.get(name, ROUGHNESS) for name in rig.part_names])
    return painted(atlas, lambda face, _: of_part[rig.part[face], None].expand(-1, 3), size)[0]


@contextmanager
def replacing_pictures(stem: Path, material: MaterialMaps) -> Iterator[dict[str, Path]]:
    """Lend the paths of a mesh file's own pictures.

    They are all replaced if nothing was raised.

    They are `STEM.png`, and `STEM.roughness.png` and `STEM.normal.png` where the material has these; those of an
    earlier material that has them and this one has not are removed. No two mesh files may share a stem: their atlases
    may differ.

    Yields:
        The path of each picture, by "color", "roughness" and "normal".
    """
    paths = {"color": stem.with_name(f"{stem.name}.png")}
    paths |= {kind: stem.with_name(f"{stem.name}.{kind}.png") for kind in ("roughness", "normal")}
    roughness = None if material.roughness is None else material.roughness.expand(3, -1, -1)
    pictures = {"color": material.color, "roughness": roughness, "normal": material.normal}
    own = {kind: picture for kind, picture in pictures.items() if picture is not None}
    with ExitStack() as drafts:
        for kind, picture in own.items():
            drafts.enter_context(replacing(paths[kind])).write_bytes(png_bytes(picture))
        yield {kind: paths[kind] for kind in own}
    for kind in paths.keys() - own.keys():
        paths[kind].unlink(missing_ok=True)
