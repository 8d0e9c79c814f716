"""Render a mesh as a Frame.

The rasteriser, the interpolated surface, its colours, and one antialiasing pass.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from headartist.geometry.cameras import Cameras
from headartist.geometry.mesh import Mesh
from headartist.render.antialias import antialias
from headartist.render.fragments import Fragments
from headartist.render.frame import Frame
from headartist.render.normals import unit_normals, vertex_normals
from headartist.render.rasterize import interpolate, narrow, rasterize
from headartist.system.errors import HeadArtistError

Shade = Callable[[Float[Tensor, "n 3"]], Float[Tensor, "n 3"]]


def render_mesh(
    mesh: Mesh,
    cameras: Cameras,
    size: int,
    background: Float[Tensor, "3"],
    shade: Shade | None = None,
    vertex_colors: Float[Tensor, "v 3"] | None = None,
) -> Frame:
    """Render square views of a mesh.

    Differentiable to its vertices and to its colours.

    Colour comes from `shade` or from `vertex_colors`; with neither, `color` is the bare background. All channels are
    antialiased in one pass, so their outlines agree.

    Args:
        mesh: the triangles, in the world frame.
        cameras: the views.
        size: height and width in pixels.
        background: RGB in [0, 1].
        shade: the colours of world points. Called once with the surface points under all covered pixels, so that a
            colour field is evaluated only where it is seen. The points carry gradients to the vertices; detach them
            in `shade` where colour must not move the surface.
        vertex_colors: one colour for each vertex.

    Raises:
        HeadArtistError: when both `shade` and `vertex_colors` are given.
    """
    if shade is not None and vertex_colors is not None:
        raise HeadArtistError("A mesh was given both `shade` and `vertex_colors`: pass one of them.")
    views, faces = len(cameras), narrow(mesh.faces)
    clip = torch.nn.functional.pad(mesh.verts, (0, 1), value=1.0) @ cameras.clip_from_world.transpose(1, 2)
    fragments = rasterize(clip, faces, size)
    normals = vertex_normals(mesh.verts, faces) @ cameras.rotation.transpose(1, 2)
    # A column of ones becomes the opacity. Colours are drawn as differences from the background, so that outside,
    # where all channels are 0, they are the background.
    columns = [normals, torch.ones_like(normals[..., :1])]
    if vertex_colors is not None:
        columns.append((vertex_colors - background).expand(views, -1, -1))
    picture = unit_normals(interpolate(torch.cat(columns, dim=-1), fragments, faces))
    if shade is not None:
        picture = torch.cat([picture, _shaded(shade, mesh.verts, fragments, faces, background)], dim=-1)
    picture = antialias(picture, fragments, clip, faces).permute(0, 3, 1, 2)
    normal, opacity, difference = picture.split([3, 1, picture.shape[1] - 4], dim=1)
    rgb = background[:, None, None].expand(views, 3, size, size)
    if difference.shape[1] == 3:
        rgb = (rgb + difference).clamp(0, 1)
    opacity, depth = opacity.clamp(0, 1), fragments.depth[:, None]
    return Frame(color=rgb, normal=normal, opacity=opacity, depth=depth, surface=mesh)


def _shaded(
    shade: Shade,
    verts: Float[Tensor, "v 3"],
    fragments: Fragments,
    faces: Int[Tensor, "f 3"],
    background: Float[Tensor, "3"],
) -> Float[Tensor, "b h w 3"]:
    """Shade the surface, less the background.

    0 where nothing is.
    """
    points = interpolate(verts, fragments, faces)
    covered = (fragments.face >= 0).view(-1).nonzero().view(-1)
    colors = shade(points.view(-1, 3).index_select(0, covered)) - background
    return torch.zeros_like(points).view(-1, 3).index_copy(0, covered, colors).view_as(points)
