"""Warp kernels of surface attributes, with hand-written gradients.

Interpolation over pixels, and vertex normals.
"""

# Kernels are annotated with Warp's own array types, which no type checker knows.
# mypy: ignore-errors

from typing import no_type_check

import warp as wp

wp.set_module_options({"enable_backward": False})


@wp.kernel
@no_type_check
def interpolate(
    attributes: wp.array3d(dtype=wp.float32),
    faces: wp.array(dtype=wp.vec3i),
    face_of: wp.array(dtype=wp.int32),
    bary: wp.array(dtype=wp.vec3),
    pixels_per_table: int,
    out: wp.array2d(dtype=wp.float32),
):
    """Blend the three corners' attributes; 0 where nothing is."""
    pixel = wp.tid()
    channels = out.shape[1]
    f = face_of[pixel]
    if f < 0:
        for c in range(channels):
            out[pixel, c] = 0.0
        return
    table = pixel // pixels_per_table
    face = faces[f]
    b = bary[pixel]
    for c in range(channels):
        out[pixel, c] = (
            b[0] * attributes[table, face[0], c]
            + b[1] * attributes[table, face[1], c]
            + b[2] * attributes[table, face[2], c]
        )


@wp.kernel
@no_type_check
def interpolate_backward(
    attributes: wp.array3d(dtype=wp.float32),
    faces: wp.array(dtype=wp.vec3i),
    face_of: wp.array(dtype=wp.int32),
    bary: wp.array(dtype=wp.vec3),
    grad_out: wp.array2d(dtype=wp.float32),
    pixels_per_table: int,
    grad_attributes: wp.array3d(dtype=wp.float32),
    grad_bary: wp.array(dtype=wp.vec3),
):
    """Differentiate `interpolate` by the attributes and the barycentrics."""
    pixel = wp.tid()
    f = face_of[pixel]
    if f < 0:
        grad_bary[pixel] = wp.vec3(0.0, 0.0, 0.0)
        return
    table = pixel // pixels_per_table
    face = faces[f]
    b = bary[pixel]
    g0 = wp.float32(0.0)
    g1 = wp.float32(0.0)
    g2 = wp.float32(0.0)
    for c in range(grad_out.shape[1]):
        g = grad_out[pixel, c]
        if g != 0.0:
            g0 += g * attributes[table, face[0], c]
            g1 += g * attributes[table, face[1], c]
            g2 += g * attributes[table, face[2], c]
            wp.atomic_add(grad_attributes, table, face[0], c, g * b[0])
            wp.atomic_add(grad_attributes, table, face[1], c, g * b[1])
            wp.atomic_add(grad_attributes, table, face[2], c, g * b[2])
    grad_bary[pixel] = wp.vec3(g0, g1, g2)


@wp.kernel
@no_type_check
def sum_area_normals(verts: wp.array(dtype=wp.vec3), faces: wp.array(dtype=wp.vec3i), sums: wp.array(dtype=wp.vec3)):
    """Add (b - a) x (c - a) to every triangle's corners."""
    face = faces[wp.tid()]
    a = verts[face[0]]
    normal = wp.cross(verts[face[1]] - a, verts[face[2]] - a)
    for k in range(3):
        wp.atomic_add(sums, face[k], normal)


@wp.kernel
@no_type_check
def sum_area_normals_backward(
    verts: wp.array(dtype=wp.vec3),
    faces: wp.array(dtype=wp.vec3i),
    grad_sums: wp.array(dtype=wp.vec3),
    grad_verts: wp.array(dtype=wp.vec3),
):
    """Differentiate `sum_area_normals`.

    With n = u x v and g = dL/dn: dL/du = v x g and dL/dv = g x u.
    """
    face = faces[wp.tid()]
    g = grad_sums[face[0]] + grad_sums[face[1]] + grad_sums[face[2]]
    a = verts[face[0]]
    grad_u = wp.cross(verts[face[2]] - a, g)
    grad_v = wp.cross(g, verts[face[1]] - a)
    wp.atomic_add(grad_verts, face[0], -grad_u - grad_v)
    wp.atomic_add(grad_verts, face[1], grad_u)
    wp.atomic_add(grad_verts, face[2], grad_v)


@wp.kernel
@no_type_check
def unit_leading(values: wp.array2d(dtype=wp.float32), out: wp.array2d(dtype=wp.float32)):
    """Scale the first three channels to unit length.

    The others are copied; the zero vector stays.
    """
    pixel = wp.tid()
    n = wp.vec3(values[pixel, 0], values[pixel, 1], values[pixel, 2])
    n = wp.normalize(n)
    for k in range(3):
        out[pixel, k] = n[k]
    for c in range(3, values.shape[1]):
        out[pixel, c] = values[pixel, c]


@wp.kernel
@no_type_check
def unit_leading_backward(
    values: wp.array2d(dtype=wp.float32),
    grad_out: wp.array2d(dtype=wp.float32),
    grad_values: wp.array2d(dtype=wp.float32),
):
    """Differentiate `unit_leading`.

    With n = x / |x|: dL/dx = (g - n (n . g)) / |x|, and 0 at the zero vector.
    """
    pixel = wp.tid()
    x = wp.vec3(values[pixel, 0], values[pixel, 1], values[pixel, 2])
    g = wp.vec3(grad_out[pixel, 0], grad_out[pixel, 1], grad_out[pixel, 2])
    length = wp.length(x)
    if length > 0.0:
        n = x / length
        g = (g - n * wp.dot(n, g)) / length
    else:
        g = wp.vec3(0.0, 0.0, 0.0)
    for k in range(3):
        grad_values[pixel, k] = g[k]
    for c in range(3, values.shape[1]):
        grad_values[pixel, c] = grad_out[pixel, c]
