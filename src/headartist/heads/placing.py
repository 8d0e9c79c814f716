"""Where in the world a mesh of a head belongs.

The place at which the open head lies closest, from any side.

First as it lies, y up and facing +z, at several guesses of how much of a body it is; then with each of the 24 turns
that take axes to axes, as other programs have other axes.
"""

import itertools
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from headartist.geometry.mesh import Mesh, capped
from headartist.heads.open_head import load_open_head
from headartist.heads.open_head_fit import COARSE_REACHES, Fit, OpenHeadFit, Similarity

# World units of `Place.off`. Of 54 heads (identities, expressions, faces pulled, noise of 2 mm, 500 triangles, a hat,
# cartoons, bodies) all but two are at most 0.059 off, and most below 0.02; of 22 other things (balls, boxes, a bust
# without a face, rocks, a hand, bodies without a head) none less than 0.080. A mean distance alone cannot tell them
# apart: that bust lies 0.0146 off, and a good head with a hat 0.0142.
LIKE_A_HEAD = 0.068
# What a mesh's height may be: the head alone, with its neck, a bust, half a body, a whole one; in world units.
HEIGHTS = (1.05, 1.3, 1.65, 3.5, 7.6)
HEAD_HEIGHT = 1.05
FIRST_REACHES = (0.5, 0.3)
THIN, COARSE = 12, 4  # one in so many points tells good turns from bad ones, and the best of the good ones
FINE_FITS = 4  # from the best starts, of each way to lie


@dataclass(frozen=True)
class Place:
    """What takes a mesh to the world.

    Attributes:
        similarity: from the mesh's frame.
        residual: how far off the open head's face lies there, in world units on average.
        relief: how much of the face's relief is there, 1 for all of it.
    """

    similarity: Similarity
    residual: float
    relief: float

    @property
    def turn(self) -> Float[Tensor, "3 3"]:
        """The turn of axes to axes that its own comes nearest to, wherever the search for it began."""
        linear = self.similarity.linear
        return max(TURNS, key=lambda turn: float((turn.to(linear) * linear).sum()))

    @property
    def off(self) -> float:
        """How far it is from being like a head.

        What its face lies off, counted as often as its relief is too small.
        """
        return off(self)

    @property
    def is_head(self) -> bool:
        """Whether what lies there is like a head."""
        return self.off < LIKE_A_HEAD


class Placing:
    """The search for one mesh's place."""

    def __init__(self, mesh: Mesh):
        # Single precision is fine in a frame of the mesh's own.
        middle = (mesh.verts.amin(dim=0) + mesh.verts.amax(dim=0)).double() / 2
        size = float((mesh.verts.amax(dim=0) - mesh.verts.amin(dim=0)).amax())
        self._first = Similarity(torch.eye(3, dtype=torch.float64) / size, -middle / size)
        self._mesh = capped(Mesh(self._first(mesh.verts.double()).float(), mesh.faces))
        self._verts = self._mesh.verts[self._mesh.faces.unique()].double()

    def as_it_lies(self) -> Place:
        """Find the best place with y up, facing +z."""
        return self._best([torch.eye(3, dtype=torch.float64)])

    def turned(self) -> Place:
        """Find the best place after any other turn."""
        return self._best(TURNS[1:])

    @cached_property
    def _fit(self) -> OpenHeadFit:
        return OpenHeadFit(load_open_head(), self._mesh)

    @cached_property
    def _coarse(self) -> OpenHeadFit:
        return OpenHeadFit(load_open_head(), self._mesh, COARSE)

    @cached_property
    def _thin(self) -> OpenHeadFit:
        return OpenHeadFit(load_open_head(), self._mesh, THIN)

    def _best(self, turns: list[Tensor]) -> Place:
        starts = [start.inverse() for turn in turns for start in self._starts(turn)]
        quick = [self._thin(start, identity=False, reaches=FIRST_REACHES) for start in starts]
        quick = sorted(quick, key=off)[: 2 * FINE_FITS]
        coarse = [self._coarse(fit.place, identity=False, reaches=COARSE_REACHES) for fit in quick]
        best: Place | None = None
        for start in sorted(coarse, key=off)[:FINE_FITS]:
            fine = self._fit(start.place)
            place = Place(self._first.then(fine.place.inverse()), fine.residual, fine.relief)
            best = place if best is None or place.off < best.off else best
            if best.is_head:
                break
        assert best is not None
        return best

    def _starts(self, turn: Float[Tensor, "3 3"]) -> list[Similarity]:
        """Guess what takes the mesh to the world.

        One guess for each height that it may have.
        """
        head, verts = load_open_head(), self._verts @ turn.T
        goal = _upper_box_middle(head.verts[head.faces_of("skin").unique()].double(), HEAD_HEIGHT)
        height = float(verts[:, 1].max() - verts[:, 1].min())
        guesses = []
        for guess in HEIGHTS:
            scale = guess / max(height, 1e-3)
            shift = goal - scale * _upper_box_middle(verts, HEAD_HEIGHT / scale)
            guesses.append(Similarity(scale * turn, shift))
        return guesses


def off(one: Place | Fit) -> float:
    """Measure how unlike a head it is.

    In world units: far off, or without relief.
    """
    return one.residual / max(one.relief, 0.01)


def _upper_box_middle(verts: Float[Tensor, "v 3"], height: float) -> Float[Tensor, "3"]:
    """Find the middle of the upper box.

    The box is around what lies at most `height` below the top; for y, its top.
    """
    top = verts[:, 1].max()
    upper = verts[verts[:, 1] >= top - height]
    middle = (upper.amin(dim=0) + upper.amax(dim=0)) / 2
    return torch.stack([middle[0], top, middle[2]])


def _turns() -> list[Tensor]:
    """List the 24 rotations that take axes to axes.

    The one that changes nothing first.
    """
    eye, found = torch.eye(3, dtype=torch.float64), []
    for axes in itertools.permutations(range(3)):
        for signs in itertools.product((1.0, -1.0), repeat=3):
            turn = torch.diag(torch.tensor(signs, dtype=torch.float64)) @ eye[list(axes)]
            if float(torch.linalg.det(turn)) > 0:
                found.append(turn)
    return found


TURNS = _turns()
