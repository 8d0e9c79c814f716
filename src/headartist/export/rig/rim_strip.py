"""A strip along lips and lids cut open.

So that nobody looks past what is set in into the hollow head.
"""

from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import normalize

from headartist.export.rig.rig import SURFACE, Rig
from headartist.export.surface import unit_normals
from headartist.geometry.mesh import Mesh

DEPTH = 0.03  # world units: about 7 mm, deeper than what is set in lies behind the skin


def with_rim_strip(
    rig: Rig,
    name: str,
    near: Bool[Tensor, "s"],
    away: Float[Tensor, "s 3"] | None = None,
) -> Rig:
    """Add a strip turned inwards along a gap.

    A gap of the rig's surface; the strip moves as the gap's edge does.

    Args:
        rig: whose surface gapes.
        name: what the strip's triangles are called.
        near: which of the surface's vertices, which come first in the mesh, may lie on the gap.
        away: where the strip leans to besides straight in, in units of that; None for nowhere.
    """
    surface = Mesh(rig.mesh.verts, rig.mesh.faces[rig.part == rig.part_names.index(SURFACE)])
    sides = surface.boundary_sides
    sides = sides[near[sides].any(dim=1)]
    if len(sides) == 0:
        return rig
    edge, compact = sides.unique(return_inverse=True)
    inward = -unit_normals(surface)[edge]
    if away is not None:
        inward = inward + away[edge]
    # Vertices of its own along the edge too: the surface's normals, and so its look, stay what they were.
    start, end = (compact + len(rig.mesh.verts)).unbind(1)
    deep_start, deep_end = start + len(edge), end + len(edge)
    # The surface runs along a side from its start to its end; what goes on beyond it runs back.
    faces = torch.cat([torch.stack([end, start, deep_start], dim=1), torch.stack([end, deep_start, deep_end], dim=1)])
    rim = rig.mesh.verts[edge]
    return replace(
        rig,
        mesh=Mesh(
            torch.cat([rig.mesh.verts, rim, rim + DEPTH * normalize(inward, dim=-1)]),
            torch.cat([rig.mesh.faces, faces]),
        ),
        part=torch.cat([rig.part, torch.full((len(faces),), len(rig.part_names))]),
        part_names=(*rig.part_names, name),
        shapes=torch.cat([rig.shapes, rig.shapes[:, edge], rig.shapes[:, edge]], dim=1),
        skin_weights=torch.cat([rig.skin_weights, rig.skin_weights[edge], rig.skin_weights[edge]]),
    )
