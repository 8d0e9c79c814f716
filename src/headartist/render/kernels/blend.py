"""Warp kernels that blend pixels across outlines.

With the gradient that moves the outlines.
"""

# Kernels are annotated with Warp's own array types, which no type checker knows.
# mypy: ignore-errors

from typing import no_type_check

import warp as wp

from headartist.render.kernels.outline import (
    HORIZONTAL,
    LAST_HALF_EDGE,
    crossing,
    depth_or_inf,
    seen_along,
    unpack,
)
from headartist.render.kernels.raster import homogeneous, x_ndc

wp.set_module_options({"enable_backward": False})


@wp.struct
@no_type_check
class Pair:
    """Two neighbouring pixels that an outline edge separates."""

    view: int
    low: int
    high: int
    axis: int
    front: int
    back: int
    line: int
    start: wp.float64
    step: wp.float64


@wp.func
@no_type_check
def read_pair(
    index: int,
    key: wp.int64,
    faces: wp.array(dtype=wp.vec3i),
    depth: wp.array(dtype=wp.float32),
    size: int,
):
    """Decode a pixel pair.

    `start` is the nearer pixel's centre along the axis, `step` the direction to the other.
    """
    edge = unpack(LAST_HALF_EDGE - int(key & wp.int64(0xFFFFFFFF)), faces)
    pixels = depth.shape[0]
    pair = Pair()
    pair.view = edge.view
    pair.low = edge.low
    pair.high = edge.high
    pair.axis = index // pixels
    first = index % pixels
    second = first + wp.where(pair.axis == HORIZONTAL, 1, size)
    row = (first // size) % size
    column = first % size
    pair.line = wp.where(pair.axis == HORIZONTAL, row, column)
    i = wp.float64(wp.where(pair.axis == HORIZONTAL, column, row)) + wp.float64(0.5)
    if depth_or_inf(depth, first) < depth_or_inf(depth, second):
        pair.front = first
        pair.back = second
        pair.start = i
        pair.step = wp.float64(1.0)
    else:
        pair.front = second
        pair.back = first
        pair.start = i + wp.float64(1.0)
        pair.step = wp.float64(-1.0)
    return pair


@wp.func
@no_type_check
def reach_of(pair: Pair, verts: wp.array2d(dtype=wp.vec4), size: int):
    """Measure from the nearer pixel's centre to the edge.

    In pixels, between 0 and 1.
    """
    a = seen_along(homogeneous(verts[pair.view, pair.low]), pair.axis)
    b = seen_along(homogeneous(verts[pair.view, pair.high]), pair.axis)
    at = crossing(a, b, pair.line, size)
    return wp.clamp((at[0] - pair.start) * pair.step, wp.float64(0.0), wp.float64(1.0))


@wp.kernel
@no_type_check
def blend(
    pairs: wp.array(dtype=wp.int64),
    best: wp.array(dtype=wp.int64),
    verts: wp.array2d(dtype=wp.vec4),
    faces: wp.array(dtype=wp.vec3i),
    depth: wp.array(dtype=wp.float32),
    size: int,
    image: wp.array2d(dtype=wp.float32),
    out: wp.array2d(dtype=wp.float32),
):
    """Spill one pixel of a pair into the other.

    The nearer one where the edge passes the middle between them, or the reverse.
    """
    index = int(pairs[wp.tid()])
    pair = read_pair(index, best[index], faces, depth, size)
    shift = wp.float32(reach_of(pair, verts, size)) - 0.5
    target = wp.where(shift >= 0.0, pair.back, pair.front)
    for c in range(image.shape[1]):
        wp.atomic_add(out, target, c, shift * (image[pair.front, c] - image[pair.back, c]))


@wp.func
@no_type_check
def add_along(grad: wp.array2d(dtype=wp.vec4), view: int, vertex: int, g: wp.vec3d, axis: int):
    """Accumulate a gradient at a clip vertex.

    It is given as (u, v, w).
    """
    u = wp.float32(g[0])
    v = wp.float32(g[1])
    w = wp.float32(g[2])
    if axis == HORIZONTAL:
        wp.atomic_add(grad, view, vertex, wp.vec4(u, -v, 0.0, w))
    else:
        wp.atomic_add(grad, view, vertex, wp.vec4(v, -u, 0.0, w))


@wp.kernel
@no_type_check
def blend_backward(
    pairs: wp.array(dtype=wp.int64),
    best: wp.array(dtype=wp.int64),
    verts: wp.array2d(dtype=wp.vec4),
    faces: wp.array(dtype=wp.vec3i),
    depth: wp.array(dtype=wp.float32),
    size: int,
    image: wp.array2d(dtype=wp.float32),
    grad_out: wp.array2d(dtype=wp.float32),
    grad_image: wp.array2d(dtype=wp.float32),
    grad_verts: wp.array2d(dtype=wp.vec4),
):
    """Differentiate `blend` by the image and the edge's ends.

    By the ends through the crossing.
    """
    index = int(pairs[wp.tid()])
    pair = read_pair(index, best[index], faces, depth, size)
    reach = reach_of(pair, verts, size)
    shift = wp.float32(reach) - 0.5
    target = wp.where(shift >= 0.0, pair.back, pair.front)
    grad_shift = wp.float32(0.0)
    for c in range(image.shape[1]):
        g = grad_out[target, c]
        wp.atomic_add(grad_image, pair.front, c, shift * g)
        wp.atomic_add(grad_image, pair.back, c, -shift * g)
        grad_shift += g * (image[pair.front, c] - image[pair.back, c])
    if grad_shift == 0.0 or reach <= wp.float64(0.0) or reach >= wp.float64(1.0):
        return
    a = seen_along(homogeneous(verts[pair.view, pair.low]), pair.axis)
    b = seen_along(homogeneous(verts[pair.view, pair.high]), pair.axis)
    v = x_ndc(pair.line, size)
    va = a[1] - v * a[2]
    vb = b[1] - v * b[2]
    w = b[2] * va - a[2] * vb
    u = (b[0] * va - a[0] * vb) / w
    # d u = (d numerator - u d w) / w; numerator and w are bilinear in (u, w) of one end and V of the other.
    gu = wp.float64(grad_shift) * pair.step * wp.float64(0.5) * wp.float64(size) / w
    to_va = gu * (b[0] - u * b[2])
    to_vb = -gu * (a[0] - u * a[2])
    add_along(grad_verts, pair.view, pair.low, wp.vec3d(-gu * vb, to_va, gu * u * vb - v * to_va), pair.axis)
    add_along(grad_verts, pair.view, pair.high, wp.vec3d(gu * va, to_vb, -gu * u * va - v * to_vb), pair.axis)
