"""Hair made by formula, in world units.

There are shells, mohawks, dreadlocks, buns and crown braids.
"""

import numpy as np
from scipy.ndimage import gaussian_filter, zoom

from headartist.geometry.mesh import Mesh
from headartist_foundry.data.bodies import Body
from headartist_foundry.data.procedural import (
    CENTIMETER,
    CHIN,
    EAR_RIGHT,
    FOREHEAD_TOP,
    Skull,
    Surface,
    grid_surface,
    join,
    measure_skull,
    tube,
)

Shell = tuple[Surface, np.ndarray | None]
"""A surface and its opacity per vertex, None where it is solid."""


def make_hair(body: Body, style: str, rng: np.random.Generator) -> list[Shell]:
    """Make hair of any style by formula.

    Braids fall back to long hair, ponytails to short.
    """
    skull = measure_skull(body)
    match style:
        case "mohawk":
            return [(make_mohawk(skull, rng), None)]
        case "dreadlocks":
            return [make_scalp(body, skull, 0.5), (make_dreadlocks(skull, rng), None)]
        case "bun":
            return [make_scalp(body, skull, 0.7), (make_bun(skull, rng), None)]
        case "crown braid":
            return [make_scalp(body, skull, 0.7), (make_crown_braid(skull, rng), None)]
        case "braid":
            return [(make_loose_hair(skull, "long", rng), None)]
        case "short" | "ponytail":
            return [make_scalp(body, skull, float(rng.uniform(0.5, 1.3)))]
        case _:
            return [(make_loose_hair(skull, style, rng), None)]


def make_scalp(body: Body, skull: Skull, thickness: float) -> Shell:
    """Lift the scalp's skin: short or tightly drawn hair.

    It is lifted by `thickness` centimetres; strands run from the crown.
    """
    template, verts = body.head, body.head_verts
    density = _scalp_density(skull, verts)
    faces = template.faces_of("skin").numpy()
    faces = faces[density[faces].max(axis=1) > 0.02]
    normals = Mesh(template.verts, template.faces_of("skin")).vertex_normals().numpy()
    lifted = verts + CENTIMETER * thickness * np.clip(density * 2, 0.2, 1)[:, None] * normals
    away = verts - skull.center
    uv = np.stack([np.arctan2(away[:, 0], away[:, 2]) * 2, away[:, 1]], axis=-1)[faces]
    return (lifted, faces, uv), np.clip(density * 2.5, 0, 1)


def _scalp_density(skull: Skull, verts: np.ndarray) -> np.ndarray:
    """Find where hair grows on the head, 0 to 1, v.

    That is behind a line from the forehead over the ears to the nape.
    """
    sites = skull.sites
    top, ear = sites[FOREHEAD_TOP], sites[EAR_RIGHT]
    nape = 0.5 * (ear[1] + sites[CHIN, 1])
    line = np.interp(
        verts[:, 2],
        [ear[2] - 7.5 * CENTIMETER, ear[2] - 3 * CENTIMETER, ear[2], ear[2] + 2 * CENTIMETER, top[2]],
        [nape, ear[1] - CENTIMETER, ear[1] + 2.5 * CENTIMETER, ear[1] + 4.5 * CENTIMETER, top[1] + 0.5 * CENTIMETER],
    )
    ears = (np.abs(verts[:, 0]) > np.abs(ear[0]) + 0.4 * CENTIMETER) & (verts[:, 1] < ear[1] + 4 * CENTIMETER)
    density: np.ndarray = np.clip((verts[:, 1] - line) / (0.8 * CENTIMETER) + 0.3, 0, 1) * ~ears
    return density


def pressed(skull: Skull, verts: np.ndarray) -> np.ndarray:
    """Press hair under a hat, n 3.

    What stands off the skull above the hat's rim comes to lie close to it.
    """
    size = np.array([skull.half_width, skull.height, skull.half_depth])
    place = (verts - skull.center) / size
    rim = -0.25 * np.clip(-place[:, 2], 0, 1) - 0.05  # lower behind than before
    under = np.clip((place[:, 1] - rim) / 0.15 + 1, 0, 1)
    close = np.minimum(1.02 / np.maximum(np.linalg.norm(place, axis=1), 1e-6), 1)
    lying: np.ndarray = skull.center + place * size * (1 + under * (close - 1))[:, None]
    return lying


def make_loose_hair(skull: Skull, style: str, rng: np.random.Generator) -> Surface:
    """Make loose hair as one displaced shell.

    It runs from the crown over the skull, then hangs down to the style's length.
    """
    columns, rows = 128, 40
    angle = np.linspace(-np.pi, np.pi, columns, endpoint=False)  # 0 at the face
    away = np.abs(angle) / np.pi
    hairline = (skull.sites[FOREHEAD_TOP, 1] - skull.center[1]) / skull.height
    nape = (skull.sites[CHIN, 1] - skull.center[1]) / skull.height
    length = {"curly": 0.95, "afro": 0.85, "bob": 1.05, "long": float(rng.uniform(1.5, 2.2))}[style]
    thick = {"curly": 0.22, "afro": 0.42, "bob": 0.14, "long": 0.12}[style]
    side = {"curly": 0.55, "afro": 0.2, "bob": 1.0, "long": 1.0}[style]
    low = np.interp(
        away,
        [0, 0.26, 0.4, 0.55, 0.65, 1] if style == "curly" else [0, 0.2, 0.3, 0.5, 0.62, 1],
        [hairline, hairline, -0.1 + nape * side * 0.9, nape * max(side * length, 0.35), nape * length, nape * length],
    )
    t = np.linspace(0, 1, rows)[:, None]
    y = 1 + (low - 1) * t
    ring = np.sqrt(np.clip(1 - np.clip(y, 0, 1) ** 2, 0, 1))
    strands = 0.5 * zoom(rng.standard_normal((2, columns // 2)), (rows / 2, 2), order=1, mode="grid-wrap")
    curls = gaussian_filter(rng.standard_normal((rows, columns)), 1.6, mode=("nearest", "wrap")) * 4
    bumps = curls * 0.06 if style in ("curly", "afro") else strands * 0.025
    grow = 1 + (thick + bumps) * np.clip(t * 12, 0, 1)
    x = ring * grow * np.sin(angle) * skull.half_width
    z = ring * grow * np.cos(angle) * skull.half_depth
    height = np.where(y > 0, y * (1 + thick * 0.9 + bumps), y) * skull.height
    points = skull.center + np.stack([x, height, z], axis=-1)
    return grid_surface(points, closed=True)


def make_mohawk(skull: Skull, rng: np.random.Generator) -> Surface:
    """Make a fin of spikes from the forehead to the nape."""
    t = np.linspace(np.radians(14), np.radians(190), 60)  # around the x axis, from the forehead backwards
    tall = float(rng.uniform(4, 8)) * CENTIMETER
    spikes = (
        tall
        * (0.75 + 0.25 * np.abs(np.sin(np.linspace(0, 9 * np.pi, len(t)))))
        * np.sin((t + 0.4) / 3.7 * np.pi).clip(0.15)
    )
    rows = []
    for width, rise in ((1.6, 0.0), (1.3, 0.5), (0.3, 1.0), (-0.3, 1.0), (-1.3, 0.5), (-1.6, 0.0)):
        radius = spikes * rise - 0.02
        y = np.sin(t) * (skull.height + radius)
        z = np.cos(t) * (skull.half_depth + radius)
        rows.append(skull.center + np.stack([np.full_like(t, width * CENTIMETER), y, z], axis=-1))
    return grid_surface(np.stack(rows), closed=False)


def make_dreadlocks(skull: Skull, rng: np.random.Generator) -> Surface:
    """Make thick strands that hang beside and behind the face.

    They leave the scalp and bend over first.
    """
    length = float(rng.uniform(9, 22)) * CENTIMETER
    radius = float(rng.uniform(0.45, 0.75)) * CENTIMETER
    strands = []
    for ring, count in ((0.98, 5), (0.85, 12), (0.65, 18), (0.4, 20), (0.15, 20), (-0.1, 16)):
        for k in range(count):
            # 0 at the face; low rings leave it free.
            angle = 2 * np.pi * (k + 0.5 * rng.random()) / count
            away = np.abs(np.angle(np.exp(1j * angle)))
            if ring < 0.75 and away < np.radians(55 + 40 * (0.75 - ring)):
                continue
            strands.append(_strand(skull, ring, angle, length * rng.uniform(0.8, 1.1), radius, rng))
    return join(*strands)


def _strand(skull: Skull, ring: float, angle: float, length: float, radius: float, rng: np.random.Generator) -> Surface:
    """Make one lock: over the scalp, then straight down."""
    flat = np.sqrt(max(1 - max(ring, 0.0) ** 2, 0.0))
    # Locks that grow before the crown fall to the sides, so that they do not cover the face.
    fall = np.sign(np.sin(angle)) * max(abs(np.angle(np.exp(1j * angle))), np.radians(75))
    t = np.linspace(0, 1, 12)
    over = np.clip(t / 0.35, 0, 1)
    turn = np.angle(np.exp(1j * angle)) + (fall - np.angle(np.exp(1j * angle))) * over
    wide = flat + (1.06 + 0.05 * rng.random() - flat) * np.sin(over * np.pi / 2)
    height = ring + (min(ring, 0.1) - ring) * (1 - np.cos(over * np.pi / 2)) + 0.1 * np.sin(over * np.pi)
    sway = np.cumsum(rng.normal(0, 0.006, (12, 2)), axis=0)
    x = wide * np.sin(turn) * skull.half_width + sway[:, 0]
    z = wide * np.cos(turn) * skull.half_depth + sway[:, 1]
    y = height * skull.height - np.clip(t - 0.3, 0, None) / 0.7 * length
    return tube(skull.center + np.stack([x, y, z], axis=-1), radius, closed=False, sides=6)


def make_bun(skull: Skull, rng: np.random.Generator) -> Surface:
    """Make a knot on the crown or behind it."""
    tilt = float(rng.uniform(0.15, 0.9))  # 0 on top, pi / 2 behind
    size = float(rng.uniform(2.6, 4.0)) * CENTIMETER
    away = np.array([0.0, np.cos(tilt) * skull.height, -np.sin(tilt) * skull.half_depth])
    center = skull.center + away * (1.05 + 0.6 * size / np.linalg.norm(away))
    v, u = np.meshgrid(np.linspace(0, np.pi, 16), np.linspace(0, 2 * np.pi, 28, endpoint=False), indexing="ij")
    bumps = 1 + 0.08 * np.sin(5 * u + 4 * v)
    knot = np.stack([np.sin(v) * np.sin(u), 0.85 * np.cos(v), np.sin(v) * np.cos(u)], axis=-1) * bumps[..., None]
    return grid_surface(center + size * knot, closed=True)


def make_crown_braid(skull: Skull, rng: np.random.Generator) -> Surface:
    """Make a braid round the head, like a wreath.

    It is two strands wound about each other.
    """
    radius = float(rng.uniform(0.9, 1.25)) * CENTIMETER
    angle = np.linspace(0, 2 * np.pi, 240, endpoint=False)
    front, back = 0.72, 0.2
    height = (front + back) / 2 + (front - back) / 2 * np.cos(angle)
    ring = np.sqrt(1 - height**2) * 1.08 + 0.03
    outwards = np.stack([np.sin(angle), 0.5 + 0 * angle, np.cos(angle)], axis=-1)
    size = np.array([skull.half_width, skull.height, skull.half_depth])
    path = skull.center + np.stack([ring * np.sin(angle), height * 1.02, ring * np.cos(angle)], axis=-1) * size
    windings = int(rng.integers(13, 18))
    strands = []
    for phase in (0.0, np.pi):
        swing = 0.75 * radius * np.sin(windings * angle + phase)[:, None]
        lift = 0.35 * radius * np.cos(2 * windings * angle + phase)[:, None]
        strands.append(tube(path + swing * np.array([0.0, 1.0, 0.0]) + lift * outwards, radius, closed=True, sides=7))
    return join(*strands)
