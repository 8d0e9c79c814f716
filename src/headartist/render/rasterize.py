"""The fast rasteriser, with exact interior gradients.

Triangles to pixels, one Warp source for CPU and CUDA.

`headartist.render.reference` holds the slow twin with the same signatures. On the CPU results are repeatable bit for
bit; on CUDA the gradients' sums are not, because atomic additions arrive in any order.
"""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from headartist.geometry.cameras import NEAR
from headartist.render.fragments import Fragments
from headartist.render.kernels import raster as raster_kernels
from headartist.render.kernels import surface as surface_kernels
from headartist.system.warp import launch, vec3, vec3i, vec4

_EMPTY_KEY = torch.iinfo(torch.int64).max


def rasterize(verts_clip: Float[Tensor, "b v 4"], faces: Int[Tensor, "f 3"], size: int) -> Fragments:
    """Find the nearest triangle under every pixel's centre.

    Pictures are square.

    Barycentrics and depth carry gradients to `verts_clip`; visibility itself does not (see `antialias`). Both sides of
    a triangle are drawn. A triangle is skipped when a vertex is not finite or not in front of the near plane
    (w <= `cameras.NEAR`), or when its area on the screen is practically zero. Where two triangles are equally deep, the
    lower index wins.

    Args:
        verts_clip: clip-space vertices, `Cameras.clip_from_world` applied; w is the view depth.
        faces: vertex indices of the triangles; they must lie in `0 .. v-1`.
        size: height and width in pixels.
    """
    return Fragments(*_Rasterize.apply(verts_clip.float(), narrow(faces), size))


def interpolate(
    attributes: Float[Tensor, "v c"] | Float[Tensor, "b v c"], fragments: Fragments, faces: Int[Tensor, "f 3"]
) -> Float[Tensor, "b h w c"]:
    """Blend vertex attributes over the pixels.

    Perspective-correct; 0 where nothing is.

    Args:
        attributes: one table for all views, or one for each.
        fragments: what `rasterize` found.
        faces: the triangles that were rasterised.
    """
    tables = attributes if attributes.ndim == 3 else attributes[None]
    blended: Tensor = _Interpolate.apply(tables.float(), fragments.bary, fragments.face, narrow(faces))
    return blended


def narrow(faces: Int[Tensor, "f 3"]) -> Int[Tensor, "f 3"]:
    """Faces as the kernels read them: contiguous 32-bit integers."""
    return faces.to(torch.int32).contiguous()


class _Rasterize(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, verts_clip: Tensor, faces: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
        verts, device = verts_clip.detach().contiguous(), verts_clip.device
        shape = (len(verts), size, size)
        keys = torch.full(shape, _EMPTY_KEY, dtype=torch.int64, device=device).view(-1)
        face = torch.empty(shape, dtype=torch.int32, device=device)
        bary = torch.empty((*shape, 3), device=device)
        depth = torch.empty(shape, device=device)
        views = len(verts), len(faces)
        launch(raster_kernels.visibility, views, device, vec4(verts), vec3i(faces), NEAR, size, size, keys)
        outputs = face.view(-1), vec3(bary.view(-1, 3)), depth.view(-1)
        launch(raster_kernels.resolve, keys.numel(), device, vec4(verts), vec3i(faces), keys, size, size, *outputs)
        ctx.save_for_backward(verts, faces, face)
        ctx.mark_non_differentiable(face)
        return face, bary, depth

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, _: Tensor, grad_bary: Tensor, grad_depth: Tensor) -> tuple[Tensor, None, None]:
        verts, faces, face = ctx.saved_tensors
        size = face.shape[-1]
        grad_verts = torch.zeros_like(verts)
        gradients = vec3(grad_bary.contiguous().view(-1, 3)), grad_depth.contiguous().view(-1)
        inputs = vec4(verts), vec3i(faces), face.view(-1), *gradients, size, size
        launch(raster_kernels.resolve_backward, face.numel(), verts.device, *inputs, vec4(grad_verts))
        return grad_verts, None, None


class _Interpolate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, attributes: Tensor, bary: Tensor, face: Tensor, faces: Tensor) -> Tensor:
        attributes, bary = attributes.detach().contiguous(), bary.detach().contiguous()
        channels = attributes.shape[-1]
        out = torch.empty((*face.shape, channels), device=attributes.device)
        inputs = (
            attributes,
            vec3i(faces),
            face.view(-1),
            vec3(bary.view(-1, 3)),
            face.numel() // max(len(attributes), 1),
        )
        launch(surface_kernels.interpolate, face.numel(), out.device, *inputs, out.view(-1, channels))
        ctx.save_for_backward(attributes, bary, face, faces)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor, Tensor, None, None]:
        attributes, bary, face, faces = ctx.saved_tensors
        grad_attributes, grad_bary = torch.zeros_like(attributes), torch.empty_like(bary)
        inputs = (
            *(attributes, vec3i(faces), face.view(-1), vec3(bary.view(-1, 3))),
            *(grad_out.contiguous().view(-1, grad_out.shape[-1]), face.numel() // max(len(attributes), 1)),
        )
        outputs = grad_attributes, vec3(grad_bary.view(-1, 3))
        launch(surface_kernels.interpolate_backward, face.numel(), attributes.device, *inputs, *outputs)
        return grad_attributes, grad_bary, None, None
