"""An avatar whose every answer is known: the unit ball, drawn by solving the ray equation."""

import torch
import trimesh

from headartist.avatars.avatar import Material, Parts
from headartist.geometry.cameras import Cameras
from headartist.geometry.mesh import Mesh
from headartist.render.frame import Frame
from headartist.render.shading import Shading


def icosphere(subdivisions: int, bumps: float = 0.0) -> Mesh:
    """The unit sphere in triangles; with `bumps` its radius varies, so that it needs several charts."""
    sphere = trimesh.creation.icosphere(subdivisions=subdivisions)
    verts = torch.tensor(sphere.vertices, dtype=torch.float32)
    x, y, z = verts.unbind(-1)
    radius = 1 + bumps * ((5 * x).sin() * (6 * y).sin() + (9 * z + 3 * x).sin() / 2)
    return Mesh(verts * radius[:, None], torch.tensor(sphere.faces, dtype=torch.int64))


def linear_color(points: torch.Tensor) -> torch.Tensor:
    """A colour for every point, different on every side, and linear, so that interpolating it is exact."""
    return 0.5 + 0.3 * points


class Ball:
    """Follows the avatar protocol, with a color everywhere."""

    def __init__(self, subdivisions: int = 3) -> None:
        self.mesh = icosphere(subdivisions)

    def render(self, cameras: Cameras, size: int, shading: Shading, background: torch.Tensor) -> Frame:
        centers = (torch.arange(size) + 0.5).expand(size, size)
        pixels = torch.stack([centers, centers.T], dim=-1).reshape(1, -1, 2).expand(len(cameras), -1, -1)
        eye = cameras.position[:, None]
        ray = cameras.unproject(pixels, torch.ones(pixels.shape[:2]), size) - eye
        a, b, c = (ray * ray).sum(-1), (ray * eye).sum(-1), (eye * eye).sum(-1) - 1
        discriminant = b * b - a * c
        hit = (discriminant > 0)[..., None]
        depth = ((-b - discriminant.clamp(min=0).sqrt()) / a)[..., None]
        normal = eye + depth * ray
        seen = torch.where(hit, normal @ cameras.rotation.transpose(1, 2), 0.0)
        rgb = torch.where(hit, linear_color(normal), background) if shading.color else background.expand_as(normal)

        def picture(values: torch.Tensor) -> torch.Tensor:
            return values.transpose(1, 2).reshape(len(cameras), -1, size, size)

        return Frame(picture(rgb), picture(seen), picture(hit.float()), picture(torch.where(hit, depth, 0.0)))

    def parameters_by_part(self) -> Parts:
        return {}

    def to_mesh(self) -> Mesh:
        return self.mesh

    def material_at(self, points: torch.Tensor) -> Material:
        return Material(linear_color(points))
