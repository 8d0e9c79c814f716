"""HeadTemplate: the parametric head of every run.

As one immutable value.

World units: the head stands near the origin, y up, looking to +z, and fits a ball of radius about 1.05.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from headartist.config.template import Identity, parse_expression, parse_identity
from headartist.geometry.mesh import Mesh
from headartist.system.errors import HeadArtistError, did_you_mean


@dataclass(frozen=True)
class LandmarkSites:
    """Points that carry MediaPipe's face-mesh numbers.

    Points of the surface, each a triangle and weights of its corners.

    The first 468 are the face mesh; 10 more, where present, are the irises (468 the right pupil, 473 the left).
    """

    triangles: Int[Tensor, "l"]
    barycentric: Float[Tensor, "l 3"]

    def positions(self, verts: Float[Tensor, "v 3"], faces: Int[Tensor, "f 3"]) -> Float[Tensor, "l 3"]:
        """Place the sites on a mesh of these vertices.

        Differentiable in them.
        """
        corners = verts[faces[self.triangles]]
        return (self.barycentric[..., None] * corners).sum(dim=1)


@dataclass(frozen=True)
class HeadTemplate:
    """A head with its identities, expressions, joints and landmark sites.

    Attributes:
        name: what `load_template` calls it: "open", or the file's name.
        verts: vertices of the head as it stands; the average identity without expression when freshly loaded.
        faces: triangles, counter-clockwise seen from outside.
        uv: texture coordinates in [0, 1], v up.
        uv_faces: the triangles' corners in `uv`.
        part: an index into `part_names` for each triangle.
        part_names: "skin" and, where the template has them, "eyes", "teeth", "tongue", "lashes".
        shape_basis: identity directions; a unit coefficient is one standard deviation.
        joint_basis: how the joints follow the same coefficients.
        expression_basis: displacement of each expression at weight 1.
        expression_names: in the order of `expression_basis`; ARKit's names in the open head.
        joints: rest positions.
        joint_names: their names; `joint_parents` points into this order.
        joint_parents: the parent's index, -1 for the root; a parent precedes its children.
        skin_weights: share of each joint in a vertex's motion; rows sum to 1.
        landmark_sites: MediaPipe's points on the surface.
        mirror: the vertex on the other side of the symmetry plane x = 0, for each vertex.
        meters_per_unit: world unit in metres.
    """

    name: str
    verts: Float[Tensor, "v 3"]
    faces: Int[Tensor, "f 3"]
    uv: Float[Tensor, "u 2"]
    uv_faces: Int[Tensor, "f 3"]
    part: Int[Tensor, "f"]
    part_names: tuple[str, ...]
    shape_basis: Float[Tensor, "k v 3"]
    joint_basis: Float[Tensor, "k j 3"]
    expression_basis: Float[Tensor, "e v 3"]
    expression_names: tuple[str, ...]
    joints: Float[Tensor, "j 3"]
    joint_names: tuple[str, ...]
    joint_parents: tuple[int, ...]
    skin_weights: Float[Tensor, "v j"]
    landmark_sites: LandmarkSites
    mirror: Int[Tensor, "v"]
    meters_per_unit: float

    def shaped(
        self, identity: Float[Tensor, "n"] | None = None, expression: Mapping[str, float] | None = None
    ) -> "HeadTemplate":
        """Add an identity and an expression.

        `verts + identity . shape_basis + weights . expression_basis`.

        Args:
            identity: coefficients of the first `n <= k` shape directions, in standard deviations.
            expression: weights by name, usually in [0, 1].

        Raises:
            HeadArtistError: for an expression the template does not know, or too many identity coefficients.
        """
        verts, joints = self.verts, self.joints
        if identity is not None:
            if len(identity) > len(self.shape_basis):
                raise HeadArtistError(
                    f"identity has {len(identity)} coefficients, but template {self.name!r} has only "
                    f"{len(self.shape_basis)} shape directions: pass at most that many."
                )
            verts = verts + torch.einsum("k,kvc->vc", identity, self.shape_basis[: len(identity)])
            joints = joints + torch.einsum("k,kjc->jc", identity, self.joint_basis[: len(identity)])
        for expression_name, weight in (expression or {}).items():
            verts = verts + weight * self.expression_basis[self._expression_index(expression_name)]
        return replace(self, verts=verts, joints=joints)

    def as_asked(self, identity: str, expression: str) -> "HeadTemplate":
        """Add an identity and an expression given in words.

        As `load_template` takes them.

        Raises:
            HeadArtistError: when it has no such identity or expression.
        """
        person = parse_identity(identity, self.name)
        return self.shaped(_coefficients(person, self), parse_expression(expression))

    def with_verts(self, verts: Float[Tensor, "v 3"]) -> "HeadTemplate":
        """Replace the vertices.

        Everything else, joints included, stays.
        """
        return replace(self, verts=verts)

    def site_positions(self) -> Float[Tensor, "l 3"]:
        """Place the landmark sites in the world."""
        return self.landmark_sites.positions(self.verts, self.faces)

    def faces_of(self, *part_names: str) -> Int[Tensor, "g 3"]:
        """List the triangles of these parts.

        In the order of `faces`; a part the template lacks adds none.
        """
        wanted = torch.tensor([name in part_names for name in self.part_names], device=self.part.device)
        return self.faces[wanted[self.part]]

    def mesh(self, *part_names: str) -> Mesh:
        """Make a mesh of these parts.

        All vertices with their triangles; all parts when none is named.
        """
        return Mesh(self.verts, self.faces_of(*(part_names or self.part_names)))

    def _expression_index(self, expression_name: str) -> int:
        if expression_name in self.expression_names:
            return self.expression_names.index(expression_name)
        hint = did_you_mean(expression_name, self.expression_names) if self.expression_names else "it has none at all."
        raise HeadArtistError(f"Template {self.name!r} has no expression {expression_name!r}: {hint}")


def _coefficients(person: Identity, template: HeadTemplate) -> Float[Tensor, "k"] | None:
    """Expand an identity to all shape directions.

    Its coefficients; None for the average person.
    """
    if person.seed is None and not person.coefficients:
        return None
    count = len(template.shape_basis)
    beyond = [direction for direction in person.coefficients if direction >= count]
    if beyond or count == 0:
        asked = f"no shape direction {beyond[0]}" if beyond else "no shape directions to draw an identity from"
        many = f"give numbers from 0 to {count - 1}" if count else "leave the identity out"
        raise HeadArtistError(f"Template {template.name!r} has {asked}: {many}.")
    if person.seed is None:
        coefficients = torch.zeros(count)
    else:
        coefficients = torch.randn(count, generator=torch.Generator().manual_seed(person.seed))
    for direction, value in person.coefficients.items():
        coefficients[direction] = value
    return coefficients
