"""Vertex normals by one fused kernel each way: `Mesh.vertex_normals` for the inner loop."""

import torch
import warp as wp
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from headartist.render.launch import launch, vec3, vec3i
from headartist.render.rasterize import narrow

wp.set_module_options({"enable_backward": False})


def vertex_normals(verts: Float[Tensor, "v 3"], faces: Int[Tensor, "f 3"]) -> Float[Tensor, "v 3"]:
    """Unit vertex normals, weighted by triangle area; a vertex without area gets the zero vector."""
    return torch.nn.functional.normalize(_AreaNormals.apply(verts.float(), narrow(faces)), dim=-1, eps=1e-12)


@wp.kernel
def _sum_area_normals(verts: wp.array(dtype=wp.vec3), faces: wp.array(dtype=wp.vec3i), sums: wp.array(dtype=wp.vec3)):
    """Add every triangle's (b - a) x (c - a) to its three corners."""
    face = faces[wp.tid()]
    a = verts[face[0]]
    normal = wp.cross(verts[face[1]] - a, verts[face[2]] - a)
    for k in range(3):
        wp.atomic_add(sums, face[k], normal)


@wp.kernel
def _sum_area_normals_backward(
    verts: wp.array(dtype=wp.vec3),
    faces: wp.array(dtype=wp.vec3i),
    grad_sums: wp.array(dtype=wp.vec3),
    grad_verts: wp.array(dtype=wp.vec3),
):
    """With n = u x v and g = dL/dn: dL/du = v x g and dL/dv = g x u."""
    face = faces[wp.tid()]
    g = grad_sums[face[0]] + grad_sums[face[1]] + grad_sums[face[2]]
    a = verts[face[0]]
    grad_u = wp.cross(verts[face[2]] - a, g)
    grad_v = wp.cross(g, verts[face[1]] - a)
    wp.atomic_add(grad_verts, face[0], -grad_u - grad_v)
    wp.atomic_add(grad_verts, face[1], grad_u)
    wp.atomic_add(grad_verts, face[2], grad_v)


class _AreaNormals(torch.autograd.Function):
    @staticmethod
    def forward(ctx, verts: Tensor, faces: Tensor) -> Tensor:
        verts = verts.detach().contiguous()
        sums = torch.zeros_like(verts)
        launch(_sum_area_normals, len(faces), verts.device, vec3(verts), vec3i(faces), vec3(sums))
        ctx.save_for_backward(verts, faces)
        return sums

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_sums: Tensor) -> tuple[Tensor, None]:
        verts, faces = ctx.saved_tensors
        grad_verts = torch.zeros_like(verts)
        inputs = vec3(verts), vec3i(faces), vec3(grad_sums.contiguous())
        launch(_sum_area_normals_backward, len(faces), verts.device, *inputs, vec3(grad_verts))
        return grad_verts, None
