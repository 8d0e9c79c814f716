"""Skin paint: freckles, wrinkles and paint over a skin texture.

Places are those of the neutral head in world units, so that what is painted follows every body and expression.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.interpolate import LinearNDInterpolator
from scipy.ndimage import gaussian_filter

from headartist.heads.load import load_template
from headartist_foundry.data.procedural import (
    CENTIMETER,
    CHIN,
    FOREHEAD,
    LIP_BOTTOM,
    LIP_TOP,
    MOUTH_LEFT,
    PUPILS,
)
from headartist_foundry.data.traits import PAINT_COLORS, Traits

NOSE_TIP = 1
FRONT = 0.25  # world units; the face lies before this


@dataclass(frozen=True)
class Places:
    """Hold where points of the neutral head lie.

    Units are centimetres from the middle of the face.
    """

    x: np.ndarray  # to the head's left
    y: np.ndarray  # up
    front: np.ndarray  # bool: on the face's side of the head
    mouth_y: float
    mouth_half: float
    lip_half: float
    nose_y: float
    eye: tuple[float, float]
    brow_y: float
    chin_y: float


def places(points: np.ndarray) -> Places:
    """Find the places of points of the neutral head, ... 3."""
    sites = load_template("open").site_positions().numpy() / CENTIMETER
    lips = sites[[LIP_TOP, LIP_BOTTOM], 1]
    return Places(
        points[..., 0] / CENTIMETER,
        points[..., 1] / CENTIMETER,
        points[..., 2] > FRONT,
        float(lips.mean()),
        float(sites[MOUTH_LEFT, 0]),
        float(lips[0] - lips[1]) / 2,
        float(sites[NOSE_TIP, 1]),
        (float(sites[PUPILS[1], 0]), float(sites[PUPILS[1], 1])),
        float(sites[FOREHEAD, 1]),
        float(sites[CHIN, 1]),
    )


@cache
def texel_places(size: int) -> Places:
    """Find the places of a skin texture's texels.

    Those that no part of the skin uses lie nowhere near.
    """
    template = load_template("open")
    skin = template.part.numpy() == template.part_names.index("skin")
    corners, uv_ids = template.faces.numpy()[skin].ravel(), template.uv_faces.numpy()[skin].ravel()
    used, first = np.unique(uv_ids, return_index=True)
    place = LinearNDInterpolator(template.uv.numpy()[used], template.verts.numpy()[corners[first]], fill_value=-9.0)
    column, row = np.meshgrid((np.arange(size) + 0.5) / size, 1 - (np.arange(size) + 0.5) / size)
    return places(place(np.stack([column, row], axis=-1)))


def _bump(distance: np.ndarray, width: float) -> np.ndarray:
    """Fall smoothly from 1 to 0 over some `width`."""
    return np.exp(-np.square(distance / width))


def wrinkle_depth(at: Places, rng: np.random.Generator) -> np.ndarray:
    """Sample a face's furrows, 0 to 1.

    They are on the forehead, beside nose and mouth, between the brows and beside the eyes.
    """
    x = np.abs(at.x)
    bend = 0.35 * np.sin(at.x * 0.9 + rng.uniform(0, 6))
    depth: np.ndarray = np.zeros_like(at.x)
    for line in np.arange(3) * rng.uniform(0.95, 1.15) + at.brow_y - 0.2:
        depth = np.maximum(depth, _bump(at.y - line - bend, 0.17) * _bump(at.x, 3.6))
    fold = 1.5 + (at.nose_y - at.y) * 0.55  # from the wing of the nose outwards to the corner of the mouth
    beside = np.clip((at.nose_y + 0.6 - at.y) * 2, 0, 1) * np.clip((at.y - at.mouth_y + 1.2) * 2, 0, 1)
    depth = np.maximum(depth, _bump(x - fold, 0.22) * beside)
    frown = _bump(x - 0.5, 0.15) * np.clip(1 - np.abs(at.y - at.brow_y + 1.3) / 1.2, 0, 1)
    depth = np.maximum(depth, 0.8 * frown)
    for slope in (-0.35, 0.05, 0.45):
        ray = at.y - at.eye[1] - slope * (x - at.eye[0] - 1.2)
        depth = np.maximum(depth, 0.8 * _bump(ray, 0.14) * np.clip(x - at.eye[0] - 1.5, 0, 1) * (x < at.eye[0] + 3.2))
    bag = np.hypot(x - at.eye[0], (at.y - at.eye[1] + 0.1) * 1.4) - 1.75
    depth = np.maximum(depth, 0.8 * _bump(bag, 0.16) * (at.y < at.eye[1] - 0.5))
    depth *= at.front
    return depth


def _blend(texture: np.ndarray, color: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Lay a colour over a texture by a share per texel."""
    result = texture.copy()
    result[..., :3] = np.clip(texture[..., :3] * (1 - share[..., None]) + 255 * color * share[..., None], 0, 255)
    return result


def _freckles(texture: np.ndarray, at: Places, rng: np.random.Generator) -> np.ndarray:
    """Sample dots over cheeks and nose, sparser on the forehead.

    They are two to three texels wide, to be seen from afar.
    """
    dots = (rng.random(texture.shape[:2]) < rng.uniform(0.02, 0.04)).astype(np.float32)
    dots = np.clip(gaussian_filter(dots, 0.75) * 5, 0, 1)
    band = _bump(at.y - at.nose_y - 1.2, 2.6) * np.clip(1.4 - np.abs(at.x) / 6, 0, 1) + 0.25 * (at.y > at.brow_y)
    share = dots * np.clip(band, 0, 1) * at.front
    brown = texture[..., :3].mean(axis=(0, 1)) / 255 * np.array([0.55, 0.4, 0.32])
    return _blend(texture, brown, 0.75 * share)


def _oval(at: Places) -> np.ndarray:
    """Cover the whole face, with a soft edge."""
    middle, half = (at.brow_y + 1.8 + at.chin_y) / 2, (at.brow_y + 1.8 - at.chin_y) / 2
    cover: np.ndarray = np.clip((1.05 - np.hypot(at.x / 6.3, (at.y - middle) / half)) / 0.08, 0, 1) * at.front
    return cover


def _clown(texture: np.ndarray, at: Places, color: np.ndarray) -> np.ndarray:
    """Paint a white face with coloured eyes, red nose and mouth."""
    x = np.abs(at.x)
    texture = _blend(texture, np.array(PAINT_COLORS["white"]), 0.93 * _oval(at))
    eyes = np.clip((1 - _diamond(x - at.eye[0], at.y - at.eye[1], 1.3, 2.6)) / 0.15, 0, 1) * at.front
    texture = _blend(texture, color, 0.9 * eyes)
    mouth = np.clip((1.25 - np.hypot(x / (at.mouth_half + 1.0), (at.y - at.mouth_y) / (at.lip_half + 0.9))) / 0.1, 0, 1)
    nose = np.clip((1.35 - np.hypot(at.x, at.y - at.nose_y)) / 0.15, 0, 1)
    red = np.array(PAINT_COLORS["red"])
    return _blend(texture, red, 0.95 * np.maximum(mouth, nose) * at.front)


def _diamond(x: np.ndarray, y: np.ndarray, half_width: float, half_height: float) -> np.ndarray:
    """Measure from a diamond's middle, 1 on its edge."""
    distance: np.ndarray = np.abs(x) / half_width + np.abs(y) / half_height
    return distance


def _skull(texture: np.ndarray, at: Places) -> np.ndarray:
    """Paint a white face with black sockets, nose, teeth and cheeks."""
    x = np.abs(at.x)
    texture = _blend(texture, np.array(PAINT_COLORS["white"]), 0.93 * _oval(at))
    sockets = np.hypot((x - at.eye[0]) / 2.1, (at.y - at.eye[1]) / 2.0) < 1
    nose = _diamond(at.x, at.y - at.nose_y - 0.3, 1.3, 1.8) < 1
    teeth = (np.abs(np.sin(at.x * 2.4)) < 0.3) & (np.abs(at.y - at.mouth_y) < 1.3) & (x < at.mouth_half + 1.6)
    lips = (np.abs(at.y - at.mouth_y) < 0.2) & (x < at.mouth_half + 1.8)
    cheeks = np.hypot((x - 4.6) / 1.3, (at.y - at.mouth_y - 1.2) / 2.6) < 1
    black = (sockets | nose | teeth | lips | cheeks) & at.front
    return _blend(texture, np.array(PAINT_COLORS["black"]), 0.93 * black)


def _stripes(texture: np.ndarray, at: Places, color: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Paint war paint: bars over cheeks or eyes, and the chin."""
    x = np.abs(at.x)
    bars = np.zeros(x.shape, bool)
    match int(rng.integers(3)):
        case 0:  # two bars on each cheek
            for y in (-0.4, 0.9):
                bars |= (np.abs(at.y - at.nose_y - y + 0.25 * (x - 4)) < 0.36) & (x > 1.9) & (x < 6)
        case 1:  # a band over the eyes
            bars |= (np.abs(at.y - at.eye[1]) < 1.3) & (x < 6.6)
        case _:  # upright bars through the eyes
            bars |= (np.abs(x - at.eye[0]) < 0.7) & (at.y < at.brow_y + 1) & (at.y > at.mouth_y)
    bars |= (x < 0.4) & (at.y < at.mouth_y - 1.2) & (at.y > at.chin_y - 1)
    return _blend(texture, color, 0.92 * (bars & at.front))


def _painted_face(texture: np.ndarray, at: Places, color: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Paint the whole face, one half of it, or its upper half."""
    oval = _oval(at)
    part = (np.ones(oval.shape), at.x > 0, at.y > at.nose_y)[int(rng.integers(3))]
    return _blend(texture, color, 0.88 * oval * part)


def adorn(texture: np.ndarray, traits: Traits, wrinkles: np.ndarray | None, rng: np.random.Generator) -> np.ndarray:
    """Lay on a skin what `traits` say is there.

    Args:
        texture: a skin, square, h w 4 uint8.
        traits: whose freckles and paint it gets.
        wrinkles: depth of the furrows at every texel, or None.
        rng: source of every choice.
    """
    at = texel_places(len(texture))
    if wrinkles is not None:
        texture = _blend(texture, texture[..., :3].mean(axis=(0, 1)) / 255 * np.array([0.5, 0.4, 0.36]), 0.6 * wrinkles)
    if traits.freckles:
        texture = _freckles(texture, at, rng)
    color = np.array(PAINT_COLORS[traits.paint_color])
    match traits.paint:
        case "clown":
            return _clown(texture, at, color)
        case "skull":
            return _skull(texture, at)
        case "war paint":
            return _stripes(texture, at, color, rng)
        case "face paint":
            return _painted_face(texture, at, color, rng)
        case _:
            return texture
