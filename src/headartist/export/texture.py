"""Texture: the colour field of a head written into the pixels of a UV atlas."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from headartist.errors import HeadArtistError
from headartist.export.uv import UvAtlas
from headartist.geometry.mesh import Mesh

Colour = Callable[[Float[Tensor, "n 3"]], Float[Tensor, "n 3"]]

POINTS_PER_CALL = 65_536
CANDIDATES_PER_CHUNK = 2_000_000


@dataclass(frozen=True)
class Texels:
    """The pairs of pixel and triangle where the pixel's centre lies in the triangle.

    Attributes:
        index: pixel number, `row * size + column`, row 0 at the top.
        face: the triangle's number.
        barycentric: weights of its three corners, 0 or more, summing to 1.
    """

    index: Int[Tensor, "n"]
    face: Int[Tensor, "n"]
    barycentric: Float[Tensor, "n 3"]


def texels(atlas: UvAtlas, size: int) -> Texels:
    """Rasterise an atlas into a square of `size` pixels; a centre on a shared edge is listed for both triangles."""
    flip = torch.tensor([1.0, -1.0], dtype=torch.float64, device=atlas.uv.device)
    pixels = (atlas.uv.double() * flip + torch.tensor([0.0, 1.0], dtype=torch.float64, device=flip.device)) * size
    pieces = [_texels_of(corners, first, size) for first, corners in _chunks(pixels[atlas.faces])]
    return Texels(*(torch.cat([getattr(piece, name) for piece in pieces]) for name in Texels.__dataclass_fields__))


def bake(mesh: Mesh, atlas: UvAtlas, colour_at: Colour, size: int = 1024) -> Float[Tensor, "3 h w"]:
    """Evaluate a colour field at the surface point behind every pixel of an atlas.

    The field's colours are display-referred sRGB, as seen in training, and a glTF base colour texture is sRGB too:
    they pass unchanged. Pixels between the charts take the nearest chart's colour, so neither filtering nor mipmaps
    show seams.

    Args:
        mesh: the surface that the atlas belongs to.
        atlas: where each triangle lies in the texture.
        colour_at: RGB in [0, 1] at world points; values beyond are clamped.
        size: height and width in pixels.

    Raises:
        HeadArtistError: the texture is too small to hit any triangle, or the field is not finite.
    """
    hit = texels(atlas, size)
    if len(hit.index) == 0:
        raise HeadArtistError(f"A texture of {size} pixels is too small for this head: use 256 or more.")
    corners = mesh.verts[atlas.source[atlas.faces]]
    colours = torch.cat(
        [
            _colours(colour_at, (corners[face] * weights[..., None].to(corners)).sum(dim=1))
            for face, weights in zip(
                hit.face.split(POINTS_PER_CALL), hit.barycentric.split(POINTS_PER_CALL), strict=True
            )
        ]
    )
    picture = torch.zeros(size * size, 3)
    picture[hit.index.cpu()] = colours
    covered = torch.zeros(size * size, dtype=torch.bool)
    covered[hit.index.cpu()] = True
    return _fill(picture.T.reshape(3, size, size), covered.reshape(size, size))


@torch.no_grad()
def _colours(colour_at: Colour, points: Tensor) -> Tensor:
    colours = colour_at(points).float().cpu()
    broken = int((~torch.isfinite(colours)).any(dim=-1).sum())
    if broken:
        raise HeadArtistError(
            f"The colour field is not finite at {broken} of {len(points)} points: resume from an earlier checkpoint."
        )
    return colours.clamp(0.0, 1.0)


def _chunks(corners: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Triangles in pixels, in runs whose bounding boxes hold a bounded number of pixels, each with its first number."""
    box = (corners.amax(dim=1) - corners.amin(dim=1) + 1).prod(dim=-1)
    run = (box.cumsum(0) / CANDIDATES_PER_CHUNK).long()
    first = 0
    for count in run.unique_consecutive(return_counts=True)[1].tolist():
        yield first, corners[first : first + count]
        first += count


def _texels_of(corners: Float[Tensor, "f 3 2"], first: int, size: int) -> Texels:
    """Test every pixel centre in each triangle's bounding box, all triangles at once."""
    low = (corners.amin(dim=1) - 0.5).ceil().clamp(0, size).long()
    high = (corners.amax(dim=1) - 0.5).floor().clamp(-1, size - 1).long()
    extent = (high - low + 1).clamp(min=0)
    count = extent.prod(dim=-1)
    face = torch.repeat_interleave(count)
    within = torch.arange(len(face), device=face.device) - (count.cumsum(0) - count)[face]
    width = extent[face, 0]
    column, row = low[face, 0] + within % width, low[face, 1] + within // width

    a, b, c = corners.unbind(dim=1)
    area = _cross(b - a, c - a)
    p = torch.stack([column, row], dim=-1) + 0.5
    toward = [_cross(end[face] - start[face], p - start[face]) / area[face] for start, end in ((b, c), (c, a), (a, b))]
    weights = torch.stack(toward, dim=-1)
    inside = (weights >= 0).all(dim=-1)  # also drops triangles without area, whose weights are not numbers
    return Texels((row * size + column)[inside], face[inside] + first, weights[inside])


def _cross(a: Tensor, b: Tensor) -> Tensor:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


def _fill(picture: Float[Tensor, "3 h w"], covered: Tensor) -> Float[Tensor, "3 h w"]:
    """Give every uncovered pixel the colour of its nearest covered one."""
    row, column = distance_transform_edt(~covered.numpy(), return_distances=False, return_indices=True)
    return picture[:, torch.as_tensor(row, dtype=torch.long), torch.as_tensor(column, dtype=torch.long)]
