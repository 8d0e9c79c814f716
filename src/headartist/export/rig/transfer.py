"""Carrying the template's knowledge to a head.

What it knows at its vertices (shapes, joint shares), to the vertices of a generated head.

Every vertex asks the fitted template's closest point for its value v and how far to trust it, t in [0, 1]; what it
gets, u, minimises

    sum_i t_i |u_i - v_i|^2  +  h_i |u_i|^2  +  (REACH / edge)^2 sum_edges |u_i - u_j|^2

so that values are smooth over about REACH whatever the mesh's resolution. The hold h brings to rest what the template
does not reach: hair, hats, glasses.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.sparse import coo_array, diags_array
from scipy.sparse.linalg import splu
from torch import Tensor
from torch.nn.functional import normalize

from headartist.geometry.closest import ClosestPoint, SurfacePoints
from headartist.geometry.mesh import Mesh

REACH = 0.004  # world units: about a millimetre
NEAR, NEAR_JAW = 0.025, 0.15  # distances at which trust has fallen to 1/e: skin, and the jaw with its beard
HOLD = 0.02  # the pull to rest of a vertex without any trust
LEAST_HOLD = 1e-6  # keeps a loose piece's system solvable
COLUMNS = 48  # right sides solved at a time, which bounds memory


@dataclass(frozen=True)
class Reference:
    """The visible surface of the fitted template.

    Vertices look for their counterparts on it.

    Attributes:
        mesh: all its vertices with the triangles that count.
        side: +1 for triangles of the upper lip, -1 of the lower one, 0 elsewhere.
        jaw: share of the jaw in each vertex's motion.
    """

    mesh: Mesh
    side: Int[Tensor, "f"]
    jaw: Float[Tensor, "v"]


@dataclass(frozen=True)
class Counterparts:
    """Where the vertices of a head lie on a reference.

    Attributes:
        points: on the triangles of `Reference.mesh`.
        distance: how far, in world units.
        trust: how far the template's motion is theirs.
    """

    points: SurfacePoints
    distance: Float[Tensor, "n"]
    trust: Float[Tensor, "n"]


def counterparts(reference: Reference, mesh: Mesh, side: Int[Tensor, "n"]) -> Counterparts:
    """Find each vertex's closest point on the reference.

    Upper lips never look to lower ones, nor lower to upper.

    Args:
        reference: the template's surface.
        mesh: the head.
        side: +1 for vertices of the upper lip, -1 of the lower one, 0 elsewhere.
    """
    faces = reference.mesh.faces
    points = ClosestPoint(reference.mesh)(mesh.verts)
    for own in (1, -1):
        asking = side == own
        allowed = (reference.side != -own).nonzero()[:, 0]
        if asking.any():
            found = ClosestPoint(Mesh(reference.mesh.verts, faces[allowed]))(mesh.verts[asking])
            points.face[asking], points.barycentric[asking] = allowed[found.face], found.barycentric
    distance = (points.of(reference.mesh.verts, faces) - mesh.verts).norm(dim=-1)
    # Squared, so that the chin's beard goes with the jaw, while hair beside the jaw's angle does not.
    near = NEAR + (NEAR_JAW - NEAR) * points.of(reference.jaw[:, None], faces)[:, 0].square()
    normals = normalize(points.of(reference.mesh.vertex_normals(), faces), dim=-1)
    facing = ((normals * mesh.vertex_normals()).sum(dim=-1) + 0.5).clamp(0, 1)
    return Counterparts(points, distance, facing * torch.exp(-(distance / near).square()))


def smoothed(
    mesh: Mesh, values: Float[Tensor, "v c"], trust: Float[Tensor, "v"], hold: Float[Tensor, "v"]
) -> Float[Tensor, "v c"]:
    """Smooth values by their trust.

    The values u of this module's first paragraph.
    """
    count = len(mesh.verts)
    start, end = mesh.edges.numpy().T
    length = float((mesh.verts[mesh.edges[:, 0]] - mesh.verts[mesh.edges[:, 1]]).norm(dim=-1).mean())
    weight = np.full(len(start), (REACH / max(length, 1e-12)) ** 2)
    links = coo_array(
        (np.concatenate([-weight, -weight]), (np.concatenate([start, end]), np.concatenate([end, start]))),
        shape=(count, count),
    ).tocsr()
    data = (trust + hold).double().numpy() + LEAST_HOLD
    system = diags_array(data - links.sum(axis=1)) + links
    solver = splu(system.tocsc(), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
    right = trust[:, None] * values
    solved = [solver.solve(part.double().numpy()) for part in right.split(COLUMNS, dim=1)]
    return torch.from_numpy(np.concatenate(solved, axis=1)).to(values)


def carried_shapes(
    mesh: Mesh,
    found: Counterparts,
    reference: Mesh,
    shapes: Float[Tensor, "e v 3"],
    free: Bool[Tensor, "n"],
) -> Float[Tensor, "e n 3"]:
    """Carry shapes to a head's vertices.

    Displacements of the template's; without trust they fade to none.

    Args:
        mesh: the head.
        found: its counterparts.
        reference: the surface they lie on.
        shapes: displacements of the template's vertices.
        free: vertices that take what lies between their neighbours instead, such as eyes painted on a closed face
            while its lids move.
    """
    values = torch.cat([found.points.of(shape, reference.faces) for shape in shapes], dim=1)
    trust = torch.where(free, 0.0, found.trust)
    hold = torch.where(free, 0.0, HOLD * (1 - found.trust))
    return smoothed(mesh, values, trust, hold).reshape(len(mesh.verts), -1, 3).permute(1, 0, 2).contiguous()


def carried_weights(
    mesh: Mesh, found: Counterparts, reference: Mesh, weights: Float[Tensor, "v j"], jaw: int, head: int
) -> Float[Tensor, "n j"]:
    """Carry joint shares to a head's vertices.

    Hair and hats beside the jaw follow the head, a beard the jaw.

    Args:
        mesh: the head.
        found: its counterparts.
        reference: the surface they lie on.
        weights: of the template's vertices.
        jaw: the column whose share what is far from the template hands over.
        head: the column that gets it.
    """
    values = found.points.of(weights, reference.faces)
    kept = values[:, jaw] * torch.exp(-(found.distance / NEAR_JAW).square())
    values[:, head] += values[:, jaw] - kept
    values[:, jaw] = kept
    shares = smoothed(mesh, values, torch.ones(len(values)), torch.zeros(len(values))).clamp(min=0)
    return shares / shares.sum(dim=1, keepdim=True)
