"""Shards: files of some heads' views.

Pictures are read where they lie, so that a set may exceed the memory.
"""

import json
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from headartist.system.files import replacing
from headartist_foundry.data.traits import Traits, renamed_trait

PICTURES = ("rgb", "normal")
LOCAL_HEADER, NAME_LENGTH = 30, 26
"""Bytes of a zip member's local header, and where in it the lengths of name and extra field stand."""

HELD_OUT = ("00000", "00001")
"""Numbers of the shards that training never sees, however many more there are or will be."""

BACK_VIEW_DEG = 90.0
"""Views further round than this show no face; their landmark maps are the face oval alone."""


def shows_face(azimuth_deg: float) -> bool:
    """Tell whether a landmark map has more than the face oval."""
    return abs(azimuth_deg) <= BACK_VIEW_DEG


def training_shards(folder: Path) -> list[Path]:
    """List a folder's shards to train on, in order."""
    return [path for path in sorted(folder.glob("shard_*.npz")) if not path.stem.endswith(HELD_OUT)]


def held_out_shards(folder: Path) -> list[Path]:
    """List a folder's shards that training never sees, in order."""
    return [path for path in sorted(folder.glob("shard_*.npz")) if path.stem.endswith(HELD_OUT)]


@dataclass(frozen=True)
class Shard:
    """Hold views of a few heads; arrays have the view first.

    Attributes:
        rgb: colour pictures, n h w 3 uint8.
        normal: camera-space normal maps, n h w 3 uint8.
        sites: landmark pixels over the picture size, n 478 2 float32; in [0, 1] inside the frame.
        azimuth_deg: n float32.
        elevation_deg: n float32.
        head: which of `traits` a view shows, n int.
        spoiled: whether the view shows a corrupted head instead, n bool.
        traits: the heads.
    """

    rgb: np.ndarray
    normal: np.ndarray
    sites: np.ndarray
    azimuth_deg: np.ndarray
    elevation_deg: np.ndarray
    head: np.ndarray
    spoiled: np.ndarray
    traits: tuple[Traits, ...]

    @staticmethod
    def load(path: Path) -> "Shard":
        """Read one file whole."""
        pictures: dict[str, Any] = {name: np.array(stored(path, name)) for name in PICTURES}
        return Shard(**read_labels(path), **pictures)

    def save(self, path: Path) -> None:
        """Write one file, atomically."""
        arrays = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "traits"}
        with replacing(path) as draft, draft.open("wb") as stream:
            np.savez(stream, **arrays, traits=json.dumps([asdict(t) for t in self.traits]))


def read_labels(path: Path) -> dict[str, Any]:
    """Read all of a shard but its pictures.

    Keys are the names of `Shard`'s fields. Shards written before views could be spoiled have none, and characters of
    fewer traits have the others' defaults.
    """
    with np.load(path, allow_pickle=False) as arrays:
        labels = {name: arrays[name] for name in arrays.files if name not in (*PICTURES, "traits")}
        rows = json.loads(str(arrays["traits"]))
    labels.setdefault("spoiled", np.zeros(len(labels["head"]), bool))
    traits = ({renamed_trait(name): value for name, value in row.items()} for row in rows)
    return labels | {"traits": tuple(Traits(**row) for row in traits)}


def stored(path: Path, name: str) -> np.ndarray:
    """Map one array of an uncompressed npz file into memory.

    It is read as far as it is looked at.
    """
    with zipfile.ZipFile(path) as archive, path.open("rb") as stream:
        start = archive.getinfo(f"{name}.npy").header_offset
        stream.seek(start + NAME_LENGTH)
        lengths = np.frombuffer(stream.read(4), "<u2")
        stream.seek(start + LOCAL_HEADER + int(lengths.sum()))
        version = np.lib.format.read_magic(stream)
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = header(stream)
        return np.memmap(path, dtype, mode="r", offset=stream.tell(), shape=shape)
