"""Fewer triangles, by quadric edge collapse.

Garland and Heckbert (1997), by the library of Sven Forstmann's algorithm.
"""

import numpy as np
import torch

from headartist.geometry.mesh import Mesh


def simplified(mesh: Mesh, most: int) -> Mesh:
    """Reduce a mesh to at most `most` triangles.

    Where its shape needs them; itself when it has no more.
    """
    if len(mesh.faces) <= most:
        return mesh
    # Imported here: only small variants need it.
    import fast_simplification

    verts = mesh.verts.detach().cpu().numpy().astype(np.float32)
    verts, faces = fast_simplification.simplify(verts, mesh.faces.cpu().numpy().astype(np.int32), target_count=most)
    return Mesh(torch.from_numpy(verts).to(mesh.verts), torch.from_numpy(faces).to(mesh.faces))
