"""Warp kernels that find outlines.

Their edges, and where those cross the pixel lattice.

An outline edge has all its triangles on one side of it on the screen: the border of a front- and a back-facing region,
or of an open mesh. It is crossed with the segments that join neighbouring pixel centres, one row or column at a time.
Half-edge 3 f + k of a face runs from its corner k to its corner k + 1; the face's third corner tells its covered side.
"""

# Kernels are annotated with Warp's own array types, which no type checker knows.
# mypy: ignore-errors

from typing import no_type_check

import warp as wp

from headartist.render.kernels.raster import (
    facing_of,
    first_center,
    homogeneous,
    is_drawable,
    last_center,
    x_ndc,
)

wp.set_module_options({"enable_backward": False})

FRONT, BACK, BOTH = wp.constant(1), wp.constant(2), wp.constant(3)
HORIZONTAL = wp.constant(0)
# The constants of MurmurHash3's finaliser.
GOLDEN, MIX_1, MIX_2 = (wp.constant(wp.uint32(n)) for n in (0x9E3779B9, 0x85EBCA6B, 0xC2B2AE35))
# The greatest number of a half-edge; keys hold its distance from there, so that equal crossings go to the lowest.
LAST_HALF_EDGE = wp.constant(2**31 - 1)
ALPHA_STEPS = wp.constant(wp.float64(1048576.0))


@wp.func
@no_type_check
def scramble(index: int):
    """Scramble an index to a fixed pseudo-random integer.

    The finaliser of MurmurHash3.
    """
    h = wp.uint32(index) + GOLDEN
    h = (h ^ (h >> wp.uint32(16))) * MIX_1
    h = (h ^ (h >> wp.uint32(13))) * MIX_2
    return wp.int32(h ^ (h >> wp.uint32(16)))


@wp.kernel
@no_type_check
def mark_vertices(
    verts: wp.array2d(dtype=wp.vec4),
    faces: wp.array(dtype=wp.vec3i),
    near: float,
    size: int,
    facing: wp.array2d(dtype=wp.int32),
    fan: wp.array2d(dtype=wp.int32),
    drawn: wp.array2d(dtype=wp.uint8),
):
    """Collect which sides of a vertex's triangles are seen.

    And whether they close around it.

    In a closed, consistently wound fan every neighbour is once the next and once the previous corner, so the sum of
    the differences of their scrambled indices is 0; at a border it is not.
    """
    view, f = wp.tid()
    drawn[view, f] = wp.uint8(0)
    face = faces[f]
    v0 = verts[view, face[0]]
    v1 = verts[view, face[1]]
    v2 = verts[view, face[2]]
    if not (is_drawable(v0, near) and is_drawable(v1, near) and is_drawable(v2, near)):
        return
    seen = facing_of(homogeneous(v0), homogeneous(v1), homogeneous(v2), size, size)
    if seen == wp.float64(0.0):
        return
    drawn[view, f] = wp.uint8(1)
    side = wp.where(seen > wp.float64(0.0), FRONT, BACK)
    s0 = scramble(face[0])
    s1 = scramble(face[1])
    s2 = scramble(face[2])
    wp.atomic_or(facing, view, face[0], side)
    wp.atomic_or(facing, view, face[1], side)
    wp.atomic_or(facing, view, face[2], side)
    wp.atomic_add(fan, view, face[0], s2 - s1)
    wp.atomic_add(fan, view, face[1], s0 - s2)
    wp.atomic_add(fan, view, face[2], s1 - s0)


@wp.func
@no_type_check
def may_be_outline(facing: wp.array2d(dtype=wp.int32), fan: wp.array2d(dtype=wp.int32), view: int, vertex: int):
    """Whether an outline may pass through a vertex."""
    return facing[view, vertex] == BOTH or fan[view, vertex] != 0


@wp.kernel
@no_type_check
def collect_candidates(
    faces: wp.array(dtype=wp.vec3i),
    facing: wp.array2d(dtype=wp.int32),
    fan: wp.array2d(dtype=wp.int32),
    drawn: wp.array2d(dtype=wp.uint8),
    count: wp.array(dtype=wp.int32),
    candidates: wp.array(dtype=wp.int32),
):
    """List half-edges whose ends may lie on an outline.

    Numbered through all views; both ends may.
    """
    view, f = wp.tid()
    if drawn[view, f] == wp.uint8(0):
        return
    face = faces[f]
    m0 = may_be_outline(facing, fan, view, face[0])
    m1 = may_be_outline(facing, fan, view, face[1])
    m2 = may_be_outline(facing, fan, view, face[2])
    first = 3 * (view * faces.shape[0] + f)
    if m0 and m1:
        candidates[wp.atomic_add(count, 0, 1)] = first
    if m1 and m2:
        candidates[wp.atomic_add(count, 0, 1)] = first + 1
    if m2 and m0:
        candidates[wp.atomic_add(count, 0, 1)] = first + 2


@wp.struct
@no_type_check
class HalfEdge:
    """A half-edge of one view.

    Its ends in ascending order, and the third corner of its face.
    """

    view: int
    low: int
    high: int
    third: int


@wp.func
@no_type_check
def unpack(half_edge: int, faces: wp.array(dtype=wp.vec3i)):
    """Look a half-edge up by its number."""
    edge = HalfEdge()
    edge.view = half_edge // (3 * faces.shape[0])
    within = half_edge - edge.view * 3 * faces.shape[0]
    face = faces[within // 3]
    k = within % 3
    a = face[k]
    b = face[(k + 1) % 3]
    edge.low = wp.min(a, b)
    edge.high = wp.max(a, b)
    edge.third = face[(k + 2) % 3]
    return edge


@wp.func
@no_type_check
def turn(a: wp.vec3d, b: wp.vec3d, c: wp.vec3d):
    """Measure the turn from a over b to c.

    Positive when c lies to the left of the line from a to b on the screen (y up).
    """
    return wp.dot(a, wp.cross(b, c))


@wp.kernel
@no_type_check
def join_edges(
    candidates: wp.array(dtype=wp.int32),
    verts: wp.array2d(dtype=wp.vec4),
    faces: wp.array(dtype=wp.vec3i),
    owner: wp.array(dtype=wp.int32),
    sides: wp.array(dtype=wp.int32),
    lowest: wp.array(dtype=wp.int32),
    slots: wp.array(dtype=wp.int32),
):
    """Gather the half-edges of one edge in one slot.

    Of an open-addressing hash table, with the sides they cover.
    """
    candidate = wp.tid()
    half_edge = candidates[candidate]
    edge = unpack(half_edge, faces)
    mask = owner.shape[0] - 1
    slot = scramble(scramble(scramble(edge.low) ^ edge.high) ^ edge.view) & mask
    found = wp.bool(False)  # a Warp variable, so that the loop may change it
    while not found:
        holder = wp.atomic_cas(owner, slot, -1, half_edge)
        if holder == -1:
            found = True
        else:
            other = unpack(holder, faces)
            if other.low == edge.low and other.high == edge.high and other.view == edge.view:
                found = True
            else:
                slot = (slot + 1) & mask
    slots[candidate] = slot
    a = homogeneous(verts[edge.view, edge.low])
    b = homogeneous(verts[edge.view, edge.high])
    c = homogeneous(verts[edge.view, edge.third])
    wp.atomic_or(sides, slot, wp.where(turn(a, b, c) > wp.float64(0.0), FRONT, BACK))
    wp.atomic_min(lowest, slot, half_edge)


@wp.func
@no_type_check
def seen_along(p: wp.vec3d, axis: int):
    """Turn a homogeneous point into (u, v, w).

    Along the axis of a pixel pair goes u, across it v, both growing like pixel indices.
    """
    if axis == HORIZONTAL:
        return wp.vec3d(p[0], -p[1], p[2])
    return wp.vec3d(-p[1], p[0], p[2])


@wp.func
@no_type_check
def to_px(ndc: wp.float64, size: int):
    """From -1 .. 1 to 0 .. size."""
    return (ndc + wp.float64(1.0)) * wp.float64(0.5) * wp.float64(size)


@wp.func
@no_type_check
def crossing(a: wp.vec3d, b: wp.vec3d, line: int, size: int):
    """Cross the edge from a to b with a row or column.

    The ends are (u, v, w); the result is (u in pixels, view depth).

    With V_k = v_k - v w_k, it lies at V_a / (V_a - V_b) of the edge: u = (u_b V_a - u_a V_b) / (w_b V_a - w_a V_b).
    """
    v = x_ndc(line, size)
    va = a[1] - v * a[2]
    vb = b[1] - v * b[2]
    w = b[2] * va - a[2] * vb
    return wp.vec2d(to_px((b[0] * va - a[0] * vb) / w, size), w / (va - vb))


@wp.func
@no_type_check
def depth_or_inf(depth: wp.array(dtype=wp.float32), pixel: int):
    """Read a pixel's view depth.

    Infinite where nothing is (stored as 0).
    """
    d = depth[pixel]
    if d > 0.0:
        return d
    return wp.inf


@wp.kernel
@no_type_check
def cross_lattice(
    candidates: wp.array(dtype=wp.int32),
    slots: wp.array(dtype=wp.int32),
    sides: wp.array(dtype=wp.int32),
    lowest: wp.array(dtype=wp.int32),
    verts: wp.array2d(dtype=wp.vec4),
    faces: wp.array(dtype=wp.vec3i),
    face_of: wp.array(dtype=wp.int32),
    depth: wp.array(dtype=wp.float32),
    size: int,
    best: wp.array2d(dtype=wp.int64),
):
    """Walk outline edges over rows and columns.

    Every pixel pair keeps its outermost crossing.

    A crossing counts where the two pixels show different triangles, the pixel on the covered side is the nearer, and
    the edge is closer in depth to it than to the other. The key holds (distance from the nearer centre, half-edge).
    """
    candidate = wp.tid()
    half_edge = candidates[candidate]
    slot = slots[candidate]
    if sides[slot] == BOTH or lowest[slot] != half_edge:
        return
    edge = unpack(half_edge, faces)
    base = edge.view * size * size
    for axis in range(2):
        a = seen_along(homogeneous(verts[edge.view, edge.low]), axis)
        b = seen_along(homogeneous(verts[edge.view, edge.high]), axis)
        c = seen_along(homogeneous(verts[edge.view, edge.third]), axis)
        va = to_px(a[1] / a[2], size)
        vb = to_px(b[1] / b[2], size)
        dv = wp.abs(vb - va)
        du = wp.abs(to_px(b[0] / b[2], size) - to_px(a[0] / a[2], size))
        begin = first_center(wp.min(va, vb), size)
        end = last_center(wp.max(va, vb), size)
        # Each edge belongs to the axis that it crosses most steeply; exact diagonals to the horizontal one.
        if dv < du or (dv == du and axis != HORIZONTAL):
            continue
        covers_plus = (turn(a, b, c) > wp.float64(0.0)) != (vb > va)
        for line in range(begin, end + 1):
            at = crossing(a, b, line, size)
            if not (at[0] >= wp.float64(0.5) and at[0] < wp.float64(size) - wp.float64(0.5)):
                continue
            i = int(at[0] - wp.float64(0.5))
            row = wp.where(axis == HORIZONTAL, line, i)
            column = wp.where(axis == HORIZONTAL, i, line)
            first = base + row * size + column
            second = first + wp.where(axis == HORIZONTAL, 1, size)
            if face_of[first] == face_of[second]:
                continue
            front = depth_or_inf(depth, wp.where(covers_plus, second, first))
            back = depth_or_inf(depth, wp.where(covers_plus, first, second))
            w = wp.float32(at[1])
            if not (front < back and wp.abs(w - front) <= wp.abs(back - w)):
                continue
            reach = at[0] - wp.float64(0.5) - wp.float64(i)
            if covers_plus:
                reach = wp.float64(1.0) - reach
            key = wp.int64(reach * ALPHA_STEPS) << wp.int64(32) | wp.int64(LAST_HALF_EDGE - half_edge)
            wp.atomic_max(best, axis, first, key)
