"""Corruptions: shapes on distillation's way that are no good heads.

They are rippled, torn, unfinished, or lumps. A prior that has seen them under the negative words and under no words, in
colour and as normals, pushes away from them.
"""

from dataclasses import replace

import numpy as np

from headartist_foundry.data.scenes import Layer, flat

CORRUPTIONS = {"rippled": 0.5, "torn": 0.15, "unfinished": 0.2, "lump": 0.15}
WAVELENGTHS = (0.05, 0.6)  # world units; the head is about one wide
WAVES = 10  # plane waves summed
FACES_BY_PLANE = 0.5


def smooth_noise(points: np.ndarray, wavelength: float, rng: np.random.Generator) -> np.ndarray:
    """Sample a smooth function of unit variance at points, n.

    It is a sum of plane waves; `points` are n 3, and `wavelength` is in world units.
    """
    direction = rng.standard_normal((WAVES, 3))
    direction *= 2 * np.pi / wavelength / np.linalg.norm(direction, axis=1, keepdims=True)
    waves: np.ndarray = np.cos(points @ direction.T + rng.uniform(0, 2 * np.pi, WAVES))
    return np.asarray(waves.sum(axis=1) * np.sqrt(2 / WAVES))


def _waves(points: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Sum displacements of several wavelengths, the shorter the flatter, n."""
    low, high = np.log(WAVELENGTHS)
    total = np.zeros(len(points))
    for wavelength in np.exp(rng.uniform(low, high, int(rng.integers(1, 4)))):
        total += strength * wavelength * smooth_noise(points, float(wavelength), rng)
    return total


def rippled(layers: list[Layer], rng: np.random.Generator) -> list[Layer]:
    """Push every surface out and in, all layers alike.

    It moves along the ray from the head's middle.
    """
    strength = float(np.exp(rng.uniform(np.log(0.03), np.log(0.13))))
    seed = int(rng.integers(2**62))
    moved = []
    for layer in layers:
        outwards = layer.verts / np.maximum(np.linalg.norm(layer.verts, axis=1, keepdims=True), 1e-6)
        waves = _waves(layer.verts, strength, np.random.default_rng(seed))
        moved.append(replace(layer, verts=layer.verts + waves[:, None] * outwards))
    return moved


def torn(layers: list[Layer], rng: np.random.Generator) -> list[Layer]:
    """Take pieces away.

    They lie on one side of a plane, or wherever a smooth function is high.
    """
    normal, offset = rng.standard_normal(3), float(rng.uniform(-0.25, 0.25))
    by_plane, wavelength, level = rng.random() < FACES_BY_PLANE, float(rng.uniform(0.3, 0.9)), rng.uniform(0.3, 1.2)
    seed = int(rng.integers(2**62))
    kept = []
    for layer in layers:
        middle = layer.verts[layer.faces].mean(axis=1)
        if by_plane:
            keep = middle @ normal / np.linalg.norm(normal) < offset
        else:
            keep = smooth_noise(middle, wavelength, np.random.default_rng(seed)) < level
        if keep.any():
            kept.append(replace(layer, faces=layer.faces[keep], uv=layer.uv[keep]))
    return kept or layers


def unfinished(layers: list[Layer], rng: np.random.Generator) -> list[Layer]:
    """Keep skin and eyes only, in one colour, a little wavy.

    That is the head that distillation starts from.
    """
    color = flat(rng.uniform(0.2, 0.85, 3) if rng.random() < 0.5 else np.full(3, rng.uniform(0.3, 0.75)))
    bare = [replace(layer, material="matte", texture=color) for layer in layers if layer.material in ("skin", "eye")]
    return rippled(bare, rng) if bare and rng.random() < 0.5 else bare or layers


def lump(layers: list[Layer], rng: np.random.Generator) -> list[Layer]:
    """Replace the head by one closed bulging surface.

    It has the colours of the first layer.
    """
    v, u = np.meshgrid(np.linspace(0, np.pi, 64), np.linspace(0, 2 * np.pi, 96), indexing="ij")
    ball = np.stack([np.sin(v) * np.sin(u), np.cos(v), np.sin(v) * np.cos(u)], axis=-1).reshape(-1, 3)
    bulge = 1 + rng.uniform(0.05, 0.3) * smooth_noise(ball, float(rng.uniform(0.5, 2.0)), rng)
    size = rng.uniform(0.3, 0.6, 3) * np.array([1.0, 1.2, 1.0])
    verts = ball * bulge[:, None] * size + np.array([0.0, rng.uniform(-0.2, 0.1), 0.1])
    index = np.arange(64 * 96).reshape(64, 96)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]
    faces = np.concatenate([np.stack([a, c, b], -1).reshape(-1, 3), np.stack([b, c, d], -1).reshape(-1, 3)])
    uv = np.stack([u.ravel() / (2 * np.pi), v.ravel() / np.pi], axis=-1)[faces]
    grown = Layer("matte", verts, faces, uv, layers[0].texture)
    return rippled([grown], rng)


def corrupt(layers: list[Layer], rng: np.random.Generator) -> list[Layer]:
    """Corrupt the layers of a head in one of the ways."""
    kinds = list(CORRUPTIONS)
    match str(rng.choice(kinds, p=[CORRUPTIONS[kind] for kind in kinds])):
        case "rippled":
            return rippled(layers, rng)
        case "torn":
            return torn(layers, rng)
        case "unfinished":
            return unfinished(layers, rng)
        case _:
            return lump(layers, rng)
