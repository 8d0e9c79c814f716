"""Warp kernels of the multiresolution hash encoding.

Features of points, their gradients, and those of gradients.
"""

# Kernels are annotated with Warp's own array types, which no type checker knows.
# mypy: ignore-errors

from typing import no_type_check

import warp as wp

wp.set_module_options({"enable_backward": False})

HASH_Y, HASH_Z = 2654435761, 805459861
_STEP_Y, _STEP_Z = wp.constant(wp.uint32(HASH_Y)), wp.constant(wp.uint32(HASH_Z))

_Entries = wp.types.matrix(shape=(3, 2), dtype=wp.uint32)
_Weights = wp.types.matrix(shape=(3, 2), dtype=wp.float32)


@wp.func
@no_type_check
def _cell_of(point: wp.vec3, layout: wp.array2d(dtype=wp.int32), level: int):
    """Find the point's cell in one level.

    Along each axis, two shares of an entry's number and two weights.
    """
    resolution = layout[level, 0]
    hashed = layout[level, 2] != 0
    side = wp.uint32(resolution + 1)
    entries = _Entries()
    weights = _Weights()
    for axis in range(3):
        scaled = wp.clamp(point[axis], 0.0, 1.0) * float(resolution)
        cell = wp.min(int(scaled), resolution - 1)
        if hashed:
            step = wp.where(axis == 0, wp.uint32(1), wp.where(axis == 1, _STEP_Y, _STEP_Z))
        else:
            step = wp.where(axis == 0, side * side, wp.where(axis == 1, side, wp.uint32(1)))
        share = scaled - float(cell)
        entries[axis, 0] = wp.uint32(cell) * step
        entries[axis, 1] = wp.uint32(cell + 1) * step
        weights[axis, 0] = 1.0 - share
        weights[axis, 1] = share
    return entries, weights


@wp.func
@no_type_check
def _corner_entry(entries: _Entries, start: int, mask: wp.uint32, x: int, y: int, z: int):
    """Look up a corner's row of the table.

    A mask of 0 says that every vertex of the level has its own.
    """
    if mask == wp.uint32(0):
        return start + int(entries[0, x] + entries[1, y] + entries[2, z])
    return start + int((entries[0, x] ^ entries[1, y] ^ entries[2, z]) & mask)


@wp.kernel
@no_type_check
def encode_forward(
    points: wp.array(dtype=wp.vec3),
    layout: wp.array2d(dtype=wp.int32),
    table: wp.array2d(dtype=wp.float32),
    features: wp.array2d(dtype=wp.float32),
):
    """Sum a point's features in a level.

    One thread per level and point; `layout` has a row (resolution, start, mask) for each level.
    """
    level, i = wp.tid()
    entries, weights = _cell_of(points[i], layout, level)
    start = layout[level, 1]
    mask = wp.uint32(layout[level, 2])
    total = wp.vec2(0.0, 0.0)
    for corner in range(8):
        x, y, z = corner >> 2, (corner >> 1) & 1, corner & 1
        entry = _corner_entry(entries, start, mask, x, y, z)
        total += weights[0, x] * weights[1, y] * weights[2, z] * wp.vec2(table[entry, 0], table[entry, 1])
    features[i, 2 * level] = total[0]
    features[i, 2 * level + 1] = total[1]


@wp.kernel
@no_type_check
def encode_backward(
    points: wp.array(dtype=wp.vec3),
    layout: wp.array2d(dtype=wp.int32),
    grad_features: wp.array2d(dtype=wp.float32),
    grad_table: wp.array2d(dtype=wp.float32),
):
    """Add features' gradients to the entries they were made of.

    There are eight for every feature.
    """
    level, i = wp.tid()
    entries, weights = _cell_of(points[i], layout, level)
    start = layout[level, 1]
    mask = wp.uint32(layout[level, 2])
    for corner in range(8):
        x, y, z = corner >> 2, (corner >> 1) & 1, corner & 1
        entry = _corner_entry(entries, start, mask, x, y, z)
        weight = weights[0, x] * weights[1, y] * weights[2, z]
        wp.atomic_add(grad_table, entry, 0, weight * grad_features[i, 2 * level])
        wp.atomic_add(grad_table, entry, 1, weight * grad_features[i, 2 * level + 1])


@wp.func
@no_type_check
def _scale_of(point: wp.vec3, layout: wp.array2d(dtype=wp.int32), level: int):
    """Scale a change of the point to one of its shares.

    Outside the cube, along that axis, they change by nothing.
    """
    scale = wp.vec3(0.0, 0.0, 0.0)
    for axis in range(3):
        if point[axis] >= 0.0 and point[axis] <= 1.0:
            scale[axis] = float(layout[level, 0])
    return scale


@wp.func
@no_type_check
def _slope(weights: _Weights, x: int, y: int, z: int):
    """Differentiate a corner's weight `a b c` by the three shares.

    `da` is 1 or -1.
    """
    a, b, c = weights[0, x], weights[1, y], weights[2, z]
    da, db, dc = float(2 * x - 1), float(2 * y - 1), float(2 * z - 1)
    return wp.vec3(da * b * c, a * db * c, a * b * dc)


@wp.func
@no_type_check
def _bend(weights: _Weights, along: wp.vec3, x: int, y: int, z: int):
    """Differentiate `_slope` along a direction.

    A weight is linear in each share, so only mixed terms are left.
    """
    a, b, c = weights[0, x], weights[1, y], weights[2, z]
    da, db, dc = float(2 * x - 1), float(2 * y - 1), float(2 * z - 1)
    return wp.vec3(
        da * (db * c * along[1] + b * dc * along[2]),
        db * (da * c * along[0] + a * dc * along[2]),
        dc * (da * b * along[0] + a * db * along[1]),
    )


@wp.kernel
@no_type_check
def encode_points_backward(
    points: wp.array(dtype=wp.vec3),
    layout: wp.array2d(dtype=wp.int32),
    table: wp.array2d(dtype=wp.float32),
    grad_features: wp.array2d(dtype=wp.float32),
    grad_points: wp.array(dtype=wp.vec3),
):
    """Add features' gradients to the points they were made at."""
    level, i = wp.tid()
    point = points[i]
    entries, weights = _cell_of(point, layout, level)
    start = layout[level, 1]
    mask = wp.uint32(layout[level, 2])
    grad = wp.vec2(grad_features[i, 2 * level], grad_features[i, 2 * level + 1])
    total = wp.vec3(0.0, 0.0, 0.0)
    for corner in range(8):
        x, y, z = corner >> 2, (corner >> 1) & 1, corner & 1
        entry = _corner_entry(entries, start, mask, x, y, z)
        total += wp.dot(grad, wp.vec2(table[entry, 0], table[entry, 1])) * _slope(weights, x, y, z)
    wp.atomic_add(grad_points, i, wp.cw_mul(_scale_of(point, layout, level), total))


@wp.kernel
@no_type_check
def encode_points_second(
    points: wp.array(dtype=wp.vec3),
    layout: wp.array2d(dtype=wp.int32),
    table: wp.array2d(dtype=wp.float32),
    grad_features: wp.array2d(dtype=wp.float32),
    along: wp.array(dtype=wp.vec3),
    grad_table: wp.array2d(dtype=wp.float32),
    grad_grad_features: wp.array2d(dtype=wp.float32),
    grad_grad_points: wp.array(dtype=wp.vec3),
):
    """Differentiate `along . grad_points` of the kernel above.

    By all it was made of; a missing array is not filled.
    """
    level, i = wp.tid()
    point = points[i]
    entries, weights = _cell_of(point, layout, level)
    start = layout[level, 1]
    mask = wp.uint32(layout[level, 2])
    scale = _scale_of(point, layout, level)
    direction = wp.cw_mul(scale, along[i])
    grad = wp.vec2(grad_features[i, 2 * level], grad_features[i, 2 * level + 1])
    tangent = wp.vec2(0.0, 0.0)
    total = wp.vec3(0.0, 0.0, 0.0)
    for corner in range(8):
        x, y, z = corner >> 2, (corner >> 1) & 1, corner & 1
        entry = _corner_entry(entries, start, mask, x, y, z)
        slope = wp.dot(_slope(weights, x, y, z), direction)
        feature = wp.vec2(table[entry, 0], table[entry, 1])
        tangent += slope * feature
        if grad_table:
            wp.atomic_add(grad_table, entry, 0, slope * grad[0])
            wp.atomic_add(grad_table, entry, 1, slope * grad[1])
        if grad_grad_points:
            total += wp.dot(grad, feature) * _bend(weights, direction, x, y, z)
    if grad_grad_features:
        grad_grad_features[i, 2 * level] = tangent[0]
        grad_grad_features[i, 2 * level + 1] = tangent[1]
    if grad_grad_points:
        wp.atomic_add(grad_grad_points, i, wp.cw_mul(scale, total))
