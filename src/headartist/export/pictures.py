"""Pictures of a head.

PNG files, and sheets of views with their normals.
"""

import io
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from headartist.avatars.avatar import Avatar
from headartist.geometry.cameras import Cameras, turntable
from headartist.render.shading import Shading
from headartist.system.files import replacing

WHITE = (1.0, 1.0, 1.0)
PIXELS_AT_ONCE = 1 << 19
PREVIEW_SIZE = 128


def to_bytes(image: Float[Tensor, "3 h w"]) -> UInt8[np.ndarray, "h w 3"]:
    """Turn colours into 8-bit pixels, rows first.

    Values beyond [0, 1] are clamped.
    """
    pixels = image.detach().clamp(0.0, 1.0).mul(255.0).round().to(torch.uint8)
    return np.ascontiguousarray(pixels.permute(1, 2, 0).cpu().numpy())


def png_bytes(image: Float[Tensor, "3 h w"]) -> bytes:
    """Encode an image in [0, 1] as PNG."""
    content = io.BytesIO()
    Image.fromarray(to_bytes(image)).save(content, format="PNG")
    return content.getvalue()


def save_png(path: Path | str, image: Float[Tensor, "3 h w"]) -> None:
    """Write an image in [0, 1] as PNG.

    The file is replaced whole.
    """
    with replacing(path) as draft:
        draft.write_bytes(png_bytes(image))


@torch.no_grad()
def render_pair(
    avatar: Avatar, cameras: Cameras, size: int, background: tuple[float, float, float] = WHITE
) -> tuple[Float[Tensor, "b 3 h w"], Float[Tensor, "b 3 h w"]]:
    """Render colour and normals of each view.

    As pictures in [0, 1] on the CPU, a few at a time to bound memory.
    """
    # Views are drawn where the parameters are.
    parameters = (p for kinds in avatar.parameters_by_part().values() for values in kinds.values() for p in values)
    device = next((parameter.device for parameter in parameters), torch.device("cpu"))
    cameras, behind = cameras.to(device), torch.tensor(background, device=device)
    colors, normals = [], []
    at_once = max(1, PIXELS_AT_ONCE // size**2)
    for start in range(0, len(cameras), at_once):
        frame = avatar.render(cameras[start : start + at_once], size, Shading(), behind)
        colors.append(frame.color.clamp(0.0, 1.0).cpu())
        normals.append(frame.normal_picture.clamp(0.0, 1.0).cpu())
    return torch.cat(colors), torch.cat(normals)


def contact_sheet(
    avatar: Avatar,
    *,
    views: int = 8,
    size: int = 256,
    elevation_deg: float = 10.0,
    fov_y_deg: float = 40.0,
    radius: float = 3.0,
    background: tuple[float, float, float] = WHITE,
) -> Float[Tensor, "3 h w"]:
    """Render views evenly round the head.

    Starting at the face: colours in the upper row, camera-space normals below.

    Args:
        avatar: the head.
        views: number of columns.
        size: height and width of one view in pixels.
        elevation_deg: how far the camera looks down on the head.
        fov_y_deg: opening angle.
        radius: distance of the camera from the origin.
        background: RGB in [0, 1] behind the colours.

    Returns:
        One picture, `2 size` high and `views size` wide, in [0, 1].
    """
    cameras = turntable(views, elevation_deg, fov_y_deg, radius)
    return torch.cat([row(pictures) for pictures in render_pair(avatar, cameras, size, background)], dim=1)


def preview(avatar: Avatar, *, size: int = PREVIEW_SIZE) -> Float[Tensor, "3 h w"]:
    """Render a small strip of four views.

    To watch a training run by: face, left side, back and right side over their normals.
    """
    return contact_sheet(avatar, views=4, size=size)


def row(pictures: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "3 h wide"]:
    """Put pictures side by side."""
    return torch.cat(list(pictures), dim=2)
