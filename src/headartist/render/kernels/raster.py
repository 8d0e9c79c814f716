"""Warp kernels of the rasteriser.

Visibility, barycentrics with depth, and their hand-written gradient.

Edge functions are those of 2D homogeneous rasterisation (Olano and Greer 1997). With a triangle's clip vertices
P_k = (x_k, y_k, w_k) and a pixel's centre F = (x_ndc, y_ndc, 1),

    e_0 = det(P_1, P_2, F),   e_1 = det(P_2, P_0, F),   e_2 = det(P_0, P_1, F),   bary_k = e_k / (e_0 + e_1 + e_2)

are perspective-correct barycentrics without a division by w, and depth = sum_k bary_k w_k. They are evaluated in
float64 on float32 input: products are then exact, so the two triangles at an edge get exactly opposite values and no
pixel falls between them.
"""

# Kernels are annotated with Warp's own array types, which no type checker knows.
# mypy: ignore-errors

from typing import no_type_check

import warp as wp

wp.set_module_options({"enable_backward": False})

EMPTY_KEY = wp.constant(wp.int64(0x7FFFFFFFFFFFFFFF))
# Thinner triangles than this many square pixels are degenerate: their gradients would only be rounding noise.
MIN_AREA_PX = wp.constant(wp.float64(1.0e-8))
# The box of a triangle is widened by this, in pixels, so that rounding never loses a centre that lies on an edge.
BOX_SLACK_PX = wp.constant(wp.float64(1.0e-6))


@wp.func
@no_type_check
def is_drawable(p: wp.vec4, near: float):
    """Tell whether a vertex may be drawn.

    It is finite and in front of the near plane.
    """
    return p[3] > near and wp.isfinite(p[0]) and wp.isfinite(p[1]) and wp.isfinite(p[3])


@wp.func
@no_type_check
def homogeneous(p: wp.vec4):
    """Take what decides where a clip vertex lands.

    (x, y, w) in float64.
    """
    return wp.vec3d(wp.float64(p[0]), wp.float64(p[1]), wp.float64(p[3]))


@wp.func
@no_type_check
def facing_of(p0: wp.vec3d, p1: wp.vec3d, p2: wp.vec3d, height: int, width: int):
    """Tell which way a triangle faces.

    +1 where it winds counter-clockwise on the screen (y up), -1 for the reverse, 0 for a degenerate one.

    det(P_0, P_1, P_2) / (w_0 w_1 w_2) is twice the area in normalised device coordinates.
    """
    det = wp.dot(p0, wp.cross(p1, p2))
    pixels = wp.float64(height * width) / wp.float64(8.0)
    if wp.abs(det) * pixels < MIN_AREA_PX * p0[2] * p1[2] * p2[2]:
        return wp.float64(0.0)
    return wp.sign(det)


@wp.func
@no_type_check
def x_ndc(column: int, width: int):
    """Place a column's centres, from -1 to +1."""
    # Times the reciprocal, which leaves the loops over pixels without a division.
    return wp.float64(2 * column + 1) * (wp.float64(1.0) / wp.float64(width)) - wp.float64(1.0)


@wp.func
@no_type_check
def y_ndc(row: int, height: int):
    """Place a row's centres, from +1 at the top.

    To -1.
    """
    return wp.float64(1.0) - wp.float64(2 * row + 1) * (wp.float64(1.0) / wp.float64(height))


@wp.func
@no_type_check
def first_center(low_px: wp.float64, size: int):
    """Find the first pixel not before `low_px`.

    By its centre, inside the picture; `size` if there is none.
    """
    return int(wp.clamp(wp.ceil(low_px - wp.float64(0.5) - BOX_SLACK_PX), wp.float64(0.0), wp.float64(size)))


@wp.func
@no_type_check
def last_center(high_px: wp.float64, size: int):
    """Find the last pixel not beyond `high_px`.

    By its centre, inside the picture; -1 if there is none.
    """
    return int(wp.clamp(wp.floor(high_px - wp.float64(0.5) + BOX_SLACK_PX), wp.float64(-1.0), wp.float64(size - 1)))


@wp.func
@no_type_check
def column_px(p: wp.vec3d, width: int):
    """Horizontal pixel coordinate of a vertex."""
    return (p[0] / p[2] * wp.float64(0.5) + wp.float64(0.5)) * wp.float64(width)


@wp.func
@no_type_check
def row_px(p: wp.vec3d, height: int):
    """Vertical pixel coordinate of a vertex, growing downwards."""
    return (wp.float64(0.5) - p[1] / p[2] * wp.float64(0.5)) * wp.float64(height)


@wp.kernel
@no_type_check
def visibility(
    verts: wp.array2d(dtype=wp.vec4),
    faces: wp.array(dtype=wp.vec3i),
    near: float,
    height: int,
    width: int,
    keys: wp.array(dtype=wp.int64),
):
    """Keep the nearest triangle of every covered pixel.

    Written is min(depth bits << 32 | face): the nearest wins, then the lowest index.
    """
    view, f = wp.tid()
    face = faces[f]
    v0 = verts[view, face[0]]
    v1 = verts[view, face[1]]
    v2 = verts[view, face[2]]
    if not (is_drawable(v0, near) and is_drawable(v1, near) and is_drawable(v2, near)):
        return
    p0 = homogeneous(v0)
    p1 = homogeneous(v1)
    p2 = homogeneous(v2)
    # Rows and columns first: most triangles of a fine mesh reach no pixel's centre at all.
    r0 = row_px(p0, height)
    r1 = row_px(p1, height)
    r2 = row_px(p2, height)
    row_begin = first_center(wp.min(r0, wp.min(r1, r2)), height)
    row_end = last_center(wp.max(r0, wp.max(r1, r2)), height)
    if row_begin > row_end:
        return
    c0 = column_px(p0, width)
    c1 = column_px(p1, width)
    c2 = column_px(p2, width)
    column_begin = first_center(wp.min(c0, wp.min(c1, c2)), width)
    column_end = last_center(wp.max(c0, wp.max(c1, c2)), width)
    if column_begin > column_end:
        return
    facing = facing_of(p0, p1, p2, height, width)
    if facing == wp.float64(0.0):
        return
    n0 = wp.cross(p1, p2) * facing
    n1 = wp.cross(p2, p0) * facing
    n2 = wp.cross(p0, p1) * facing
    for row in range(row_begin, row_end + 1):
        y = y_ndc(row, height)
        for column in range(column_begin, column_end + 1):
            x = x_ndc(column, width)
            e0 = n0[0] * x + n0[1] * y + n0[2]
            e1 = n1[0] * x + n1[1] * y + n1[2]
            e2 = n2[0] * x + n2[1] * y + n2[2]
            total = e0 + e1 + e2
            if e0 >= wp.float64(0.0) and e1 >= wp.float64(0.0) and e2 >= wp.float64(0.0) and total > wp.float64(0.0):
                depth = wp.float32((e0 * p0[2] + e1 * p1[2] + e2 * p2[2]) / total)
                # Positive floats order like their bits.
                key = (wp.int64(wp.cast(depth, wp.int32)) << wp.int64(32)) | wp.int64(f)
                wp.atomic_min(keys, (view * height + row) * width + column, key)


@wp.kernel
@no_type_check
def resolve(
    verts: wp.array2d(dtype=wp.vec4),
    faces: wp.array(dtype=wp.vec3i),
    keys: wp.array(dtype=wp.int64),
    height: int,
    width: int,
    face_of: wp.array(dtype=wp.int32),
    bary: wp.array(dtype=wp.vec3),
    depth: wp.array(dtype=wp.float32),
):
    """Turn keys into face, barycentrics and depth."""
    pixel = wp.tid()
    key = keys[pixel]
    if key == EMPTY_KEY:
        face_of[pixel] = -1
        bary[pixel] = wp.vec3(0.0, 0.0, 0.0)
        depth[pixel] = 0.0
        return
    f = int(key & wp.int64(0xFFFFFFFF))
    line = pixel // width
    view = line // height
    face = faces[f]
    p0 = homogeneous(verts[view, face[0]])
    p1 = homogeneous(verts[view, face[1]])
    p2 = homogeneous(verts[view, face[2]])
    center = wp.vec3d(x_ndc(pixel - line * width, width), y_ndc(line - view * height, height), wp.float64(1.0))
    e0 = wp.dot(wp.cross(p1, p2), center)
    e1 = wp.dot(wp.cross(p2, p0), center)
    e2 = wp.dot(wp.cross(p0, p1), center)
    scale = wp.float64(1.0) / (e0 + e1 + e2)
    face_of[pixel] = f
    bary[pixel] = wp.vec3(wp.float32(e0 * scale), wp.float32(e1 * scale), wp.float32(e2 * scale))
    depth[pixel] = wp.float32((e0 * p0[2] + e1 * p1[2] + e2 * p2[2]) * scale)


@wp.func
@no_type_check
def add_to_vertex(
    grad: wp.array2d(dtype=wp.vec4), view: int, vertex: int, gx: wp.float64, gy: wp.float64, gw: wp.float64
):
    """Accumulate a gradient with respect to one clip vertex."""
    wp.atomic_add(grad, view, vertex, wp.vec4(wp.float32(gx), wp.float32(gy), 0.0, wp.float32(gw)))


@wp.kernel
@no_type_check
def resolve_backward(
    verts: wp.array2d(dtype=wp.vec4),
    faces: wp.array(dtype=wp.vec3i),
    face_of: wp.array(dtype=wp.int32),
    grad_bary: wp.array(dtype=wp.vec3),
    grad_depth: wp.array(dtype=wp.float32),
    height: int,
    width: int,
    grad_verts: wp.array2d(dtype=wp.vec4),
):
    """Differentiate barycentrics and depth by the clip vertices.

    With X_k = (x_k - x w_k, y_k - y w_k), the vertices as seen from the pixel's centre (x, y), e_0 = X_1 cross X_2 and
    so on, which has short derivatives.
    """
    pixel = wp.tid()
    f = face_of[pixel]
    if f < 0:
        return
    gb = grad_bary[pixel]
    gd = wp.float64(grad_depth[pixel])
    if gb[0] == 0.0 and gb[1] == 0.0 and gb[2] == 0.0 and gd == wp.float64(0.0):
        return
    line = pixel // width
    view = line // height
    y = y_ndc(line - view * height, height)
    x = x_ndc(pixel - line * width, width)
    face = faces[f]
    p0 = homogeneous(verts[view, face[0]])
    p1 = homogeneous(verts[view, face[1]])
    p2 = homogeneous(verts[view, face[2]])
    x0 = p0[0] - x * p0[2]
    y0 = p0[1] - y * p0[2]
    x1 = p1[0] - x * p1[2]
    y1 = p1[1] - y * p1[2]
    x2 = p2[0] - x * p2[2]
    y2 = p2[1] - y * p2[2]
    e0 = x1 * y2 - x2 * y1
    e1 = x2 * y0 - x0 * y2
    e2 = x0 * y1 - x1 * y0
    scale = wp.float64(1.0) / (e0 + e1 + e2)
    b0 = e0 * scale
    b1 = e1 * scale
    b2 = e2 * scale
    g0 = wp.float64(gb[0]) + gd * p0[2]
    g1 = wp.float64(gb[1]) + gd * p1[2]
    g2 = wp.float64(gb[2]) + gd * p2[2]
    mean = g0 * b0 + g1 * b1 + g2 * b2
    g0 = (g0 - mean) * scale
    g1 = (g1 - mean) * scale
    g2 = (g2 - mean) * scale
    gx0 = g2 * y1 - g1 * y2
    gy0 = g1 * x2 - g2 * x1
    gx1 = g0 * y2 - g2 * y0
    gy1 = g2 * x0 - g0 * x2
    gx2 = g1 * y0 - g0 * y1
    gy2 = g0 * x1 - g1 * x0
    add_to_vertex(grad_verts, view, face[0], gx0, gy0, gd * b0 - x * gx0 - y * gy0)
    add_to_vertex(grad_verts, view, face[1], gx1, gy1, gd * b1 - x * gx1 - y * gy1)
    add_to_vertex(grad_verts, view, face[2], gx2, gy2, gd * b2 - x * gx2 - y * gy2)
