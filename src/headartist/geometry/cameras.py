"""Cameras: a batch of pinhole views as one value (see `docs/conventions.md`).

World: right-handed, y up, the head looks to +z. Azimuth 0 sees the face and +90 sees the head's left side (from +x).
Camera frame: x right, y up, z towards the viewer (the camera looks along -z). Pixels: x right, y down, the first
pixel's centre at (0.5, 0.5).
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

NEAR, FAR = 0.1, 20.0


@dataclass(frozen=True)
class Cameras:
    """A batch of square views that look at one target each.

    Angles are in degrees, lengths in world units; every field is a tensor with the batch `b` first.
    """

    azimuth_deg: Float[Tensor, "b"]
    elevation_deg: Float[Tensor, "b"]
    fov_y_deg: Float[Tensor, "b"]
    radius: Float[Tensor, "b"]
    target: Float[Tensor, "b 3"]

    def __len__(self) -> int:
        return len(self.azimuth_deg)

    def __getitem__(self, index: slice | Tensor) -> "Cameras":
        """Index the batch.

        Integers are not accepted, so that the batch axis never vanishes.
        """
        return Cameras(*(getattr(self, name)[index] for name in self.__dataclass_fields__))

    def to(self, device: torch.device | str) -> "Cameras":
        """Move the views to another device."""
        return Cameras(*(getattr(self, name).to(device) for name in self.__dataclass_fields__))

    @property
    def position(self) -> Float[Tensor, "b 3"]:
        """The eye of every camera in the world."""
        return self.target + self.radius[:, None] * self._backward

    @property
    def _backward(self) -> Float[Tensor, "b 3"]:
        azimuth, elevation = torch.deg2rad(self.azimuth_deg), torch.deg2rad(self.elevation_deg)
        return torch.stack(
            [azimuth.sin() * elevation.cos(), elevation.sin(), azimuth.cos() * elevation.cos()],
            dim=-1,
        )

    @property
    def rotation(self) -> Float[Tensor, "b 3 3"]:
        """World to camera rotation.

        Its rows are the camera's right, up and backward axes.

        Built from the two angles, not from a cross product with the world's up, so it stays orthonormal and
        differentiable when the camera looks straight down.
        """
        azimuth, elevation = torch.deg2rad(self.azimuth_deg), torch.deg2rad(self.elevation_deg)
        zero = torch.zeros_like(azimuth)
        right = torch.stack([azimuth.cos(), zero, -azimuth.sin()], dim=-1)
        up = torch.stack(
            [-azimuth.sin() * elevation.sin(), elevation.cos(), -azimuth.cos() * elevation.sin()],
            dim=-1,
        )
        return torch.stack([right, up, self._backward], dim=1)

    @property
    def T_camera_world(self) -> Float[Tensor, "b 4 4"]:
        """Rigid transform with `p_camera = T_camera_world p_world`."""
        rotation = self.rotation
        transform = torch.eye(4, dtype=rotation.dtype, device=rotation.device).repeat(len(self), 1, 1)
        transform[:, :3, :3] = rotation
        transform[:, :3, 3] = -(rotation @ self.position[..., None])[..., 0]
        return transform

    @property
    def clip_from_world(self) -> Float[Tensor, "b 4 4"]:
        """OpenGL-style projection times view.

        Divided by w, x, y and z lie in [-1, 1], and w is the view depth.
        """
        view = self.T_camera_world
        focal = 1.0 / torch.tan(torch.deg2rad(self.fov_y_deg) / 2)
        projection = torch.zeros_like(view)
        projection[:, 0, 0] = focal
        projection[:, 1, 1] = focal
        projection[:, 2, 2] = (FAR + NEAR) / (NEAR - FAR)
        projection[:, 2, 3] = 2 * FAR * NEAR / (NEAR - FAR)
        projection[:, 3, 2] = -1.0
        return projection @ view

    def project(self, points: Float[Tensor, "n 3"], size: int) -> tuple[Float[Tensor, "b n 2"], Float[Tensor, "b n"]]:
        """Project world points to pixels and view depth.

        In a square picture of `size` pixels; depth is positive in front.
        """
        clip = torch.nn.functional.pad(points, (0, 1), value=1.0) @ self.clip_from_world.transpose(1, 2)
        depth = clip[..., 3]
        ndc = clip[..., :2] / depth[..., None]
        flip = torch.tensor([1.0, -1.0], dtype=ndc.dtype, device=ndc.device)
        return (ndc * flip * 0.5 + 0.5) * size, depth

    def unproject(
        self, pixels: Float[Tensor, "b n 2"], depth: Float[Tensor, "b n"], size: int
    ) -> Float[Tensor, "b n 3"]:
        """Invert `project`: pixels with their view depth to world points."""
        tangent = torch.tan(torch.deg2rad(self.fov_y_deg) / 2)[:, None]
        x = (pixels[..., 0] / size * 2 - 1) * tangent * depth
        y = (1 - pixels[..., 1] / size * 2) * tangent * depth
        in_camera = torch.stack([x, y, -depth], dim=-1)
        return in_camera @ self.rotation + self.position[:, None]


def look(
    azimuth_deg: float | Tensor,
    elevation_deg: float | Tensor = 0.0,
    fov_y_deg: float | Tensor = 40.0,
    radius: float | Tensor = 3.0,
) -> Cameras:
    """Place cameras on a sphere around the origin.

    Numbers and tensors of shape `b` may be mixed freely.
    """
    values = [torch.as_tensor(v, dtype=torch.float32) for v in (azimuth_deg, elevation_deg, fov_y_deg, radius)]
    azimuth, elevation, fov, distance = torch.broadcast_tensors(*(torch.atleast_1d(v) for v in values))
    return Cameras(azimuth, elevation, fov, distance, torch.zeros(len(azimuth), 3))


def turntable(views: int = 120, elevation_deg: float = 15.0, fov_y_deg: float = 45.0, radius: float = 3.0) -> Cameras:
    """Circle the head, starting at the face.

    The evaluation path of the paper (5.3): `views` evenly spaced azimuths.
    """
    return look(torch.arange(views) * (360.0 / views), elevation_deg, fov_y_deg, radius)


def sample_cameras(
    count: int,
    generator: torch.Generator,
    azimuth_deg: tuple[float, float] = (-180.0, 180.0),
    elevation_deg: tuple[float, float] = (-10.0, 45.0),
    fov_y_deg: tuple[float, float] = (30.0, 50.0),
    radius: tuple[float, float] = (3.0, 3.0),
) -> Cameras:
    """Sample views uniformly within ranges.

    By default the paper's (supplement D); drawn from `generator` on the CPU.

    Each view is uniform, but together they are spread as a Latin hypercube (McKay et al. 1979): of `count` equal parts
    of each range every part gets one view, so that many views leave no side of the head out.
    """
    parts = torch.stack([torch.randperm(count, generator=generator) for _ in range(4)])
    samples = (parts + torch.rand(4, count, generator=generator)) / count
    ranges = (azimuth_deg, elevation_deg, fov_y_deg, radius)
    return look(*(low + (high - low) * sample for (low, high), sample in zip(ranges, samples, strict=True)))
