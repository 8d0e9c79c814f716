"""Normals by one fused kernel each way.

At the vertices (`Mesh.vertex_normals` for the inner loop) and in pixels.
"""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from headartist.render.kernels import surface as kernels
from headartist.render.rasterize import narrow
from headartist.system.warp import launch, vec3, vec3i


def vertex_normals(verts: Float[Tensor, "v 3"], faces: Int[Tensor, "f 3"]) -> Float[Tensor, "v 3"]:
    """Average unit vertex normals, weighted by triangle area.

    A vertex without area gets the zero vector.
    """
    return torch.nn.functional.normalize(_AreaNormals.apply(verts.float(), narrow(faces)), dim=-1, eps=1e-12)


def unit_normals(image: Float[Tensor, "b h w c"]) -> Float[Tensor, "b h w c"]:
    """Scale the first three channels to unit length.

    The others are left; the zero vector stays, without gradient.
    """
    scaled: Tensor = _UnitLeading.apply(image)
    return scaled


class _AreaNormals(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, verts: Tensor, faces: Tensor) -> Tensor:
        verts = verts.detach().contiguous()
        sums = torch.zeros_like(verts)
        launch(kernels.sum_area_normals, len(faces), verts.device, vec3(verts), vec3i(faces), vec3(sums))
        ctx.save_for_backward(verts, faces)
        return sums

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_sums: Tensor) -> tuple[Tensor, None]:
        verts, faces = ctx.saved_tensors
        grad_verts = torch.zeros_like(verts)
        inputs = vec3(verts), vec3i(faces), vec3(grad_sums.contiguous())
        launch(kernels.sum_area_normals_backward, len(faces), verts.device, *inputs, vec3(grad_verts))
        return grad_verts, None


class _UnitLeading(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, image: Tensor) -> Tensor:
        image = image.detach().contiguous()
        out, channels = torch.empty_like(image), image.shape[-1]
        launch(
            kernels.unit_leading, image[..., 0].numel(), image.device, image.view(-1, channels), out.view(-1, channels)
        )
        ctx.save_for_backward(image)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_out: Tensor) -> Tensor:
        (image,) = ctx.saved_tensors
        grad_image, channels = torch.empty_like(image), image.shape[-1]
        arrays = (tensor.view(-1, channels) for tensor in (image, grad_out.contiguous(), grad_image))
        launch(kernels.unit_leading_backward, image[..., 0].numel(), image.device, *arrays)
        return grad_image
