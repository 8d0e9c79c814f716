"""The Warp kernel that finds what is in front.

It lets rays through hair and beards by their alpha.
"""

# Kernels are annotated with Warp's array types, which are no Python types.
# mypy: ignore-errors

from typing import no_type_check

import warp as wp

wp.set_module_options({"enable_backward": False})

FARTHEST = wp.constant(16.0)  # world units; the depth key spans this


@wp.kernel
@no_type_check
def nearest(
    points: wp.array(dtype=wp.vec3),
    faces: wp.array2d(dtype=wp.int32),
    layer: wp.array(dtype=wp.int32),
    uv: wp.array2d(dtype=wp.vec2),
    opacity: wp.array(dtype=wp.float32),
    texels: wp.array(dtype=wp.uint8),
    extent: wp.array2d(dtype=wp.int32),
    size: int,
    keys: wp.array2d(dtype=wp.uint64),
):
    """Keep the nearest triangle that its alpha lets through.

    The key of a sample has its depth in the upper half, its triangle in the lower.
    """
    face = wp.tid()
    i0 = faces[face, 0]
    i1 = faces[face, 1]
    i2 = faces[face, 2]
    p0 = points[i0]
    p1 = points[i1]
    p2 = points[i2]
    if p0[2] <= 0.1 or p1[2] <= 0.1 or p2[2] <= 0.1:
        return
    area = (p1[0] - p0[0]) * (p2[1] - p0[1]) - (p2[0] - p0[0]) * (p1[1] - p0[1])
    if area == 0.0:
        return
    left = wp.max(int(wp.floor(wp.min(p0[0], wp.min(p1[0], p2[0])) - 0.5)), 0)
    right = wp.min(int(wp.ceil(wp.max(p0[0], wp.max(p1[0], p2[0])) - 0.5)), size - 1)
    top = wp.max(int(wp.floor(wp.min(p0[1], wp.min(p1[1], p2[1])) - 0.5)), 0)
    bottom = wp.min(int(wp.ceil(wp.max(p0[1], wp.max(p1[1], p2[1])) - 0.5)), size - 1)
    material = layer[face]
    for y in range(top, bottom + 1):
        for x in range(left, right + 1):
            px = float(x) + 0.5
            py = float(y) + 0.5
            b0 = ((p1[0] - px) * (p2[1] - py) - (p2[0] - px) * (p1[1] - py)) / area
            b1 = ((p2[0] - px) * (p0[1] - py) - (p0[0] - px) * (p2[1] - py)) / area
            b2 = 1.0 - b0 - b1
            if b0 >= 0.0 and b1 >= 0.0 and b2 >= 0.0:
                w0 = b0 / p0[2]
                w1 = b1 / p1[2]
                w2 = b2 / p2[2]
                depth = 1.0 / (w0 + w1 + w2)
                at = (uv[face, 0] * w0 + uv[face, 1] * w1 + uv[face, 2] * w2) * depth
                width = extent[material, 1]
                height = extent[material, 2]
                column = wp.clamp(int((at[0] - wp.floor(at[0])) * float(width)), 0, width - 1)
                row = wp.clamp(int((1.0 - at[1] - wp.floor(1.0 - at[1])) * float(height)), 0, height - 1)
                alpha = float(texels[extent[material, 0] + row * width + column]) / 255.0
                alpha = alpha * (opacity[i0] * w0 + opacity[i1] * w1 + opacity[i2] * w2) * depth
                state = wp.rand_init(face, y * size + x)
                if alpha >= 0.99 or alpha > wp.randf(state):
                    near = wp.uint64(wp.clamp(depth / FARTHEST, 0.0, 1.0) * 4294967040.0)
                    wp.atomic_min(keys, y, x, (near << wp.uint64(32)) | wp.uint64(face))
