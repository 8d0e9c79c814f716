"""Silhouette antialiasing.

The coverage of pixels on outlines, and through it the gradient that moves outlines.

Visibility is piecewise constant, so `rasterize` alone gives no gradient that could grow or shrink a shape. Here every
outline edge is found first, then crossed with the segments between neighbouring pixel centres. Where the two pixels
show different triangles, the position of the crossing says how much of one pixel the other's colour covers; it depends
smoothly on the edge's ends. Starting from the outline's edges instead of the triangle under each pixel's centre (Laine
et al. 2020) keeps the gradient right when triangles are smaller than a pixel.
"""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from headartist.geometry.cameras import NEAR
from headartist.render.fragments import Fragments
from headartist.render.kernels import blend as blend_kernels
from headartist.render.kernels import outline as outline_kernels
from headartist.render.rasterize import narrow
from headartist.system.warp import launch, vec3i, vec4


def antialias(
    image: Float[Tensor, "b h w c"],
    fragments: Fragments,
    verts_clip: Float[Tensor, "b v 4"],
    faces: Int[Tensor, "f 3"],
) -> Float[Tensor, "b h w c"]:
    """Blend pixels across silhouettes by how far outlines reach.

    Differentiable to the image and the vertices.

    Pass all channels that belong together in one call: the outline is searched once.

    Args:
        image: what was drawn with `fragments`, background included.
        fragments: what `rasterize` found.
        verts_clip: the clip-space vertices that were rasterised.
        faces: the triangles that were rasterised.
    """
    triangles = narrow(faces)
    verts = verts_clip.float().contiguous()
    best = outline_pairs(verts.detach(), triangles, fragments)
    blended: Tensor = _Blend.apply(image.float(), verts, triangles, fragments.depth.detach(), best)
    return blended


def outline_pairs(verts_clip: Tensor, faces: Tensor, fragments: Fragments) -> Int[Tensor, "n"]:
    """Find the best crossing of every pixel pair.

    -1 where none; first the pairs (pixel, right), then (pixel, below).
    """
    device, size = verts_clip.device, fragments.face.shape[-1]
    best = torch.full((2, fragments.face.numel()), -1, dtype=torch.int64, device=device)
    candidates = _candidates(verts_clip, faces, size)
    if len(candidates) == 0:
        return best.view(-1)
    capacity = 1 << (2 * len(candidates) - 1).bit_length()
    owner = torch.full((capacity,), -1, dtype=torch.int32, device=device)
    sides = torch.zeros_like(owner)
    lowest = torch.full_like(owner, torch.iinfo(torch.int32).max)
    slots = torch.empty_like(candidates)
    mesh = vec4(verts_clip), vec3i(faces)
    launch(outline_kernels.join_edges, len(candidates), device, candidates, *mesh, owner, sides, lowest, slots)
    edges = candidates, slots, sides, lowest
    pixels = fragments.face.view(-1), fragments.depth.detach().view(-1)
    launch(outline_kernels.cross_lattice, len(candidates), device, *edges, *mesh, *pixels, size, best)
    return best.view(-1)


def _candidates(verts_clip: Tensor, faces: Tensor, size: int) -> Int[Tensor, "n"]:
    """List half-edges whose ends may lie on an outline.

    Numbered through all views; both ends may.
    """
    device, (views, count) = verts_clip.device, verts_clip.shape[:2]
    facing = torch.zeros((views, count), dtype=torch.int32, device=device)
    fan = torch.zeros_like(facing)
    drawn = torch.empty((views, len(faces)), dtype=torch.uint8, device=device)
    dim = views, len(faces)
    launch(outline_kernels.mark_vertices, dim, device, vec4(verts_clip), vec3i(faces), NEAR, size, facing, fan, drawn)
    found = torch.zeros(1, dtype=torch.int32, device=device)
    candidates = torch.empty(3 * drawn.numel(), dtype=torch.int32, device=device)
    launch(outline_kernels.collect_candidates, dim, device, vec3i(faces), facing, fan, drawn, found, candidates)
    return candidates[: int(found)]


class _Blend(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, image: Tensor, verts_clip: Tensor, faces: Tensor, depth: Tensor, best: Tensor) -> Tensor:
        image, verts = image.detach().contiguous(), verts_clip.detach()
        out, size, channels = image.clone(), image.shape[1], image.shape[-1]
        pairs = (best >= 0).nonzero().view(-1)
        inputs = pairs, best, vec4(verts), vec3i(faces), depth.view(-1), size
        images = image.view(-1, channels), out.view(-1, channels)
        launch(blend_kernels.blend, len(pairs), image.device, *inputs, *images)
        ctx.save_for_backward(image, verts, faces, depth, best, pairs)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        image, verts, faces, depth, best, pairs = ctx.saved_tensors
        grad_out, channels = grad_out.contiguous(), image.shape[-1]
        grad_image, grad_verts = grad_out.clone(), torch.zeros_like(verts)
        inputs = pairs, best, vec4(verts), vec3i(faces), depth.view(-1), image.shape[1]
        images = (tensor.view(-1, channels) for tensor in (image, grad_out, grad_image))
        launch(blend_kernels.blend_backward, len(pairs), image.device, *inputs, *images, vec4(grad_verts))
        return grad_image, grad_verts, None, None, None
