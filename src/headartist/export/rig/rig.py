"""Rig: a head that can move, as one value."""

from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor

from headartist.export.rig.features import LidOpening
from headartist.geometry.mesh import Mesh

SURFACE = "surface"


@dataclass(frozen=True)
class Rig:
    """A head that can move.

    Attributes:
        mesh: the surface, parted where asked, and after it what was set in.
        part: an index into `part_names` for each triangle.
        part_names: "surface", and of what was set in "lips", "mouth", "teeth", "tongue", "lids", "eyes".
        shapes: displacement of each shape at weight 1.
        shape_names: ARKit's names.
        joints: rest positions; parents, names and `skin_weights` as in `HeadTemplate`.
        joint_names: their names.
        joint_parents: the parent's index, -1 for the root.
        skin_weights: share of each joint in a vertex's motion; rows sum to 1.
        lids: the lid openings, between which painted eyes lie.
        meters_per_unit: world unit in metres.
    """

    mesh: Mesh
    part: Int[Tensor, "f"]
    part_names: tuple[str, ...]
    shapes: Float[Tensor, "e v 3"]
    shape_names: tuple[str, ...]
    joints: Float[Tensor, "j 3"]
    joint_names: tuple[str, ...]
    joint_parents: tuple[int, ...]
    skin_weights: Float[Tensor, "v j"]
    lids: tuple[LidOpening, ...]
    meters_per_unit: float

    def posed(self, **weights: float) -> Mesh:
        """Apply shapes, by ARKit name."""
        verts = self.mesh.verts
        for name, weight in weights.items():
            verts = verts + weight * self.shapes[self.shape_names.index(name)]
        return Mesh(verts, self.mesh.faces)
