"""Render the training set: shards of captioned views, restartable."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from headartist.geometry.cameras import Cameras, look
from headartist.heads.landmarks import render_landmarks
from headartist_foundry.data.captions import caption
from headartist_foundry.data.corruptions import corrupt
from headartist_foundry.data.makehuman_assets import MakeHumanAssets
from headartist_foundry.data.renderer import Light, Renderer
from headartist_foundry.data.scenes import make_scene
from headartist_foundry.data.shards import Shard, shows_face
from headartist_foundry.data.traits import sample_traits

HEADS_PER_SHARD = 50
CORRUPTED = 0.08
"""Share of views that show a corrupted head; they are trained under the negative words."""
JITTER = 0.02  # world units by which the head may stand off the centre
CLOSE = 0.5
"""Share of views so near that the head fills the picture: eyes and lips of a whole bust are a few pixels wide."""


def sample_view(rng: np.random.Generator) -> Cameras:
    """Sample a view that distillation samples, or a nearer one.

    Half of them see the face.
    """
    azimuth = rng.uniform(-55, 55) if rng.random() < 0.4 else rng.uniform(-180, 180)
    elevation = rng.uniform(-10, 45) if rng.random() < 0.6 else rng.uniform(-10, 20)
    fov_y = rng.uniform(20, 30) if rng.random() < CLOSE else rng.uniform(30, 50)
    view = look(float(azimuth), float(elevation), float(fov_y))
    return Cameras(
        view.azimuth_deg,
        view.elevation_deg,
        view.fov_y_deg,
        view.radius,
        torch.from_numpy(rng.normal(0, JITTER, (1, 3)).astype(np.float32)),
    )


def sample_background(rng: np.random.Generator, size: int) -> np.ndarray:
    """Sample a background: a colour, 3, or a picture, `size size 3`.

    Mid grey half of the time, else any colour, more often a pale one, alone or running into a second one.
    """
    if rng.random() < 0.5:
        return np.full(3, 0.5)
    first: np.ndarray
    second: np.ndarray
    first, second = rng.uniform(0.1, 0.95, (2, 3)) * 0.5 + rng.uniform(0.1, 0.95) * 0.5
    if rng.random() < 0.6:
        return first
    angle, steps = rng.uniform(0, 2 * np.pi), np.linspace(-1, 1, size)
    along = np.cos(angle) * steps[:, None] + np.sin(angle) * steps
    around = np.hypot(steps[:, None], steps) - 0.7
    share = 1 / (1 + np.exp(-3 * (along if rng.random() < 0.5 else around)))[..., None]
    gradient: np.ndarray = (1 - share) * first + share * second
    return gradient


def render_shard(seed: tuple[int, int], heads: int, views: int, size: int, assets: MakeHumanAssets | None) -> Shard:
    """Render some characters from some sides each.

    `seed` decides on all of it; `size` is in pixels.
    """
    rng = np.random.default_rng(seed)
    columns: dict[str, list[np.ndarray | float | int]] = {
        name: [] for name in ("rgb", "normal", "sites", "azimuth_deg", "elevation_deg", "head", "spoiled")
    }
    people = []
    for number in range(heads):
        traits = sample_traits(rng)
        layers, body = make_scene(traits, assets, rng)
        renderer, sites = Renderer(layers), body.head.site_positions()
        people.append(traits)
        for _ in range(views):
            view, spoiled = sample_view(rng), bool(rng.random() < CORRUPTED)
            shown = Renderer(corrupt(layers, rng)) if spoiled else renderer
            rgb, normal = shown.draw(view, size, Light.sample(rng), sample_background(rng, size))
            columns["rgb"].append((rgb * 255).round().astype(np.uint8))
            columns["normal"].append((normal * 255).round().astype(np.uint8))
            columns["sites"].append(view.project(sites, 1)[0][0].numpy())
            columns["azimuth_deg"].append(float(view.azimuth_deg[0]))
            columns["elevation_deg"].append(float(view.elevation_deg[0]))
            columns["head"].append(number)
            columns["spoiled"].append(spoiled)
    arrays = {name: np.array(values) for name, values in columns.items()}
    return Shard(**arrays, traits=tuple(people))


def contact_sheet(shard: Shard, rows: int = 6, columns: int = 5) -> Image.Image:
    """Lay out colour, normals and landmark maps of some views."""
    size = shard.rgb.shape[1]
    sheet = np.zeros((rows * size, columns * 3 * size, 3), np.uint8)
    for cell, view in enumerate(np.linspace(0, len(shard.rgb) - 1, rows * columns).astype(int)):
        row, column = divmod(cell, columns)
        marks = render_landmarks(shard.sites[view] * size, size, face=shows_face(float(shard.azimuth_deg[view])))
        strip = np.concatenate([shard.rgb[view], shard.normal[view], marks], axis=1)
        sheet[row * size : (row + 1) * size, column * 3 * size : (column + 1) * 3 * size] = strip
    return Image.fromarray(sheet)


def render(
    out: Path, *, count: int, views: int, size: int, assets: Path | None, seed: int = 0, part: int = 0, parts: int = 1
) -> None:
    """Write shards of `count` heads into `out`.

    Shards that are already there stay as they are. Several processes share the work when each is given another `part`
    of `parts`.
    """
    torch.set_num_threads(1)
    out.mkdir(parents=True, exist_ok=True)
    wearable = MakeHumanAssets(assets) if assets else None
    for number in range(part, -(-count // HEADS_PER_SHARD), parts):
        path = out / f"shard_{seed:03d}_{number:05d}.npz"
        if path.exists():
            continue
        heads = min(HEADS_PER_SHARD, count - number * HEADS_PER_SHARD)
        shard = render_shard((seed, number), heads, views, size, wearable)
        shard.save(path)
        if number % 20 == 0:
            contact_sheet(shard).save(path.with_suffix(".png"))
            rng = np.random.default_rng(number)
            print("\n".join(caption(t, rng, normals=False) for t in shard.traits[:4]))
        print(f"{path.name}: {len(shard.rgb)} views", flush=True)
