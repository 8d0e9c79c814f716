"""The open head fitted to any head.

Which identity, where and how large, lies closest to a given head of any topology.

Minimised is `sum_i w_i (n_i . (s R (x_i + sum_k c_k B_ki) + t - y_i))^2 / SIGMA^2 + |c|^2` over scale, rotation, shift
and the identity c, in Gauss-Newton steps: y_i is the head's closest point, n_i its normal there, and w_i how far it is
trusted, which fades with the distance (iteratively reweighted least squares with Tukey's biweight).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from headartist.geometry.closest import ClosestPoint
from headartist.geometry.distance import SignedDistance
from headartist.geometry.mesh import Mesh
from headartist.heads.template import HeadTemplate
from headartist.system.cache import cached, fingerprint

REACHES = (0.5, 0.4, 0.3, 0.25, 0.2, 0.15, 0.12, 0.1, 0.08)  # world units; a hit further away does not count
COARSE_REACHES = (0.5, 0.35, 0.2)  # enough to tell good starts from bad ones
ROUNDS = 3  # at each reach
WIDE = 0.2  # while the reach is above this, the open head stays the average one
SIGMA = 0.05  # world units: how far off one point is allowed to be for one standard deviation of identity
LEAST_COSINE = 0.5
LOWEST = -0.6  # world units: below lie neck and shoulders, which end differently in every file
NEARBY = 0.12  # world units: about the size of an eye or a mouth, which are the relief
FACE = 0.05  # world units: points this close to a landmark are the face's
_VERSION = 1  # of this file's arithmetic: a new number makes all that is cached stale
LIFT = 1e-3  # world units off the surface, from where a vertex looks for the sky


@dataclass(frozen=True)
class Similarity:
    """`p -> linear p + shift` with a scaled rotation."""

    linear: Float[Tensor, "3 3"]
    shift: Float[Tensor, "3"]

    def __call__(self, points: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
        """Move points, in their own precision."""
        return (points.double() @ self.linear.T + self.shift).to(points)

    def then(self, other: "Similarity") -> "Similarity":
        """Compose this one with another after it."""
        return Similarity(other.linear @ self.linear, other.linear @ self.shift + other.shift)

    def inverse(self) -> "Similarity":
        """Invert the similarity."""
        back = torch.linalg.inv(self.linear)
        return Similarity(back, -back @ self.shift)


IN_PLACE = Similarity(torch.eye(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64))


@dataclass(frozen=True)
class Fit:
    """The open head as it lies closest.

    Attributes:
        place: takes the open head's world to the given head's.
        identity: coefficients of its shape directions.
        residual: mean distance of the face's points to the given head, in the open head's world units; those that
            point another way or lie beyond `REACHES[-1]` count as that far off.
        relief: how much of the face's relief is there too: the slope of the given head's normals over the open
            head's, each less its mean nearby; 1 on the same face, about 0 on anything smooth, however close it lies.
    """

    place: Similarity
    identity: Float[Tensor, "k"]
    residual: float
    relief: float


def outer_skin(head: HeadTemplate) -> Int[Tensor, "n"]:
    """Find the skin's vertices that see the sky.

    Not the insides of mouth, nose and eyelids. Computed once.
    """

    def compute() -> dict[str, Tensor]:
        skin = head.faces_of("skin").unique()
        lifted = head.verts + LIFT * head.mesh("skin").vertex_normals()
        return {"outer": skin[SignedDistance(head.mesh("skin", "eyes")).sees_sky(lifted[skin])]}

    name = fingerprint(f"{_VERSION} {LIFT}", head.verts, head.faces, head.part)
    return cached(f"outer-{name}", compute)["outer"]


class OpenHeadFit:
    """Fits of the open head to a target, from any starts."""

    def __init__(self, open_head: HeadTemplate, target: Mesh, every: int = 1):
        """Prepare for a target, triangles in any unit.

        With one in `every` points, for the average head alone.
        """
        points = outer_skin(open_head)
        self._points = points[open_head.verts[points, 1] > LOWEST][::every]
        sites = open_head.site_positions()
        self._face = torch.cdist(open_head.verts[self._points], sites).amin(dim=1) < FACE
        self._head, self._skin = open_head, open_head.faces_of("skin")
        average = Mesh(open_head.verts.double(), self._skin)
        self._average = average.verts[self._points], average.vertex_normals()[self._points]
        self._basis = open_head.shape_basis[:, self._points].double()
        self._target = Mesh(target.verts.double(), target.faces)
        self._normals = self._target.vertex_normals()
        self._rim = torch.zeros(len(target.verts), 1, dtype=torch.float64)
        self._rim[target.boundary_sides.reshape(-1)] = 1.0
        self._closest = ClosestPoint(self._target)

    def __call__(
        self, start: Similarity = IN_PLACE, *, identity: bool = True, reaches: Sequence[float] = REACHES
    ) -> Fit:
        """Fit from a start; without `identity`, the average head."""
        place, coefficients = start, torch.zeros(len(self._basis), dtype=torch.float64)
        for reach in reaches:
            for _ in range(ROUNDS):
                free = identity and reach <= WIDE
                place, coefficients = self._step(place, coefficients, reach, free_identity=free)
        gap, weight, normal, own = self._gaps(place, coefficients, REACHES[-1])
        far = torch.where(weight > 0, gap.norm(dim=1), REACHES[-1])
        relief = self._relief(own[self._face], normal[self._face])
        return Fit(place, coefficients.float(), float(far[self._face].mean()), relief)

    @cached_property
    def _nearby(self) -> Float[Tensor, "m m"]:
        """Weights of the mean around each of the face's points."""
        points = self._head.verts[self._points][self._face].double()
        weights = torch.exp(-(torch.cdist(points, points) / NEARBY).square() / 2)
        return weights / weights.sum(dim=1, keepdim=True)

    def _relief(self, own: Float[Tensor, "m 3"], found: Float[Tensor, "m 3"]) -> float:
        wanted, there = (normals - self._nearby @ normals for normals in (own, found))
        return float((wanted * there).sum() / wanted.square().sum())

    def _gaps(
        self, place: Similarity, coefficients: Float[Tensor, "k"], reach: float
    ) -> tuple[Float[Tensor, "n 3"], Float[Tensor, "n"], Float[Tensor, "n 3"], Float[Tensor, "n 3"]]:
        """Measure from each point to the target's closest.

        The gap in the open head's units, its trust, the normals there and here.
        """
        person, own = self._person(coefficients)
        scale = torch.linalg.det(place.linear) ** (1 / 3)
        here, own = place(person), own @ (place.linear / scale).T
        hit = self._closest(here)
        faces = self._target.faces
        normal = normalize(hit.of(self._normals, faces), dim=1)
        gap = (hit.of(self._target.verts, faces) - here) / scale
        trust = (1 - (gap.norm(dim=1) / reach).square()).clamp(min=0).square()
        inner = hit.of(self._rim, faces)[:, 0] < 1
        return gap, trust * ((own * normal).sum(dim=1) > LEAST_COSINE) * inner, normal, own

    def _person(self, coefficients: Float[Tensor, "k"]) -> tuple[Float[Tensor, "n 3"], Float[Tensor, "n 3"]]:
        """Place the points of an open head's person, with normals."""
        if not coefficients.any():
            return self._average
        verts = self._head.verts.double()
        verts[self._points] += torch.einsum("k,knc->nc", coefficients, self._basis)
        return verts[self._points], Mesh(verts, self._skin).vertex_normals()[self._points]

    def _step(
        self, place: Similarity, coefficients: Float[Tensor, "k"], reach: float, *, free_identity: bool
    ) -> tuple[Similarity, Float[Tensor, "k"]]:
        """Take one Gauss-Newton step.

        Lengths are in the open head's units, with the points where they now are.
        """
        gap, weight, normal, _ = self._gaps(place, coefficients, reach)
        scale = torch.linalg.det(place.linear) ** (1 / 3)
        rotation = place.linear / scale
        person = self._head.verts[self._points].double() + torch.einsum("k,knc->nc", coefficients, self._basis)
        turned = person @ rotation.T
        columns = [normal, torch.linalg.cross(turned, normal), (turned * normal).sum(dim=1, keepdim=True)]
        if free_identity:
            columns.append(torch.einsum("knc,dc,nd->nk", self._basis, rotation, normal))
        jacobian = torch.cat(columns, dim=1)
        prior = torch.zeros(jacobian.shape[1], dtype=torch.float64)
        prior[:7] = 1e-6
        prior[7:] = 1.0
        now = torch.zeros_like(prior)
        now[7:] = coefficients[: len(prior) - 7]
        weighted = weight[:, None] * jacobian / SIGMA**2
        system = jacobian.T @ weighted + torch.diag(prior)
        right = weighted.T @ (gap * normal).sum(dim=1) - prior * now
        change = torch.linalg.solve(system, right)
        turn = torch.linalg.matrix_exp(_cross_matrix(change[3:6]))
        linear = torch.exp(change[6]) * turn @ place.linear
        if free_identity:
            coefficients = coefficients + change[7:]
        return Similarity(linear, place.shift + scale * change[:3]), coefficients


def _cross_matrix(axis: Float[Tensor, "3"]) -> Float[Tensor, "3 3"]:
    x, y, z = axis
    zero = torch.zeros_like(x)
    return torch.stack([zero, -z, y, z, zero, -x, -y, x, zero]).view(3, 3)
