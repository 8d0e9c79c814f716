"""Warp kernels of distances: the closest point of a mesh, and free rays."""

# Kernels are annotated with Warp's own array types, which no type checker knows.
# mypy: ignore-errors

from typing import no_type_check

import warp as wp

wp.set_module_options({"enable_backward": False})


@wp.kernel
@no_type_check
def nearest_distance(
    mesh: wp.uint64, points: wp.array(dtype=wp.vec3), reach: wp.float32, distance: wp.array(dtype=wp.float32)
):
    """Measure from each point to the mesh, `reach` at most."""
    i = wp.tid()
    nearest = wp.mesh_query_point_no_sign(mesh, points[i], reach)
    distance[i] = reach
    if nearest.result:
        distance[i] = wp.length(wp.mesh_eval_position(mesh, nearest.face, nearest.u, nearest.v) - points[i])


@wp.kernel
@no_type_check
def sees_sky(
    mesh: wp.uint64,
    points: wp.array(dtype=wp.vec3),
    directions: wp.array(dtype=wp.vec3),
    reach: wp.float32,
    least: wp.int32,
    seen: wp.array(dtype=wp.int32),
):
    """Mark the points that see the sky.

    1 for each point from which at least `least` of the directions meet no triangle.
    """
    i = wp.tid()
    escaped = wp.int32(0)
    for k in range(directions.shape[0]):
        if not wp.mesh_query_ray_anyhit(mesh, points[i], directions[k], reach):
            escaped += 1
            if escaped == least:
                break
    seen[i] = wp.where(escaped == least, 1, 0)


@wp.kernel
@no_type_check
def closest_point(
    mesh: wp.uint64,
    points: wp.array(dtype=wp.vec3),
    reach: wp.float32,
    face: wp.array(dtype=wp.int32),
    barycentric: wp.array(dtype=wp.vec3),
):
    """Find the triangle nearest to each point.

    With the barycentric weights of the nearest place on it; -1 beyond `reach`.
    """
    i = wp.tid()
    nearest = wp.mesh_query_point_no_sign(mesh, points[i], reach)
    face[i] = -1
    if nearest.result:
        face[i] = nearest.face
        barycentric[i] = wp.vec3(nearest.u, nearest.v, 1.0 - nearest.u - nearest.v)
