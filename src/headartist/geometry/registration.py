"""Non-rigid registration: one mesh laid onto another.

Smoothly, from stiff to soft.

The vertices x of the source move to x + d. Each round looks for every vertex's closest point y on the target, judges
how far to trust it (w), and minimises the quadratic energy

    E(d) = sum_i w_i |x_i + d_i - y_i|^2  +  s (|L d|^2 + MEMBRANE |G d|^2)  +  p sum_l |sum_k b_lk (x + d)_lk - q_l|^2

with the normalised graph Laplacian L, the differences G along edges and pins q at barycentric sites b. The stiffness s
falls from round to round: a non-rigid ICP after Amberg, Romdhani and Vetter (2007), with the smoothness of the
displacements in place of that of affine maps, so that x, y and z share one small factorisation.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.sparse import coo_array, csr_array, diags_array, eye_array
from scipy.sparse.linalg import SuperLU, splu
from torch import Tensor
from torch.nn.functional import normalize

from headartist.geometry.closest import ClosestPoint
from headartist.geometry.mesh import Mesh
from headartist.system.errors import HeadArtistError

MEMBRANE = 0.02  # share of the stiffness that resists stretching; the rest resists bending of the displacements
HOLD = 1e-7  # pulls a part without any correspondence to stay where it is
RIM_SHARE = 0.999  # weight on rim vertices from which a closest point counts as lying on the target's rim


@dataclass(frozen=True)
class Pins:
    """Known places of points of the source's surface.

    Attributes:
        triangles: the source's triangle under each pin.
        barycentric: weights of its corners.
        positions: where the pin belongs, in the target's frame.
    """

    triangles: Int[Tensor, "l"]
    barycentric: Float[Tensor, "l 3"]
    positions: Float[Tensor, "l 3"]


@dataclass(frozen=True)
class RegistrationConfig:
    """How a registration goes about it.

    Lengths are in world units.

    Attributes:
        stiffness: of each round, falling; neighbouring vertices of the source are the unit of length.
        steps: correspondences sought in each round.
        reach: a closest point further than this is no correspondence; trust fades towards it (Tukey's biweight).
        reach_outside: the same where the target lies outside the source, along its normal: less keeps hair, hats and
            glasses, which stand on a head, from pulling it out.
        least_cosine: normals that differ by more are no correspondence.
        pin_weight: of one pin, as many times that of a trusted vertex.
        align: whether the pins bring the source to its place by rotation, scale and shift first.
    """

    stiffness: Sequence[float] = (300.0, 100.0, 30.0, 10.0, 3.0, 1.0, 0.3)
    steps: int = 3
    reach: float = 0.2
    reach_outside: float = 0.2
    least_cosine: float = 0.5
    pin_weight: float = 10.0
    align: bool = False


@dataclass(frozen=True)
class Registration:
    """A source laid onto a target.

    Attributes:
        verts: where the source's vertices have come.
        trust: in [0, 1], how good the last correspondence of each vertex was; 0 where it only followed.
    """

    verts: Float[Tensor, "v 3"]
    trust: Float[Tensor, "v"]


def register(
    source: Mesh,
    target: Mesh,
    *,
    pins: Pins | None = None,
    seeks: Bool[Tensor, "v"] | None = None,
    config: RegistrationConfig | None = None,
) -> Registration:
    """Lay a source mesh onto a target mesh of any topology.

    Deterministic, on the CPU.

    Args:
        source: what moves, for instance a template.
        target: where it goes; it may have holes and things that the source lacks.
        pins: known correspondences, which hold from the first round on.
        seeks: vertices that look for the target; the others, such as the inside of a mouth, follow their neighbours.
            All when None.
        config: the schedule.

    Raises:
        HeadArtistError: the target has no triangle, or `align` has fewer than three pins.
    """
    config = config or RegistrationConfig()
    if len(target.faces) == 0:
        raise HeadArtistError("A mesh of 0 faces cannot be registered to: give a target with a surface.")
    start = _aligned(source, pins).verts if config.align else source.verts
    x = start.detach().cpu().double()
    smoothness = _smoothness(source)
    seeking = torch.ones(len(x), dtype=torch.bool) if seeks is None else seeks.cpu()
    surface = _Surface(target)
    anchor, pull = _pin_terms(source, pins, x, config.pin_weight)
    d, trust = torch.zeros_like(x), torch.zeros(len(x), dtype=x.dtype)
    for stiffness in config.stiffness:
        for _ in range(config.steps):
            moved = Mesh(x + d, source.faces.cpu())
            goal, trust = surface.correspondences(moved, config)
            trust = trust * seeking
            system = diags_array(trust.numpy()) + stiffness * smoothness + anchor + HOLD * eye_array(len(x))
            right = trust[:, None] * (goal - x) + pull
            d = torch.from_numpy(_factorized(system).solve(right.numpy()))
    return Registration((x + d).to(source.verts), trust.to(source.verts))


def similarity(
    points: Float[Tensor, "n 3"], goals: Float[Tensor, "n 3"], weights: Float[Tensor, "n"] | None = None
) -> tuple[Float[Tensor, "3 3"], Float[Tensor, "3"]]:
    """Fit a scaled rotation A and a shift b.

    They minimise `sum w |A p + b - q|^2` (Umeyama 1991).

    Returns:
        A with a positive determinant, and b: `points @ A.T + b` lies closest to `goals`.
    """
    w = torch.ones_like(points[:, :1]) if weights is None else weights[:, None]
    w = w / w.sum()
    p_mean, q_mean = (w * points).sum(0), (w * goals).sum(0)
    p, q = points - p_mean, goals - q_mean
    u, sigma, vh = torch.linalg.svd((w * q).T @ p)
    signs = torch.ones_like(sigma)
    signs[-1] = torch.det(u @ vh).sign()
    scale = (sigma * signs).sum() / (w * p.square()).sum().clamp(min=1e-30)
    a = scale * (u * signs) @ vh
    return a, q_mean - a @ p_mean


def laplacian(faces: Int[Tensor, "f 3"], vertex_count: int) -> csr_array:
    """Build the normalised graph Laplacian.

    Row i is `d_i - mean of the neighbours' d`; 0 for a vertex without any.
    """
    edges = Mesh(torch.zeros(vertex_count, 3), faces.cpu()).edges.numpy()
    rows, columns = np.concatenate([edges, edges[:, ::-1]]).T
    adjacency = coo_array((np.ones(len(rows)), (rows, columns)), shape=(vertex_count, vertex_count)).tocsr()
    valence = adjacency.sum(axis=1)
    shares = diags_array(1 / np.maximum(valence, 1)) @ adjacency
    return csr_array(diags_array((valence > 0).astype(float)) - shares)


def _smoothness(mesh: Mesh) -> csr_array:
    """`L^T L + MEMBRANE G^T G`."""
    count = len(mesh.verts)
    bending = laplacian(mesh.faces, count)
    start, end = mesh.edges.cpu().numpy().T
    number = np.arange(len(start))
    ones = np.ones(len(start))
    difference = coo_array(
        (np.concatenate([ones, -ones]), (np.concatenate([number, number]), np.concatenate([start, end]))),
        shape=(len(start), count),
    ).tocsr()
    return csr_array(bending.T @ bending + MEMBRANE * (difference.T @ difference))


def _pin_terms(
    source: Mesh, pins: Pins | None, x: Float[Tensor, "v 3"], weight: float
) -> tuple[csr_array, Float[Tensor, "v 3"]]:
    """Weigh the pins in the matrix and the right side.

    They add `p B^T B` and `p B^T (q - B x)`.
    """
    if pins is None or len(pins.triangles) == 0:
        return csr_array((len(x), len(x))), torch.zeros_like(x)
    columns = source.faces.cpu()[pins.triangles.cpu()].reshape(-1).numpy()
    rows = np.repeat(np.arange(len(pins.triangles)), 3)
    weights = pins.barycentric.detach().cpu().double().reshape(-1).numpy()
    sites = coo_array((weights, (rows, columns)), shape=(len(pins.triangles), len(x))).tocsr()
    missing = pins.positions.detach().cpu().double().numpy() - sites @ x.numpy()
    return csr_array(weight * (sites.T @ sites)), torch.from_numpy(weight * (sites.T @ missing))


def _aligned(source: Mesh, pins: Pins | None) -> Mesh:
    """Bring the source to its place by its pins."""
    if pins is None or len(pins.triangles) < 3:
        count = 0 if pins is None else len(pins.triangles)
        raise HeadArtistError(f"Aligning needs at least 3 pins (got {count}): give more, or align=False.")
    verts = source.verts.detach().double()
    sites = (pins.barycentric.double()[..., None] * verts[source.faces[pins.triangles]]).sum(dim=1)
    a, b = similarity(sites, pins.positions.double())
    return Mesh((verts @ a.T + b).to(source.verts), source.faces)


class _Surface:
    """A target that can be asked for correspondences."""

    def __init__(self, mesh: Mesh):
        self._mesh = Mesh(mesh.verts.detach().cpu().double(), mesh.faces.cpu())
        self._normals = self._mesh.vertex_normals()
        rim = torch.zeros(len(mesh.verts), 1, dtype=torch.float64)
        rim[self._mesh.boundary_sides.reshape(-1)] = 1.0
        self._rim = rim
        self._closest = ClosestPoint(self._mesh)

    def correspondences(
        self, source: Mesh, config: RegistrationConfig
    ) -> tuple[Float[Tensor, "v 3"], Float[Tensor, "v"]]:
        """Find each vertex's closest point and its weight.

        Tukey's biweight of the distance, 0 for a rejected one.
        """
        hit = self._closest(source.verts)
        faces = self._mesh.faces
        goal = hit.of(self._mesh.verts, faces)
        normals = source.vertex_normals()
        cosine = (normals * normalize(hit.of(self._normals, faces), dim=-1)).sum(dim=-1)
        gap = goal - source.verts
        outside = (gap * normals).sum(dim=-1) > 0
        reach = torch.where(outside, config.reach_outside, config.reach).to(gap)
        weight = (1 - (gap.norm(dim=-1) / reach).square()).clamp(min=0).square()
        # A rim draws everything that lies beyond it; nothing there has a counterpart.
        inner = hit.of(self._rim, faces)[:, 0] < RIM_SHARE
        return goal, weight * (cosine >= config.least_cosine) * inner


def _factorized(matrix: csr_array) -> SuperLU:
    """Factorise a symmetric positive definite system."""
    options = {"SymmetricMode": True}
    return splu(matrix.tocsc(), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options=options)
