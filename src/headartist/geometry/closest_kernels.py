"""Warp kernel of the closest point on a mesh."""

# Kernels are annotated with Warp's own array types, which no type checker knows.
# mypy: ignore-errors

from typing import no_type_check

import warp as wp

wp.set_module_options({"enable_backward": False})


@wp.kernel
@no_type_check
def closest_point(
    mesh: wp.uint64,
    points: wp.array(dtype=wp.vec3),
    reach: wp.float32,
    face: wp.array(dtype=wp.int32),
    barycentric: wp.array(dtype=wp.vec3),
):
    """The triangle nearest to each point and the barycentric weights of the nearest place on it; -1 beyond `reach`."""
    i = wp.tid()
    nearest = wp.mesh_query_point_no_sign(mesh, points[i], reach)
    face[i] = -1
    if nearest.result:
        face[i] = nearest.face
        barycentric[i] = wp.vec3(nearest.u, nearest.v, 1.0 - nearest.u - nearest.v)
