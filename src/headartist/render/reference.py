"""The slow rasteriser in plain torch.

The oracle of the fast one, on any device and in any precision.

Same signatures and laws as `rasterize`, `interpolate` and `antialias`; every triangle meets every pixel, every outline
edge every row and column, and all gradients are autograd's.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from headartist.geometry.cameras import NEAR
from headartist.render.fragments import Fragments

_FACES_AT_ONCE = 1024
_MIN_AREA_PX = 1e-8


def rasterize(verts_clip: Float[Tensor, "b v 4"], faces: Int[Tensor, "f 3"], size: int) -> Fragments:
    """Find the nearest triangle under every pixel's centre.

    See `headartist.render.rasterize.rasterize`.
    """
    face = torch.empty((len(verts_clip), size, size), dtype=torch.long, device=verts_clip.device)
    for view, verts in enumerate(verts_clip.detach()):
        face[view] = _nearest_face(verts, faces.long(), size)
    corners = _corners(verts_clip, faces.long(), face)
    edge_values = _edge_values(corners[..., [0, 1, 3]], _centers(size, verts_clip))
    empty = face < 0
    # An empty pixel divides 0 by 1: no NaN, and no gradient.
    total = edge_values.sum(-1, keepdim=True).where(~empty[..., None], edge_values.new_ones(()))
    bary = edge_values.where(~empty[..., None], edge_values.new_zeros(())) / total
    return Fragments(face, bary, (bary * corners[..., 3]).sum(-1))


def interpolate(
    attributes: Float[Tensor, "v c"] | Float[Tensor, "b v c"], fragments: Fragments, faces: Int[Tensor, "f 3"]
) -> Float[Tensor, "b h w c"]:
    """Blend vertex attributes over the pixels; see `headartist.render.rasterize.interpolate`."""
    tables = attributes if attributes.ndim == 3 else attributes.expand(len(fragments.face), -1, -1)
    return (fragments.bary[..., None] * _corners(tables, faces.long(), fragments.face)).sum(-2)


def antialias(
    image: Float[Tensor, "b h w c"],
    fragments: Fragments,
    verts_clip: Float[Tensor, "b v 4"],
    faces: Int[Tensor, "f 3"],
) -> Float[Tensor, "b h w c"]:
    """Blend pixels across silhouettes; see `headartist.render.antialias.antialias`."""
    pictures = []
    for view, verts in enumerate(verts_clip):
        edges = outline_edges(verts.detach(), faces.long(), image.shape[1])
        steep = _is_steep(verts.detach(), edges)
        drawn, face, depth = image[view], fragments.face[view], fragments.depth[view].detach()
        # As (u, v, w): u along the pairs and v across, both growing like pixel indices.
        in_rows = torch.stack([verts[:, 0], -verts[:, 1], verts[:, 3]], dim=1)
        in_columns = torch.stack([-verts[:, 1], verts[:, 0], verts[:, 3]], dim=1)
        change = _blend_along_rows(drawn, face, depth, in_rows, edges[steep])
        turned = _blend_along_rows(drawn.transpose(0, 1), face.T, depth.T, in_columns, edges[~steep])
        pictures.append(drawn + change + turned.transpose(0, 1))
    return torch.stack(pictures) if pictures else image


def outline_edges(verts: Float[Tensor, "v 4"], faces: Int[Tensor, "f 3"], size: int) -> Int[Tensor, "e 3"]:
    """Find the edges of outlines.

    All their drawn triangles lie on one side on the screen; as (low end, high end, third corner).
    """
    drawn = faces[_facing(verts, faces, size) != 0]
    half_edges = torch.cat([drawn[:, [0, 1, 2]], drawn[:, [1, 2, 0]], drawn[:, [2, 0, 1]]])
    half_edges = torch.cat([half_edges[:, :2].sort(dim=1).values, half_edges[:, 2:]], dim=1)
    left = torch.linalg.det(verts[half_edges][..., [0, 1, 3]].double()) > 0
    ends, group = torch.unique(half_edges[:, :2], dim=0, return_inverse=True)
    sides = torch.zeros(len(ends), 2, dtype=torch.bool, device=verts.device)
    sides[group, left.long()] = True
    representative = torch.full((len(ends),), len(half_edges), device=verts.device)
    representative = representative.scatter_reduce(0, group, torch.arange(len(group), device=verts.device), "amin")
    return half_edges[representative[~sides.all(dim=1)]]


def _blend_along_rows(
    image: Float[Tensor, "h w c"],
    face: Int[Tensor, "h w"],
    depth: Float[Tensor, "h w"],
    verts: Float[Tensor, "v 3"],
    edges: Int[Tensor, "e 3"],
) -> Float[Tensor, "h w c"]:
    """Blend pairs (pixel, next in its row).

    The change of the image, for vertices as homogeneous (u, v, w).

    u grows along the row and v with the row's number. Rows with the axes exchanged are columns.
    """
    size = len(face)
    edge, row = _rows_met(verts.detach(), edges, size)
    position, w = _crossing(verts, edges[edge], row, size)
    column = (position.detach() - 0.5).floor().long()
    kept = (column >= 0) & (column + 1 < size)
    edge, row, column, position, w = (values[kept] for values in (edge, row, column, position, w))
    plus = _covers_plus(verts.detach(), edges[edge])
    front, back = torch.where(plus, column + 1, column), torch.where(plus, column, column + 1)
    depth = depth.where(face >= 0, depth.new_tensor(torch.inf))
    near, far, at = depth[row, front], depth[row, back], w.detach()
    reach = ((position - front - 0.5) * (back - front)).clamp(0, 1)
    visible = (face[row, front] != face[row, back]) & (near < far) & ((at - near).abs() <= (far - at).abs())
    row, front, back, reach = (values[visible] for values in (row, front, back, reach))
    outer = _outermost(row * size + torch.minimum(front, back), reach.detach(), size**2)
    row, front, back, reach = (values[outer] for values in (row, front, back, reach))
    target = torch.where(reach >= 0.5, back, front)
    spill = (reach - 0.5)[:, None] * (image[row, front] - image[row, back])
    return torch.zeros_like(image).index_put((row, target), spill, accumulate=True)


def _outermost(pair: Int[Tensor, "n"], reach: Float[Tensor, "n"], pairs: int) -> Bool[Tensor, "n"]:
    """Mark the farthest crossing of every pixel pair.

    The first of equals.
    """
    farthest = reach.new_full((pairs,), -1).scatter_reduce(0, pair, reach, "amax")
    number = torch.arange(len(pair), device=pair.device)
    number = number.where(reach == farthest[pair], number.new_tensor(len(pair)))
    first = number.new_full((pairs,), len(pair)).scatter_reduce(0, pair, number, "amin")
    return first[pair] == torch.arange(len(pair), device=pair.device)


def _is_steep(verts: Float[Tensor, "v 4"], edges: Int[Tensor, "e 3"]) -> Bool[Tensor, "e"]:
    """Tell which edges span more rows than columns.

    Or as many.
    """
    ends = (verts[:, :2] / verts[:, 3:])[edges[:, :2]]
    columns, rows = (ends[:, 1] - ends[:, 0]).abs().unbind(-1)
    return rows >= columns


def _rows_met(
    verts: Float[Tensor, "v 3"], edges: Int[Tensor, "e 3"], size: int
) -> tuple[Int[Tensor, "n"], Int[Tensor, "n"]]:
    """List where edges pass a row's centres.

    All (edge, row).
    """
    ends = ((verts[:, 1] / verts[:, 2] + 1) * (size / 2))[edges[:, :2]]
    centers = torch.arange(size, device=verts.device) + 0.5
    low, high = ends.amin(1, keepdim=True), ends.amax(1, keepdim=True)
    edge, row = ((centers >= low) & (centers <= high) & (low < high)).nonzero(as_tuple=True)
    return edge, row


def _crossing(
    verts: Float[Tensor, "v 3"], edges: Int[Tensor, "n 3"], row: Int[Tensor, "n"], size: int
) -> tuple[Float[Tensor, "n"], Float[Tensor, "n"]]:
    """Cross edges with rows.

    Position along the row in pixels, and view depth.
    """
    a, b = verts[edges[:, 0]], verts[edges[:, 1]]
    v = (2 * row + 1) / size - 1
    va, vb = a[:, 1] - v * a[:, 2], b[:, 1] - v * b[:, 2]
    w = b[:, 2] * va - a[:, 2] * vb
    return ((b[:, 0] * va - a[:, 0] * vb) / w + 1) * (size / 2), w / (va - vb)


def _covers_plus(verts: Float[Tensor, "v 3"], edges: Int[Tensor, "n 3"]) -> Bool[Tensor, "n"]:
    """Tell on which side an edge's triangle lies.

    True where it is the side to which u grows.
    """
    corners = verts[edges]
    upwards = corners[:, 1, 1] / corners[:, 1, 2] > corners[:, 0, 1] / corners[:, 0, 2]
    covers: Tensor = (torch.linalg.det(corners.double()) > 0) != upwards
    return covers


def _facing(verts: Float[Tensor, "v 4"], faces: Int[Tensor, "f 3"], size: int) -> Int[Tensor, "f"]:
    """Tell which way triangles face on the screen.

    +1 or -1 by the winding; 0 where a triangle is not drawn.
    """
    drawable = (verts[:, 3] > NEAR) & verts[:, [0, 1, 3]].isfinite().all(dim=1)
    corners = verts[faces][..., [0, 1, 3]].double()
    det: Tensor = (corners[:, 0] * torch.linalg.cross(corners[:, 1], corners[:, 2])).sum(-1)
    area_px = det.abs() / corners[..., 2].prod(-1) * size**2 / 8
    drawn = drawable[faces].all(dim=1) & (area_px >= _MIN_AREA_PX)
    return det.sign().long().where(drawn, det.new_zeros((), dtype=torch.long))


def _nearest_face(verts: Float[Tensor, "v 4"], faces: Int[Tensor, "f 3"], size: int) -> Int[Tensor, "h w"]:
    """Find the nearest triangle under every pixel's centre.

    Its index, the lowest of equals, -1 for none.
    """
    face = torch.full((size, size), -1, device=verts.device)
    nearest = torch.full((size, size), torch.inf, dtype=torch.float32, device=verts.device)
    facing = _facing(verts, faces, size)
    drawn = facing.nonzero().view(-1)
    centers = _centers(size, verts).double()
    for begin in range(0, len(drawn), _FACES_AT_ONCE):
        chosen = drawn[begin : begin + _FACES_AT_ONCE]
        corners = verts[faces[chosen]][..., [0, 1, 3]].double()[:, None, None]
        values = _edge_values(corners, centers) * facing[chosen, None, None, None]
        total = values.sum(-1)
        # Depths are compared as float32, so that equal depths are equal in every precision.
        depth = ((values * corners[..., 2]).sum(-1) / total).float()
        depth[~((values >= 0).all(-1) & (total > 0))] = torch.inf
        candidate, index = depth.min(dim=0).values, depth.argmin(dim=0)
        closer = candidate < nearest
        face[closer], nearest[closer] = chosen[index[closer]], candidate[closer]
    return face


def _corners(tables: Float[Tensor, "b v c"], faces: Int[Tensor, "f 3"], face: Int[Tensor, "b h w"]) -> Tensor:
    """Gather the corners of every pixel's triangle.

    Values `b h w 3 c`; 0 where nothing is.
    """
    view, row, column = (face >= 0).nonzero(as_tuple=True)
    values = tables[view[:, None], faces[face[view, row, column].long()]]
    empty = tables.new_zeros((*face.shape, 3, tables.shape[-1]))
    return empty.index_put((view, row, column), values)


def _centers(size: int, like: Tensor) -> Float[Tensor, "h w 3"]:
    """Place all pixels' centres as (x_ndc, y_ndc, 1).

    Row 0 is the top.
    """
    along = (2 * torch.arange(size, dtype=like.dtype, device=like.device) + 1) / size - 1
    y, x = torch.meshgrid(-along, along, indexing="ij")
    return torch.stack([x, y, torch.ones_like(x)], dim=-1)


def _edge_values(corners: Float[Tensor, "*n 3 3"], centers: Float[Tensor, "h w 3"]) -> Float[Tensor, "*m 3"]:
    """Evaluate the edge functions (e_0, e_1, e_2).

    Det(P_1, P_2, F), det(P_2, P_0, F), det(P_0, P_1, F).
    """
    following, last = corners.roll(-1, dims=-2), corners.roll(-2, dims=-2)
    normals: Tensor = torch.linalg.cross(following, last)
    return (normals * centers[..., None, :]).sum(-1)
