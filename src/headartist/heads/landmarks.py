"""The landmark map c_L.

Face-mesh sites projected by the rendering cameras, drawn as the ControlNet was trained.

The rules are those of the ControlNet's data set (CrucibleAI/ControlNetMediaPipeFace): segments between MediaPipe
face-mesh landmarks on black, `cv2.line` of thickness 2, 8-connected, no antialiasing, then square pupils.
"""

from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from headartist.geometry.cameras import Cameras
from headartist.heads.template import HeadTemplate

Rgb = tuple[int, int, int]

LINE_THICKNESS = 2  # pixels, at every picture size: thinner lines vanish for the network
PUPIL_SIDE, PUPIL_SIDE_MIN, REFERENCE_SIZE = 4, 2, 512  # pixels; the square scales with the picture, down to 2 x 2
HIDDEN_MARGIN = 0.02  # world units (4 mm on the open head): a surface this close before a site does not hide it


@dataclass(frozen=True)
class FacePart:
    """Chains of landmarks joined by lines of one colour.

    "left" and "right" are the subject's.
    """

    name: str
    rgb: Rgb
    chains: tuple[tuple[int, ...], ...]

    def edges(self) -> list[tuple[int, int]]:
        """List the line segments, in drawing order."""
        return [edge for chain in self.chains for edge in pairwise(chain)]


@dataclass(frozen=True)
class Pupil:
    """One pupil.

    Its iris landmark, and the eye corners and lids it is guessed from without one.
    """

    rgb: Rgb
    site: int
    corners: tuple[int, int]
    lids: tuple[int, int]


# fmt: off
FACE_OVAL = FacePart("face oval", (10, 200, 10), ((
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152,
    148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109, 10,
),))
# The order is the data set's: where colours cross, the later part is on top.
FEATURES = (
    FacePart("left eye", (10, 200, 180), (
        (263, 249, 390, 373, 374, 380, 381, 382, 362), (263, 466, 388, 387, 386, 385, 384, 398, 362))),
    FacePart("left brow", (10, 220, 180), ((276, 283, 282, 295, 285), (300, 293, 334, 296, 336))),
    FacePart("right eye", (180, 200, 10), (
        (33, 7, 163, 144, 145, 153, 154, 155, 133), (33, 246, 161, 160, 159, 158, 157, 173, 133))),
    FacePart("right brow", (180, 220, 10), ((46, 53, 52, 65, 55), (70, 63, 105, 66, 107))),
    FacePart("lips", (10, 180, 10), (
        (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291), (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291),
        (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308), (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308))),
)
# fmt: on
PUPILS = (
    Pupil((250, 200, 10), site=468, corners=(33, 133), lids=(159, 145)),
    Pupil((10, 200, 250), site=473, corners=(263, 362), lids=(386, 374)),
)


def landmark_map(
    template: HeadTemplate,
    cameras: Cameras,
    size: int = 512,
    *,
    back_view_deg: float = 90.0,
    hide_occluded: bool = False,
) -> Float[Tensor, "b 3 h w"]:
    """Render the landmark picture of every view.

    RGB in [0, 1], on the cameras' device and without gradient.

    Args:
        template: the head whose sites are drawn.
        cameras: the views, the very ones that render the image.
        size: height and width in pixels.
        back_view_deg: views whose azimuth is further from the face than this show the face oval only (paper 5.1).
        hide_occluded: in views that show the face, leave out lines to sites that the head itself hides. The
            ControlNet was trained on a detector's landmarks, which are complete on every face, so the default
            draws all of them.
    """
    sites = template.site_positions().detach().to(cameras.azimuth_deg.device)
    pixels, depth = cameras.project(sites, size)
    face = (torch.remainder(cameras.azimuth_deg + 180, 360) - 180).abs() <= back_view_deg
    visible = depth > 0
    if hide_occluded:
        # From behind everything is hidden, yet the oval must still tell the prior where the head is.
        visible = visible & (unoccluded(template, cameras) | ~face[:, None])
    pictures = [
        render_landmarks(view_pixels, size, face=bool(shows_face), visible=view_visible)
        for view_pixels, shows_face, view_visible in zip(
            pixels.double().cpu().numpy(), face.tolist(), visible.cpu().numpy(), strict=True
        )
    ]
    stack = torch.from_numpy(np.stack(pictures)).to(sites)
    return stack.permute(0, 3, 1, 2).contiguous() / 255


def render_landmarks(
    pixels: Float[np.ndarray, "l 2"],
    size: int,
    *,
    face: bool = True,
    visible: Bool[np.ndarray, "l"] | None = None,
) -> UInt8[np.ndarray, "h w 3"]:
    """Render one landmark picture in RGB by the ControlNet's rules.

    A segment is drawn only when both of its ends are inside the frame and visible.

    Args:
        pixels: (x, y) of the 468 face-mesh landmarks, or of 478 with the irises; the first pixel spans 0 to 1.
        size: height and width in pixels.
        face: draw all parts and the pupils; otherwise only the face oval.
        visible: landmarks that may be drawn; all when None.
    """
    pixels = np.concatenate([pixels[:468], _pupil_pixels(pixels)])
    drawable: np.ndarray = np.all((pixels >= 0) & (pixels <= size), axis=1)
    if visible is not None:
        drawable[:468] &= visible[:468]
        drawable[468:] &= _pupils_visible(visible)
    # A point on the far edge belongs to the last pixel; points off the frame are never read.
    cells = np.clip(np.floor(pixels), 0, size - 1).astype(int).tolist()

    canvas = np.zeros((size, size, 3), np.uint8)
    for part in (FACE_OVAL, *FEATURES) if face else (FACE_OVAL,):
        for start, end in part.edges():
            if drawable[start] and drawable[end]:
                cv2.line(canvas, cells[start], cells[end], part.rgb, LINE_THICKNESS, cv2.LINE_8)
    if face:
        for pupil, (x, y), drawn in zip(PUPILS, cells[468:], drawable[468:], strict=True):
            if drawn:
                _fill_square(canvas, x, y, pupil.rgb)
    return canvas


def _pupil_pixels(pixels: Float[np.ndarray, "l 2"]) -> Float[np.ndarray, "2 2"]:
    """Find the irises, or guess them.

    The iris landmarks, or without them the mean of the eye corners' x and of the lids' y.
    """
    if len(pixels) > 468:
        return pixels[[pupil.site for pupil in PUPILS]]
    return np.array([[pixels[list(p.corners), 0].mean(), pixels[list(p.lids), 1].mean()] for p in PUPILS])


def _pupils_visible(visible: Bool[np.ndarray, "l"]) -> Bool[np.ndarray, "2"]:
    """Tell which pupils show.

    A guessed pupil does when the lids it lies between do.
    """
    if len(visible) > 468:
        return visible[[pupil.site for pupil in PUPILS]]
    return np.array([visible[list(pupil.lids)].all() for pupil in PUPILS])


def _fill_square(canvas: UInt8[np.ndarray, "h w 3"], x: int, y: int, rgb: Rgb) -> None:
    """Fill a pupil around pixel (x, y).

    4 x 4 in a picture of 512; cut off at the frame.
    """
    side = max(PUPIL_SIDE_MIN, round(PUPIL_SIDE * len(canvas) / REFERENCE_SIZE))
    top, left = y - side // 2, x - side // 2
    canvas[max(top, 0) : top + side, max(left, 0) : left + side] = rgb


def unoccluded(template: HeadTemplate, cameras: Cameras) -> Bool[Tensor, "b l"]:
    """Tell which sites every camera sees.

    No part of the head, lashes excepted, stands `HIDDEN_MARGIN` or more before them.

    Facing is not asked for: lid and lip sites lie on inner rims, and the oval on the outline, in plain sight.
    """
    device = cameras.azimuth_deg.device
    sites = template.site_positions().detach().to(device)
    occluders = template.mesh(*(name for name in template.part_names if name != "lashes"))
    corners = occluders.verts.detach().to(device)[occluders.faces.to(device)]
    return torch.stack([~_hidden(sites - eye, corners - eye) for eye in cameras.position])


def _hidden(sites: Float[Tensor, "l 3"], corners: Float[Tensor, "g 3 3"]) -> Bool[Tensor, "l"]:
    """Tell which sites a triangle hides.

    Whether the sight line from the origin meets one more than `HIDDEN_MARGIN` before the site.

    With a triangle's corners as the columns of M, the line meets it where all of M^-1 site are positive, at
    the fraction 1 / sum(M^-1 site) of the way (2D homogeneous coordinates, Olano and Greer 1997). Both are
    multiplied by |det M|, so that a triangle seen edge-on (det M = 0) hides nothing.
    """
    a, b, c = corners.unbind(dim=1)
    adjugate = torch.stack([torch.linalg.cross(b, c), torch.linalg.cross(c, a), torch.linalg.cross(a, b)], dim=1)
    determinant = (a * adjugate[:, 0]).sum(dim=-1)
    weights = (adjugate * determinant.sign()[:, None, None]) @ sites.T
    nearer = 1 - HIDDEN_MARGIN / sites.norm(dim=-1)
    before: Tensor = (weights >= 0).all(dim=1) & (weights.sum(dim=1) * nearer > determinant.abs()[:, None])
    return before.any(dim=0)
