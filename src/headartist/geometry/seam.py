"""Cutting a mesh open along a line.

Triangles are split where a height crosses zero, then the two sides let go.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from headartist.geometry.mesh import Mesh

SNAP = 0.1  # a crossing this close to an end of its edge, as a share of the edge, is moved into the end


@dataclass(frozen=True)
class Parted:
    """A mesh whose triangles no longer cross a line.

    It may gape along it.

    Attributes:
        mesh: the new mesh; the first vertices are the old ones.
        source: two old vertices behind every new one (twice the same for an old vertex), and the share of the second.
        share: of the second source vertex.
        side: +1 for vertices above the line, -1 below, 0 on it; after `let_go` the lips of the gap have their sides.
        face_side: +1 or -1 for triangles that touch the line from above or below, 0 for the others.
    """

    mesh: Mesh
    source: Int[Tensor, "v 2"]
    share: Float[Tensor, "v"]
    side: Int[Tensor, "v"]
    face_side: Int[Tensor, "f"]

    def carried(self, values: Float[Tensor, "o c"]) -> Float[Tensor, "v c"]:
        """Interpolate values of the old vertices at the new ones."""
        share = self.share[:, None].to(values)
        return values[self.source[:, 0]] * (1 - share) + values[self.source[:, 1]] * share


def split_along(
    mesh: Mesh,
    height: Float[Tensor, "v"],
    near: Callable[[Float[Tensor, "n 3"]], Bool[Tensor, "n"]],
    facing: Bool[Tensor, "v"],
) -> Parted:
    """Split triangles so that a line runs along edges.

    Args:
        mesh: triangles.
        height: the line is where it is zero, linearly interpolated along edges.
        near: which points may lie on the line; it ends it, and keeps it off the other side of the head.
        facing: vertices whose edges may be crossed.
    """
    edges = mesh.edges
    h = height[edges].double()
    share = torch.where(h.prod(dim=1) < 0, h[:, 0] / (h[:, 0] - h[:, 1]), 0.0)
    places = torch.lerp(mesh.verts[edges[:, 0]], mesh.verts[edges[:, 1]], share[:, None].to(mesh.verts))
    crossed = (h.prod(dim=1) < 0) & facing[edges].all(dim=1) & near(places)
    on_line = torch.zeros(len(mesh.verts), dtype=torch.bool)
    for end, close in ((0, share < SNAP), (1, share > 1 - SNAP)):
        on_line[edges[crossed & close, end]] = True
    crossed &= ~on_line[edges].any(dim=1)
    cuts, cut_share = edges[crossed], share[crossed].to(mesh.verts)
    old = torch.arange(len(mesh.verts))
    source = torch.cat([old[:, None].expand(-1, 2), cuts])
    shares = torch.cat([torch.zeros(len(old)).to(mesh.verts), cut_share])
    verts = torch.lerp(mesh.verts[source[:, 0]], mesh.verts[source[:, 1]], shares[:, None])
    side = torch.where(on_line, 0, height.sign().long())
    side = torch.cat([side, side.new_zeros(len(cuts))])
    faces = _split_faces(mesh, edges, crossed)
    # A sliver with all three corners on the line goes where most of it was.
    was = torch.cat([height, height.new_zeros(len(cuts))])[faces].sum(dim=1).sign().long()
    sums = side[faces].sum(dim=1).sign()
    touched = (side[faces] == 0).any(dim=1)
    return Parted(Mesh(verts, faces), source, shares, side, torch.where(touched, torch.where(sums == 0, was, sums), 0))


def _split_faces(mesh: Mesh, edges: Int[Tensor, "e 2"], crossed: Bool[Tensor, "e"]) -> Int[Tensor, "g 3"]:
    """Split triangles at their crossed sides.

    Those with none, one or two become one, two or three triangles, the winding kept.
    """
    number = torch.full((len(edges),), -1)
    number[crossed] = len(mesh.verts) + torch.arange(int(crossed.sum()))
    keys = edges[:, 0] * len(mesh.verts) + edges[:, 1]
    a, b = mesh.faces, mesh.faces.roll(-1, dims=1)
    middle = number[torch.searchsorted(keys, torch.minimum(a, b) * len(mesh.verts) + torch.maximum(a, b))]
    count = (middle >= 0).sum(dim=1)
    pieces = [mesh.faces[count == 0]]
    # One crossed side: turn the triangle so that it is the first, and join its middle to the opposite corner.
    first = (middle >= 0).long().argmax(dim=1)
    face, mid = _turned(mesh.faces, middle, first, count == 1)
    pieces += [_triangles(face[:, 0], mid[:, 0], face[:, 2]), _triangles(mid[:, 0], face[:, 1], face[:, 2])]
    # Two: turn it so that the uncrossed side is the last; the corner between the crossed ones is cut off.
    uncrossed = (middle < 0).long().argmax(dim=1)
    face, mid = _turned(mesh.faces, middle, (uncrossed + 1) % 3, count == 2)
    pieces.append(_triangles(mid[:, 0], face[:, 1], mid[:, 1]))
    pieces += [_triangles(face[:, 0], mid[:, 0], mid[:, 1]), _triangles(face[:, 0], mid[:, 1], face[:, 2])]
    return torch.cat(pieces)


def _turned(faces: Tensor, middle: Tensor, first: Tensor, chosen: Tensor) -> tuple[Tensor, Tensor]:
    """Turn the chosen triangles so that corner `first` is first.

    The middles of their sides come in the same order.
    """
    turn = (first[chosen, None] + torch.arange(3)) % 3
    return faces[chosen].gather(1, turn), middle[chosen].gather(1, turn)


def _triangles(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    return torch.stack([a, b, c], dim=1)


def let_go(parted: Parted) -> Parted:
    """Double the vertices along the line, its ends excepted.

    The two sides then share none but these.
    """
    mesh = parted.mesh
    pairs = mesh.face_pairs
    opposite = (parted.face_side[pairs[:, 0]] * parted.face_side[pairs[:, 1]]) == -1
    along = _shared_edges(mesh.faces[pairs[opposite, 0]], mesh.faces[pairs[opposite, 1]])
    along = along[(parted.side[along] == 0).all(dim=1)]
    count = torch.bincount(along.reshape(-1), minlength=len(mesh.verts))
    inner = ((count >= 2) & (parted.side == 0)).nonzero()[:, 0]
    copy = torch.arange(len(mesh.verts))
    copy[inner] = len(mesh.verts) + torch.arange(len(inner))
    below = (parted.face_side == -1)[:, None]
    faces = torch.where(below, copy[mesh.faces], mesh.faces)
    side = parted.side.clone()
    side[inner] = 1
    return Parted(
        Mesh(torch.cat([mesh.verts, mesh.verts[inner]]), faces),
        torch.cat([parted.source, parted.source[inner]]),
        torch.cat([parted.share, parted.share[inner]]),
        torch.cat([side, -torch.ones(len(inner), dtype=side.dtype)]),
        parted.face_side,
    )


def _shared_edges(left: Int[Tensor, "p 3"], right: Int[Tensor, "p 3"]) -> Int[Tensor, "p 2"]:
    """Find the two vertices that pairs of triangles share."""
    common = (left[:, :, None] == right[:, None, :]).any(dim=2)
    return left[common].reshape(-1, 2)
