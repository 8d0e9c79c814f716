"""Draw a mesh as a Frame: the rasteriser, the interpolated surface, its colours, and one antialiasing pass."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from headartist.cameras import Cameras
from headartist.errors import HeadArtistError
from headartist.geometry.mesh import Mesh
from headartist.render.antialias import antialias
from headartist.render.frame import Frame
from headartist.render.normals import vertex_normals
from headartist.render.rasterize import interpolate, rasterize

Shade = Callable[[Float[Tensor, "n 3"]], Float[Tensor, "n 3"]]


def draw(
    mesh: Mesh,
    cameras: Cameras,
    size: int,
    background: Float[Tensor, "3"],
    shade: Shade | None = None,
    vertex_colours: Float[Tensor, "v 3"] | None = None,
) -> Frame:
    """Draw square views of a mesh, differentiable to its vertices and to its colours.

    Colour comes from `shade` or from `vertex_colours`; with neither, `rgb` is the bare background. All channels are
    antialiased in one pass, so their outlines agree.

    Args:
        mesh: the triangles, in the world frame.
        cameras: the views.
        size: height and width in pixels.
        background: RGB in [0, 1].
        shade: the colours of world points. Called once with the surface points under all covered pixels, so that a
            colour field is evaluated only where it is seen. The points carry gradients to the vertices; detach them
            in `shade` where colour must not move the surface.
        vertex_colours: one colour for each vertex.

    Raises:
        HeadArtistError: when both `shade` and `vertex_colours` are given.
    """
    if shade is not None and vertex_colours is not None:
        raise HeadArtistError("A mesh was given both `shade` and `vertex_colours`: pass one of them.")
    clip = torch.nn.functional.pad(mesh.verts, (0, 1), value=1.0) @ cameras.clip_from_world.transpose(1, 2)
    fragments = rasterize(clip, mesh.faces, size)
    covered = (fragments.face >= 0).view(-1).nonzero().view(-1)
    tables = [vertex_normals(mesh.verts, mesh.faces)]
    if shade is not None:
        tables.append(mesh.verts)
    elif vertex_colours is not None:
        tables.append(vertex_colours)
    surface = interpolate(torch.cat(tables, dim=-1), fragments, mesh.faces).flatten(0, 2)[covered]
    normals = _towards_cameras(surface[:, :3], cameras, covered // size**2)
    channels = [normals, torch.ones_like(normals[:, :1])]
    if len(tables) == 2:
        colours = surface[:, 3:] if shade is None else shade(surface[:, 3:])
        # Over the background: what is blended at the outline is the difference from it.
        channels.append(colours - background)
    drawn = _scatter(torch.cat(channels, dim=-1), covered, (len(cameras), size, size))
    picture = antialias(drawn, fragments, clip, mesh.faces).permute(0, 3, 1, 2)
    backdrop = background[:, None, None].expand(len(cameras), 3, size, size)
    rgb = backdrop + picture[:, 4:] if len(tables) == 2 else backdrop
    return Frame(rgb=rgb, normal=picture[:, :3], opacity=picture[:, 3:4], depth=fragments.depth[:, None])


def _towards_cameras(normals: Float[Tensor, "n 3"], cameras: Cameras, view: Int[Tensor, "n"]) -> Float[Tensor, "n 3"]:
    """Unit normals in the frame of the camera that sees each of them."""
    turned = (cameras.rotation[view] @ normals[..., None])[..., 0]
    return torch.nn.functional.normalize(turned, dim=-1, eps=1e-12)


def _scatter(
    values: Float[Tensor, "n c"], pixels: Int[Tensor, "n"], shape: tuple[int, int, int]
) -> Float[Tensor, "b h w c"]:
    """Values into their pixels of an empty picture."""
    views, height, width = shape
    empty = torch.zeros(views * height * width, values.shape[1], device=values.device, dtype=values.dtype)
    return empty.index_copy(0, pixels, values).view(views, height, width, values.shape[1])
