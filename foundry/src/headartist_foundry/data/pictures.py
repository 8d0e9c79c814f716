"""Pictures: shards to training batches, some of them spoiled on purpose.

Distillation shows the prior pictures that are no good heads yet: flat, blurred, noisy, wrongly lit. They are trained
under the negative words and the empty caption, so that the difference between a caption and those means "better".
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from headartist.config.prompts import view_word
from headartist.heads.landmarks import render_landmarks
from headartist_foundry.data.captions import caption, negative_caption
from headartist_foundry.data.shards import held_out_shards, read_labels, shows_face, stored
from headartist_foundry.data.traits import Traits

SPOILED, NO_CAPTION, VIEW_WORDS, NO_LANDMARKS = 0.12, 0.1, 0.6, 0.03
"""Shares of sound pictures spoiled, of empty captions, of captions with view words, and of black landmark maps."""

FACES = 0.7
"""Share of draws among the views that face the camera; the others are drawn among all."""
FRONT_DEG, LEVEL_DEG = 60.0, 30.0
"""Azimuth and elevation up to which a view faces the camera."""


@dataclass(frozen=True)
class Batch:
    """Hold pictures in [0, 1], their landmark maps and captions."""

    pictures: Tensor  # b 3 h w
    landmark_map: Tensor  # b 3 y x
    captions: list[str]


class Pictures:
    """Index all views of a list of shards.

    Pictures stay in their files and are read when they are asked for.
    """

    def __init__(self, paths: list[Path]) -> None:
        self.rgb = [stored(path, "rgb") for path in paths]
        self.normal = [stored(path, "normal") for path in paths]
        shards = [read_labels(path) for path in paths]
        starts = np.cumsum([0] + [len(shard["traits"]) for shard in shards])
        self.sites, self.azimuth_deg, self.elevation_deg, self.spoiled = (
            np.concatenate([shard[name] for shard in shards])
            for name in ("sites", "azimuth_deg", "elevation_deg", "spoiled")
        )
        self.head = np.concatenate([s["head"] + start for s, start in zip(shards, starts[:-1], strict=True)])
        self.traits: list[Traits] = [traits for shard in shards for traits in shard["traits"]]
        self._ends = np.cumsum([len(shard["head"]) for shard in shards])
        front, level = np.abs(self.azimuth_deg) <= FRONT_DEG, np.abs(self.elevation_deg) <= LEVEL_DEG
        self.facing = np.flatnonzero(front & level & ~self.spoiled)  # numbers of the sound views that face the camera

    @property
    def size(self) -> int:
        """Height and width of the pictures."""
        return int(self.rgb[0].shape[1])

    def __len__(self) -> int:
        return len(self.head)

    def _stored(self, source: list[np.ndarray], index: int) -> np.ndarray:
        """Read one view's array from its shard, h w 3 uint8."""
        shard = int(np.searchsorted(self._ends, index, side="right"))
        return np.array(source[shard][index - self._ends[shard]])

    def picture(self, index: int, *, normals: bool) -> Tensor:
        """Read one picture in [0, 1], 3 h w."""
        source = self.normal if normals else self.rgb
        return torch.from_numpy(self._stored(source, index)).permute(2, 0, 1).float() / 255

    def shows_head(self, index: int) -> Tensor:
        """Find where something stands before the background, h w bool."""
        return (torch.from_numpy(self._stored(self.normal, index)).float() - 127.5).abs().amax(dim=-1) > 8

    def landmark_map(self, index: int, size: int) -> Tensor:
        """Draw a view's landmark map in [0, 1], 3 y x."""
        drawn = render_landmarks(self.sites[index] * size, size, face=shows_face(float(self.azimuth_deg[index])))
        return torch.from_numpy(drawn).permute(2, 0, 1).float() / 255

    def caption(
        self, index: int, rng: np.random.Generator, *, normals: bool, view_words: bool, complete: bool = False
    ) -> str:
        """Word a caption for one view, anew at each call."""
        words = view_word(float(self.azimuth_deg[index]), float(self.elevation_deg[index])) if view_words else ""
        traits = self.traits[self.head[index]]
        return caption(traits, rng, normals=normals, view_words=words, complete=complete)

    def batch(self, rng: np.random.Generator, count: int, landmark_size: int) -> Batch:
        """Sample a training batch, half colour and half normal maps."""
        pictures, maps, captions = [], [], []
        for face in rng.random(count) < FACES:
            index = int(rng.choice(self.facing) if face and len(self.facing) else rng.integers(len(self)))
            normals = bool(rng.random() < 0.5)
            picture = self.picture(index, normals=normals)
            if self.spoiled[index]:
                captions.append(negative_caption(rng))
            elif rng.random() < SPOILED:
                picture = spoil(picture, self.shows_head(index), rng, normals=normals)
                captions.append(negative_caption(rng))
            elif rng.random() < NO_CAPTION:
                captions.append("")
            else:
                captions.append(self.caption(index, rng, normals=normals, view_words=rng.random() < VIEW_WORDS))
            shown = self.landmark_map(index, landmark_size)
            maps.append(shown * float(rng.random() >= NO_LANDMARKS))
            pictures.append(picture)
        return Batch(torch.stack(pictures), torch.stack(maps), captions)


def held_out_pictures(data: Path) -> Pictures:
    """Index the pictures of a folder that training never sees."""
    return Pictures(held_out_shards(data))


def _smooth(rng: np.random.Generator, cells: int, like: Tensor) -> Tensor:
    """Sample smooth noise of some cells a side, shaped like a picture."""
    coarse = torch.from_numpy(rng.standard_normal((1, 3, cells, cells)).astype(np.float32))
    return F.interpolate(coarse, size=like.shape[-2:], mode="bilinear", align_corners=True)[0]


def _blurred(picture: Tensor, factor: int) -> Tensor:
    """Blur a picture by a whole factor."""
    small = F.avg_pool2d(picture[None], factor)
    return F.interpolate(small, size=picture.shape[-2:], mode="bilinear", align_corners=False)[0]


def spoil(picture: Tensor, head: Tensor, rng: np.random.Generator, *, normals: bool) -> Tensor:
    """Spoil a picture: flat, patchy, blurred, noisy or wrongly exposed.

    All but the exposure change the head alone.

    Args:
        picture: in [0, 1], 3 h w.
        head: where the head is, h w bool.
        rng: source of every choice.
        normals: whether it is a normal map; it is not recoloured or relit then.
    """
    amount = float(rng.random())
    cells = int(2 ** rng.integers(1, 5))
    match str(rng.choice(["flat", "patchy", "blurred", "noisy", "exposure"])):
        case "flat" if not normals:
            spoiled = torch.from_numpy(rng.random((3, 1, 1)).astype(np.float32)) + 0.2 * amount * _smooth(
                rng, cells, picture
            )
        case "patchy" | "flat":
            spoiled = picture + 0.35 * amount * _smooth(rng, cells, picture)
        case "blurred":
            coarse = max(1, picture.shape[-1] // 64)  # blurred alike at every picture size
            spoiled = _blurred(picture, coarse * int(rng.choice([4, 8] if normals else [4, 8, 16])))
        case "exposure" if not normals:
            gray = picture.mean(dim=0, keepdim=True)
            pushed = (
                picture * (1.5 + amount),
                picture * (0.5 - 0.3 * amount),
                gray + (picture - gray) * (2 + 2 * amount),
            )
            return pushed[int(rng.integers(3))].clamp(0, 1)
        case _:
            noise = torch.from_numpy(rng.standard_normal(picture.shape).astype(np.float32))
            spoiled = picture + 0.25 * amount * noise
    return torch.where(head, spoiled, picture).clamp(0, 1)
