"""Texture: a head's colour field in an atlas.

Written into the pixels of its UV atlas.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from headartist.export.uv import UvAtlas
from headartist.geometry.mesh import Mesh
from headartist.system.errors import HeadArtistError

Color = Callable[[Float[Tensor, "n 3"]], Float[Tensor, "n 3"]]
SurfaceValue = Callable[[Int[Tensor, "n"], Float[Tensor, "n 3"]], Float[Tensor, "n 3"]]

POINTS_PER_CALL = 65_536
CANDIDATES_PER_CHUNK = 2_000_000
# Bilinear filtering at a surface point reads centres up to one pixel away in x and in y.
REACH_PX = 1.5


@dataclass(frozen=True)
class Texels:
    """Pairs of a pixel and a triangle.

    With the triangle's point that belongs to the pixel.

    Attributes:
        index: pixel number, `row * size + column`, row 0 at the top.
        face: the triangle's number.
        barycentric: weights of its three corners, 0 or more, summing to 1.
    """

    index: Int[Tensor, "n"]
    face: Int[Tensor, "n"]
    barycentric: Float[Tensor, "n 3"]


def texels(atlas: UvAtlas, size: int) -> Texels:
    """Find the pixels whose centre lies in a triangle.

    Of a square of `size`; one on a shared edge is listed for both.
    """
    pieces = []
    for first, corners in _chunks(_pixels(atlas, size)):
        face, center = _candidates(corners, size, 0.0)
        a, b, c = corners[face].unbind(1)
        areas = torch.stack([_cross(c - b, center - b), _cross(a - c, center - c), _cross(b - a, center - a)], dim=-1)
        weights = areas / _cross(b - a, c - a)[:, None]
        inside = (weights >= 0).all(dim=-1)  # also drops triangles without area, whose weights are not numbers
        pieces.append(Texels(_index(center, size)[inside], face[inside] + first, weights[inside]))
    return _joined(pieces)


def gutter(atlas: UvAtlas, size: int, covered: Bool[Tensor, "n"]) -> Texels:
    """Find the gutter of the charts.

    The pixels beside them that filtering may still read, each with the nearest point of any outline.

    Without it a chart thinner than a pixel would leave no trace in the texture.

    Args:
        atlas: where each triangle lies.
        size: height and width in pixels.
        covered: the pixels that lie in a triangle and are left out.
    """
    pieces, distances = [], []
    for first, corners in _chunks(_pixels(atlas, size)):
        face, center = _candidates(corners, size, REACH_PX)
        bare = ~covered[_index(center, size)]
        face, center = face[bare], center[bare]
        weights, distance = _nearest_on_outline(corners[face], center)
        near = distance < REACH_PX
        pieces.append(Texels(_index(center, size)[near], face[near] + first, weights[near]))
        distances.append(distance[near])
    every, distance = _joined(pieces), torch.cat(distances)
    order = distance.argsort(stable=True)
    order = order[every.index[order].argsort(stable=True)]
    new = every.index[order].diff(prepend=every.index.new_tensor([-1])) != 0
    nearest = order[new]
    return Texels(every.index[nearest], every.face[nearest], every.barycentric[nearest])


def bake(mesh: Mesh, atlas: UvAtlas, color_at: Color, size: int = 1024) -> Float[Tensor, "3 h w"]:
    """Bake a colour field into an atlas.

    Evaluated at the surface point behind every pixel.

    The field's colours are display-referred sRGB, as seen in training, and a glTF base colour texture is sRGB too:
    they pass unchanged. Pixels between the charts take the nearest colour, so neither filtering nor mipmaps show
    seams.

    Args:
        mesh: the surface that the atlas belongs to.
        atlas: where each triangle lies in the texture.
        color_at: RGB in [0, 1] at world points; values beyond are clamped.
        size: height and width in pixels.

    Raises:
        HeadArtistError: the colour field is not finite somewhere on the surface.
    """
    corners = mesh.verts[atlas.source[atlas.faces]]

    def colors(face: Int[Tensor, "n"], weights: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
        return _colors(color_at, (corners[face] * weights[..., None].to(corners)).sum(dim=1))

    return painted(atlas, colors, size)


def painted(atlas: UvAtlas, value_at: SurfaceValue, size: int) -> Float[Tensor, "3 h w"]:
    """Paint what the surface holds behind every pixel.

    Of an atlas; between the charts the nearest of it.

    Args:
        atlas: where each triangle lies in the picture.
        value_at: three numbers for points given by their triangles and the weights of its corners.
        size: height and width in pixels.
    """
    inside = texels(atlas, size)
    covered = torch.zeros(size * size, dtype=torch.bool, device=inside.index.device)
    covered[inside.index] = True
    hit = _joined([inside, gutter(atlas, size, covered)])
    covered[hit.index] = True
    picture = torch.zeros(size * size, 3)
    for index, face, weights in zip(*(values.split(POINTS_PER_CALL) for values in _fields(hit)), strict=True):
        picture[index.cpu()] = value_at(face, weights).float().cpu()
    return _fill(picture.T.reshape(3, size, size), covered.cpu().reshape(size, size))


@torch.no_grad()
def _colors(color_at: Color, points: Tensor) -> Tensor:
    colors = color_at(points).float().cpu()
    broken = int((~torch.isfinite(colors)).any(dim=-1).sum())
    if broken:
        raise HeadArtistError(
            f"The colour field is not finite at {broken} of {len(points)} points: make the head again with --overwrite "
            "and smaller learning rates."
        )
    return colors.clamp(0.0, 1.0)


def _fields(pairs: Texels) -> tuple[Tensor, Tensor, Tensor]:
    return pairs.index, pairs.face, pairs.barycentric


def _joined(pieces: list[Texels]) -> Texels:
    return Texels(*(torch.cat(values) for values in zip(*map(_fields, pieces), strict=True)))


def _pixels(atlas: UvAtlas, size: int) -> Float[Tensor, "f 3 2"]:
    """Scale triangles to pixels.

    Right is x, down is y; the first pixel is centred at (0.5, 0.5).
    """
    u, v = atlas.uv.double()[atlas.faces].unbind(-1)
    return torch.stack([u, 1 - v], dim=-1) * size


def _index(center: Float[Tensor, "n 2"], size: int) -> Int[Tensor, "n"]:
    column, row = center.long().unbind(-1)
    return row * size + column


def _chunks(corners: Float[Tensor, "f 3 2"]) -> Iterator[tuple[int, Float[Tensor, "g 3 2"]]]:
    """Split triangles into runs of bounded pixels.

    Those in their boxes; each run with its first triangle's number.
    """
    box = (corners.amax(dim=1) - corners.amin(dim=1) + 1 + 2 * REACH_PX).prod(dim=-1)
    run = (box.cumsum(0) / CANDIDATES_PER_CHUNK).long()
    first = 0
    for count in run.unique_consecutive(return_counts=True)[1].tolist():
        yield first, corners[first : first + count]
        first += count


def _candidates(
    corners: Float[Tensor, "f 3 2"], size: int, margin: float
) -> tuple[Int[Tensor, "n"], Float[Tensor, "n 2"]]:
    """List the pixels of triangles' boxes.

    Every pixel centre in a bounding box widened by `margin`, with the triangle's number.
    """
    low = (corners.amin(dim=1) - margin - 0.5).ceil().clamp(0, size).long()
    high = (corners.amax(dim=1) + margin - 0.5).floor().clamp(-1, size - 1).long()
    extent = (high - low + 1).clamp(min=0)
    count = extent.prod(dim=-1)
    face = torch.repeat_interleave(count)
    within = torch.arange(len(face), device=face.device) - (count.cumsum(0) - count)[face]
    width = extent[face, 0]
    return face, low[face] + torch.stack([within % width, within // width], dim=-1) + 0.5


def _nearest_on_outline(
    corners: Float[Tensor, "n 3 2"], point: Float[Tensor, "n 2"]
) -> tuple[Float[Tensor, "n 3"], Float[Tensor, "n"]]:
    """Find the nearest point on a triangle's sides.

    Its barycentrics, and its distance.
    """
    side = corners.roll(-1, dims=1) - corners
    toward = point[:, None] - corners
    share = ((toward * side).sum(-1) / (side * side).sum(-1).clamp(min=1e-30)).clamp(0, 1)
    distance, which = (toward - share[..., None] * side).norm(dim=-1).min(dim=1)
    along = share.gather(1, which[:, None])
    start = torch.nn.functional.one_hot(which, 3).to(along)
    return start * (1 - along) + start.roll(1, dims=1) * along, distance


def _cross(a: Tensor, b: Tensor) -> Tensor:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


def _fill(picture: Float[Tensor, "3 h w"], covered: Tensor) -> Float[Tensor, "3 h w"]:
    """Fill uncovered pixels from their nearest covered one."""
    row, column = distance_transform_edt(~covered.numpy(), return_distances=False, return_indices=True)
    return picture[:, torch.as_tensor(row, dtype=torch.long), torch.as_tensor(column, dtype=torch.long)]
