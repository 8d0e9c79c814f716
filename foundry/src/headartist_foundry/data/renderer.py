"""The renderer: layers to a colour picture and a normal map.

Normals are those of the camera's space; hair is alpha-tested, edges are smoothed by supersampling.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import warp as wp

from headartist.geometry.cameras import Cameras
from headartist_foundry.data.scenes import Layer
from headartist_foundry.data.visibility import nearest

GAMMA = 2.2


@dataclass(frozen=True)
class Light:
    """Hold the light of a picture, in the camera frame.

    There are one lamp, a weaker one behind the head, and light from everywhere.
    """

    direction: np.ndarray  # 3, towards the lamp
    ambient: float
    color: tuple[float, float, float] = (1.0, 1.0, 1.0)
    rim: float = 0.0  # strength of the lamp behind the head, opposite to the first

    @staticmethod
    def sample(rng: np.random.Generator) -> "Light":
        """Sample mostly a soft white lamp before the head.

        Now and then it is harder, warmer or colder, or there is one more behind.
        """
        hard = rng.random() < 0.25
        side = 1.6 if hard else 0.7
        direction = np.array([rng.uniform(-side, side), rng.uniform(0.05, 0.7), 0.8])
        warmth = float(np.clip(rng.normal(0, 0.06), -0.12, 0.12))
        return Light(
            direction,
            float(rng.uniform(0.2, 0.38) if hard else rng.uniform(0.38, 0.6)),
            (1 + warmth, 1.0, 1 - warmth),
            float(rng.uniform(0.2, 0.6)) if rng.random() < 0.2 else 0.0,
        )


class Renderer:
    """Pack layers once, to render them from many views."""

    def __init__(self, layers: list[Layer]) -> None:
        counts = np.cumsum([0] + [len(layer.verts) for layer in layers])
        self.layers = layers
        self.verts = np.concatenate([layer.verts for layer in layers])
        self.faces = np.concatenate(
            [layer.faces + start for layer, start in zip(layers, counts[:-1], strict=True)]
        ).astype(np.int32)
        self.layer = np.repeat(np.arange(len(layers), dtype=np.int32), [len(layer.faces) for layer in layers])
        self.uv = np.concatenate([layer.uv for layer in layers]).astype(np.float32)
        self.normals = _vertex_normals(self.verts, self.faces).astype(np.float32)
        opacity = [np.ones(len(layer.verts)) if layer.opacity is None else layer.opacity for layer in layers]
        alphas = [
            np.full((1, 1), 255, np.uint8) if layer.material == "skin" else layer.texture[..., 3] for layer in layers
        ]
        sizes = np.cumsum([0] + [alpha.size for alpha in alphas])
        extent = np.array(
            [(start, a.shape[1], a.shape[0]) for start, a in zip(sizes[:-1], alphas, strict=True)], np.int32
        )
        self._inputs: list[wp.array[Any]] = [
            wp.array(self.faces, device="cpu"),
            wp.array(self.layer, device="cpu"),
            wp.array(self.uv, dtype=wp.vec2, device="cpu"),
            wp.array(np.concatenate(opacity).astype(np.float32), device="cpu"),
            wp.array(np.concatenate([alpha.ravel() for alpha in alphas]), device="cpu"),
            wp.array(extent, device="cpu"),
        ]

    def draw(
        self, view: Cameras, size: int, light: Light, background: np.ndarray, samples: int = 3
    ) -> tuple[np.ndarray, np.ndarray]:
        """Render one view as (colour, normal picture), `size size 3`.

        Both are in [0, 1]; mid grey lies behind the normals.

        Args:
            view: one camera.
            size: pixels of the pictures.
            light: in the frame of that camera.
            background: a colour, or a picture `size size 3`.
            samples: rows and columns of samples in a pixel.
        """
        fine = size * samples
        rotation = view.rotation[0].double().numpy()
        local = (self.verts - view.position[0].double().numpy()) @ rotation.T
        focal = fine / 2 / np.tan(np.radians(float(view.fov_y_deg[0])) / 2)
        depth = -local[:, 2]
        safe = np.where(depth > 0.1, depth, 1.0)
        screen = np.stack([fine / 2 + focal * local[:, 0] / safe, fine / 2 - focal * local[:, 1] / safe, depth], axis=1)
        keys = np.full((fine, fine), np.iinfo(np.uint64).max, np.uint64)
        on_device: wp.array[Any] = wp.array(keys, device="cpu", copy=False)
        points: wp.array[Any] = wp.array(screen.astype(np.float32), dtype=wp.vec3, device="cpu")
        wp.launch(nearest, dim=len(self.faces), inputs=[points, *self._inputs, fine, on_device], device="cpu")
        rows, columns = np.nonzero(keys != np.iinfo(np.uint64).max)
        face = (keys[rows, columns] & np.uint64(0xFFFFFFFF)).astype(np.int64)
        weights = _barycentric(screen, self.faces[face], columns + 0.5, rows + 0.5)
        local32, rotation32 = local.astype(np.float32), rotation.astype(np.float32)
        color, normal = self._shade(face, weights.astype(np.float32), local32, rotation32, light)
        picture = np.empty((fine, fine, 3), np.float32)
        picture[:] = background if background.ndim == 1 else background.repeat(samples, 0).repeat(samples, 1)
        picture[rows, columns] = color
        normal_map = np.full((fine, fine, 3), 0.5, np.float32)
        normal_map[rows, columns] = normal * 0.5 + 0.5
        return _shrink(picture, samples), _shrink(normal_map, samples)

    def _shade(
        self, face: np.ndarray, weights: np.ndarray, local: np.ndarray, rotation: np.ndarray, light: Light
    ) -> tuple[np.ndarray, np.ndarray]:
        """Shade every covered sample: its colour and normal, n 3.

        Light and normals live in the camera frame.
        """
        corners = self.faces[face]
        normal = _unit(_mixed(self.normals, corners, weights) @ rotation.T)
        towards = _unit(-_mixed(local, corners, weights))
        normal *= np.where(_dot(normal, towards) < 0, -1, 1).astype(np.float32)[:, None]
        lamp = _unit(light.direction[None])[0].astype(np.float32)
        diffuse = np.clip(0.85 * normal @ lamp + 0.15, 0, 1)
        behind = light.rim * np.clip(normal @ (lamp * np.array([-1, 1, -0.4], np.float32)), 0, 1)
        sky = 0.5 + 0.5 * normal @ rotation[:, 1]
        shine = np.clip(_dot(normal, _unit(towards + lamp)), 0, 1)
        uv = self.uv[face]
        at = sum(uv[:, k] * weights[:, k : k + 1] for k in range(3)) % 1.0
        color = np.zeros((len(face), 3), np.float32)
        gloss = np.zeros(len(face), np.float32)
        of_layer = self.layer[face]
        for index, layer in enumerate(self.layers):
            mine = np.flatnonzero(of_layer == index)
            height, width = layer.texture.shape[:2]
            row = np.minimum(((1 - at[mine, 1]) * height).astype(int), height - 1)
            column = np.minimum((at[mine, 0] * width).astype(int), width - 1)
            color[mine] = LINEAR[layer.texture[row, column, :3]]
            strength, power = GLOSS.get(layer.material, (0.0, 1))
            gloss[mine] = strength * shine[mine] ** power
        level = light.ambient * (0.6 + 0.4 * sky) + 0.9 * diffuse + behind
        lit = color * (level[:, None] * np.array(light.color, np.float32)) + gloss[:, None]
        return np.clip(lit, 0, 1) ** (1 / GAMMA), normal


LINEAR = (np.arange(256, dtype=np.float32) / 255) ** GAMMA
"""Linear light of every stored level."""
GLOSS = {
    "skin": (0.07, 18),
    "eye": (0.6, 80),
    "hair": (0.12, 20),
    "metal": (0.6, 12),
    "lens": (0.5, 60),
    "stone": (0.12, 10),
    "teeth": (0.2, 30),
}


def _unit(vectors: np.ndarray) -> np.ndarray:
    """Scale vectors to length 1."""
    length = np.sqrt(np.einsum("...k,...k->...", vectors, vectors))
    units: np.ndarray = vectors / np.maximum(length, 1e-12)[..., None]
    return units


def _dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Multiply vectors row by row, n."""
    products: np.ndarray = np.einsum("nk,nk->n", a, b)
    return products


def _mixed(values: np.ndarray, corners: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Interpolate the vertices' values at samples, n 3."""
    first: np.ndarray = values[corners[:, 0]] * weights[:, :1]
    return sum((values[corners[:, k]] * weights[:, k : k + 1] for k in range(1, 3)), first)


def _vertex_normals(verts: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Average the triangles' normals at vertices, v 3."""
    a, b, c = (verts[faces[:, k]] for k in range(3))
    area = np.cross(b - a, c - a)
    sums = [sum(np.bincount(faces[:, k], area[:, axis], len(verts)) for k in range(3)) for axis in range(3)]
    return _unit(np.stack(sums, axis=1))


def _barycentric(screen: np.ndarray, corners: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Weigh samples (x, y) in their triangles, perspective-correct, n 3."""
    p = screen[corners]
    dx, dy = p[..., 0] - x[:, None], p[..., 1] - y[:, None]
    raw = np.stack(
        [
            dx[:, 1] * dy[:, 2] - dx[:, 2] * dy[:, 1],
            dx[:, 2] * dy[:, 0] - dx[:, 0] * dy[:, 2],
            dx[:, 0] * dy[:, 1] - dx[:, 1] * dy[:, 0],
        ],
        axis=1,
    )
    raw = raw / p[..., 2]
    weights: np.ndarray = raw / raw.sum(axis=1, keepdims=True)
    return weights


def _shrink(picture: np.ndarray, samples: int) -> np.ndarray:
    """Average squares of samples.

    Slices are added, which is many times faster than reducing two short axes.
    """
    rows = sum(picture[k::samples] for k in range(samples))
    assert isinstance(rows, np.ndarray)
    shrunk = sum(rows[:, k::samples] for k in range(samples)) / samples**2
    assert isinstance(shrunk, np.ndarray)
    return shrunk
