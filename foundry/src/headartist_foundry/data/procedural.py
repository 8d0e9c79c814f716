"""Hats, beards and glasses made by formula, in world units.

Hair is in `procedural_hair`. Every maker returns `(verts, faces, uv per corner)`, and beards also an opacity per
vertex.
"""

from dataclasses import dataclass

import numpy as np

from headartist.geometry.mesh import Mesh
from headartist_foundry.data.bodies import Body

Surface = tuple[np.ndarray, np.ndarray, np.ndarray]
CENTIMETER = 0.045  # one centimetre in world units

FOREHEAD_TOP, FOREHEAD, CHIN, NOSE_BASE = 10, 151, 152, 2
MOUTH_RIGHT, MOUTH_LEFT, LIP_TOP, LIP_BOTTOM = 61, 291, 0, 17
JAW_RIGHT, EAR_RIGHT = 58, 234
PUPILS = (468, 473)
TEMPLES = (127, 356)
BRIDGE = (168, 6, 197)


@dataclass(frozen=True)
class Skull:
    """Hold the ellipsoid that hats and made hair sit on."""

    center: np.ndarray  # at brow height, in the middle of the skull
    half_width: np.float32
    half_depth: np.float32
    height: float  # from the centre to the crown
    sites: np.ndarray  # 478 3, the landmark sites


def measure_skull(body: Body) -> Skull:
    """Fit the ellipsoid to the skin above the forehead's middle."""
    sites = body.head.site_positions().numpy()
    skin = np.unique(body.head.faces_of("skin").numpy())
    verts = body.head_verts[skin]
    above = verts[verts[:, 1] > sites[FOREHEAD, 1] + 0.5 * CENTIMETER]
    low, high = above.min(axis=0), above.max(axis=0)
    center = np.array([0.0, sites[FOREHEAD, 1], (low[2] + high[2]) / 2])
    return Skull(center, high[0], (high[2] - low[2]) / 2, high[1] - center[1], sites)


def grid_surface(points: np.ndarray, *, closed: bool) -> Surface:
    """Triangulate a grid of points, r c 3.

    `closed` joins the last column to the first.
    """
    rows, columns = points.shape[:2]
    index = np.arange(rows * columns).reshape(rows, columns)
    if closed:
        index = np.concatenate([index, index[:, :1]], axis=1)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]
    faces = np.concatenate([np.stack([a, c, b], -1).reshape(-1, 3), np.stack([b, c, d], -1).reshape(-1, 3)])
    u, v = np.meshgrid(np.linspace(0, 1, columns), np.linspace(1, 0, rows))
    uv = np.stack([u, v], axis=-1).reshape(-1, 2)
    return points.reshape(-1, 3), faces, uv[faces]


def join(*surfaces: Surface) -> Surface:
    """Join several surfaces into one."""
    offsets = np.cumsum([0] + [len(s[0]) for s in surfaces[:-1]])
    return (
        np.concatenate([s[0] for s in surfaces]),
        np.concatenate([s[1] + offset for s, offset in zip(surfaces, offsets, strict=True)]),
        np.concatenate([s[2] for s in surfaces]),
    )


def revolve(skull: Skull, profile: np.ndarray, tilt: float, segments: int = 48) -> np.ndarray:
    """Turn a profile round the skull into rings, r c 3.

    A profile's rows are (scale of the ellipse, height over the centre in skull heights).
    """
    angle = np.linspace(0, 2 * np.pi, segments, endpoint=False)
    scale, height = profile[:, :1], profile[:, 1:]
    z = scale * np.cos(angle) * skull.half_depth
    y = height * skull.height + tilt * z
    return skull.center + np.stack([scale * np.sin(angle) * skull.half_width, y + 0 * z, z], axis=-1)


def dome(scale: float, low: float, top: float, rows: int = 12) -> np.ndarray:
    """Shape a profile from the rim up to the crown, r 2."""
    angle = np.linspace(0, np.pi / 2, rows)
    return np.stack([scale * np.cos(angle) ** 0.7 + 1e-3, low + (top - low) * np.sin(angle)], axis=1)


def make_hat(skull: Skull, kind: str, rng: np.random.Generator) -> Surface:
    """Make a cap, knitted hat, helmet or wizard hat."""
    tilt = float(rng.uniform(0.1, 0.25))
    match kind:
        case "knitted hat":
            band = np.array([[1.13, -0.05], [1.22, -0.02], [1.24, 0.12], [1.23, 0.25], [1.14, 0.3]])
            crown = dome(1.14, 0.3, float(rng.uniform(1.15, 1.5)))
            return grid_surface(revolve(skull, np.concatenate([band, crown]), tilt), closed=True)
        case "helmet":
            profile = np.concatenate([[[1.28, -0.75], [1.33, -0.7]], dome(1.3, -0.3, 1.25)])
            points = revolve(skull, profile, tilt=0.0)
            face = skull.center[1] - 0.05 * skull.height  # the rim rises over the face
            front = np.clip((points[..., 2] - skull.center[2]) / skull.half_depth - 0.3, 0, 0.3) / 0.3
            points[..., 1] = np.maximum(points[..., 1], front * face + (1 - front) * points[..., 1])
            return grid_surface(points, closed=True)
        case "wizard hat":
            brim = np.array([[1.14, 0.0], [2.0, 0.1], [2.02, 0.14], [1.26, 0.1]])
            cone = np.stack([np.linspace(1.26, 0.02, 12), np.linspace(0.1, 2.9, 12)], axis=1)
            return grid_surface(revolve(skull, np.concatenate([brim, cone]), tilt), closed=True)
        case "cap":
            profile = np.concatenate([[[1.12, -0.02]], dome(1.13, 0.05, 1.15)])
            top = grid_surface(revolve(skull, profile, tilt), closed=True)
            angle, reach = np.meshgrid(np.linspace(-1.0, 1.0, 20), np.linspace(1.08, 1.95, 8))
            scale = 1.08 + (reach - 1.08) * np.cos(angle * np.pi / 2.05)
            z = scale * np.cos(angle) * skull.half_depth
            x = scale * np.sin(angle) * skull.half_width
            y = tilt * skull.half_depth * 0.9 - 0.12 * (reach - 1.08) - 0.25 * x**2
            return join(top, grid_surface(skull.center + np.stack([x, y, z], axis=-1), closed=False))
        case _:
            raise ValueError(f"no maker for the hat {kind!r}")


def tube(path: np.ndarray, radius: float, *, closed: bool, sides: int = 8) -> Surface:
    """Make a round tube along a path of points, n 3."""
    tangent = np.roll(path, -1, 0) - np.roll(path, 1, 0)
    if not closed:
        tangent[0], tangent[-1] = path[1] - path[0], path[-1] - path[-2]
    across = np.cross(tangent, np.array([0.1, 0.2, 1.0]))
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    other = np.cross(tangent, across)
    other /= np.linalg.norm(other, axis=1, keepdims=True)
    angle = np.linspace(0, 2 * np.pi, sides, endpoint=False)[:, None, None]
    points = path + radius * (np.cos(angle) * across + np.sin(angle) * other)
    ring = np.concatenate([points, points[:, :1]], axis=1) if closed else points
    return grid_surface(np.concatenate([ring, ring[:1]]), closed=False)


def make_glasses(skull: Skull, rng: np.random.Generator) -> tuple[Surface, list[Surface]]:
    """Make frames, and the two lenses to fill for sunglasses."""
    sites = skull.sites
    front = max(sites[list(BRIDGE), 2].max(), sites[[70, 300, 105, 334], 2].max() + 0.4 * CENTIMETER) + 0.3 * CENTIMETER
    radius = float(rng.uniform(0.2, 0.26)) * CENTIMETER
    wide = abs(sites[PUPILS[1], 0] - sites[PUPILS[0], 0]) / (6.1 * CENTIMETER)
    angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    power = 2 / rng.uniform(2.0, 3.4)
    half = np.array([2.45 * wide, rng.uniform(1.6, 2.2)]) * CENTIMETER
    parts, lenses, rings = [], [], []
    for pupil in PUPILS:
        side = np.sign(sites[pupil, 0])
        x = (
            sites[pupil, 0]
            + side * 0.15 * CENTIMETER
            + half[0] * np.sign(np.cos(angle)) * np.abs(np.cos(angle)) ** power
        )
        y = sites[pupil, 1] - 0.3 * CENTIMETER + half[1] * np.sign(np.sin(angle)) * np.abs(np.sin(angle)) ** power
        z = front - 0.175 * np.clip(np.abs(x) - 2 * CENTIMETER, 0, None)
        ring = np.stack([x, y, z], axis=-1)
        rings.append(ring)
        parts.append(tube(ring, radius, closed=True))
        lenses.append(grid_surface(np.stack([ring, np.broadcast_to(ring.mean(axis=0), ring.shape)]), closed=True))
        hinge = ring[np.argmax(side * x)] + np.array([0, 0.6 * CENTIMETER, 0])
        temple = sites[list(TEMPLES)]
        ear = np.array(
            [
                side * (np.abs(temple[:, 0]).max() + 1.2 * CENTIMETER),
                hinge[1] - 0.6 * CENTIMETER,
                temple[:, 2].mean() - 4 * CENTIMETER,
            ]
        )
        bend = np.array([ear[0] - side * 0.2 * CENTIMETER, hinge[1], hinge[2] - 2 * CENTIMETER])
        stops = np.stack([hinge, bend, ear])
        parts.append(
            tube(
                np.stack([np.interp(np.linspace(0, 2, 16), [0, 1, 2], stops[:, k]) for k in range(3)], -1),
                radius * 0.9,
                closed=False,
            )
        )
    inner = (rings[0][np.argmax(rings[0][:, 0])], rings[1][np.argmin(rings[1][:, 0])])
    t = np.linspace(0, 1, 10)[:, None]
    bridge = inner[0] * (1 - t) + inner[1] * t + np.array([0, 1, 0.5]) * 0.4 * CENTIMETER * np.sin(np.pi * t)
    parts.append(tube(bridge, radius, closed=False))
    return join(*parts), lenses


def _beard_density(skull: Skull, verts: np.ndarray, kind: str) -> np.ndarray:
    """Find where a beard grows on the skin, 0 to 1, v."""
    sites = skull.sites
    x, y, z = np.abs(verts[:, 0]), verts[:, 1], verts[:, 2]
    lip_half = abs(sites[MOUTH_LEFT, 0] - sites[MOUTH_RIGHT, 0]) / 2
    corner_y = (sites[MOUTH_RIGHT, 1] + sites[MOUTH_LEFT, 1]) / 2
    lip_y, lip_height = (
        (sites[LIP_TOP, 1] + sites[LIP_BOTTOM, 1]) / 2,
        (sites[LIP_TOP, 1] - sites[LIP_BOTTOM, 1]) * 0.56,
    )
    lips = np.hypot(x / (lip_half * 1.08), (y - lip_y) / lip_height) ** 2
    jaw_x, jaw_y, chin_y = abs(sites[JAW_RIGHT, 0]), sites[JAW_RIGHT, 1], sites[CHIN, 1]
    below = np.interp(x, [0, 0.6 * jaw_x, jaw_x], [chin_y, 0.35 * jaw_y + 0.65 * chin_y, jaw_y]) - 2.2 * CENTIMETER
    top = sites[NOSE_BASE, 1] - 0.1 * CENTIMETER
    cheek = np.interp(
        x,
        [0, 1.1 * lip_half, 1.5 * lip_half, 0.93 * jaw_x, abs(sites[EAR_RIGHT, 0])],
        [
            top,
            top - 0.4 * CENTIMETER,
            corner_y + 0.4 * CENTIMETER,
            jaw_y + 1.2 * CENTIMETER,
            sites[EAR_RIGHT, 1] - CENTIMETER,
        ],
    )

    def rise(distance: np.ndarray, width: float) -> np.ndarray:
        """Rise from 0 to 1 over some width."""
        return np.clip(distance / width, 0, 1)

    density: np.ndarray = rise(cheek - y, 0.6 * CENTIMETER) * rise(lips - 1, 0.35) * rise(y - below, 1.2 * CENTIMETER)
    density *= rise(z - (sites[EAR_RIGHT, 2] - 1.2 * CENTIMETER), CENTIMETER)
    if kind == "moustache":
        density *= (y > corner_y + 0.1 * CENTIMETER) & (x < lip_half * 1.2)
    if kind == "goatee":
        density *= rise(lip_half * 1.1 - x, 0.6 * CENTIMETER)
    return density


def make_beard(body: Body, skull: Skull, kind: str, rng: np.random.Generator) -> list[tuple[Surface, np.ndarray]]:
    """Make shells over the chin, each with an opacity per vertex.

    They go from the skin outwards.
    """
    template = body.head
    faces, verts = template.faces_of("skin").numpy(), body.head_verts
    density = _beard_density(skull, verts, kind)
    faces = faces[density[faces].max(axis=1) > 0.02]
    normals = Mesh(template.verts, template.faces_of("skin")).vertex_normals().numpy()
    length = {"stubble": (0.1, 0.15), "full beard": (1.6, 3.0)}.get(kind, (0.6, 1.2))
    length_units = float(rng.uniform(*length)) * CENTIMETER
    shells = []
    for step in np.linspace(0, 1, 2 if kind == "stubble" else 6)[1:]:
        droop = np.array([0, -0.6, 0.05]) * step**2
        grown = verts + length_units * density[:, None] * (step * normals + droop)
        uv = np.stack([verts[:, 0] * 4, verts[:, 1] * 4], axis=-1)[faces]
        cover = 0.45 if kind == "stubble" else 1.15 * (1 - 0.75 * step)
        shells.append(((grown, faces, uv), np.clip(density * cover * 1.4, 0, 1)))
    return shells
