"""MakeHuman's CC0 assets: hair, brows, lashes, eyes, teeth, hats and skins.

The folder has the layout of the MakeHuman community's `makehuman-assets` repository under `base/` and of the
MakeHuman program under `makehuman/`. Meshes are bound to the base mesh:
vertex = sum(weight * base[ids]) + offset * scale.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

TEXTURE_SIZE = 512
BASE_UNIT = 0.1  # the offsets of unscaled axes are in decimetres of a metric base mesh


@dataclass(frozen=True)
class Garment:
    """Hold a mesh bound to the base mesh."""

    ids: np.ndarray  # n 3, base vertices
    weights: np.ndarray  # n 3
    offsets: np.ndarray  # n 3
    scales: tuple[tuple[int, int, float] | None, ...]  # per axis: two base vertices and their distance when authored
    faces: np.ndarray  # f 3
    uv: np.ndarray  # f 3 2, per corner

    def fit(self, base: np.ndarray) -> np.ndarray:
        """Place the garment's vertices on a base mesh, n 3."""
        scale = np.array(
            [abs(base[s[0], axis] - base[s[1], axis]) / s[2] if s else BASE_UNIT for axis, s in enumerate(self.scales)]
        )
        verts: np.ndarray = (base[self.ids] * self.weights[..., None]).sum(axis=1) + self.offsets * scale
        return verts


def _read_obj(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read triangles and their corners' texture coordinates."""
    uv: list[list[float]] = []
    faces: list[list[int]] = []
    corners: list[list[int]] = []
    for line in path.read_text(errors="ignore").splitlines():
        match line.split():
            case ["vt", u, v, *_]:
                uv.append([float(u), float(v)])
            case ["f", *corner_texts]:
                polygon = [[int(i) - 1 for i in text.split("/")[:2]] for text in corner_texts]
                for k in range(1, len(polygon) - 1):
                    triangle = (polygon[0], polygon[k], polygon[k + 1])
                    faces.append([c[0] for c in triangle])
                    corners.append([c[1] for c in triangle])
    return np.array(faces), np.array(uv)[np.array(corners)]


def read_garment(path: Path) -> Garment:
    """Read a `.mhclo` binding and the mesh it names."""
    axes: dict[str, tuple[int, int, float]] = {}
    rows: list[list[float]] = []
    mesh, in_verts = "", False
    for line in path.read_text(errors="ignore").splitlines():
        words = line.split("#")[0].split()
        match words:
            case [("x_scale" | "y_scale" | "z_scale") as axis, a, b, length]:
                axes[axis[0]] = (int(a), int(b), float(length))
            case ["obj_file", name]:
                mesh = name
            case ["verts", *_]:
                in_verts = True
            case [number] if in_verts and number.isdigit():
                rows.append([int(number)] * 3 + [1.0, 0.0, 0.0] + [0.0] * 3)
            case [a, b, c, *numbers] if in_verts and a.isdigit() and len(numbers) >= 3:
                rows.append([int(a), int(b), int(c)] + [float(n) for n in (numbers + ["0"] * 3)[:6]])
            case [_, *_] if rows:
                in_verts = False
    table = np.array(rows)
    faces, uv = _read_obj(path.parent / mesh)
    return Garment(
        table[:, :3].astype(int),
        table[:, 3:6],
        table[:, 6:],
        (axes.get("x"), axes.get("y"), axes.get("z")),
        faces,
        uv,
    )


SKINS = {
    ("man", False): (
        "young_lightskinned_male_diffuse",
        "young_lightskinned_male_diffuse2",
        "young_lightskinned_male_diffuse3",
        "middleage_lightskinned_male_diffuse",
        "middleage_lightskinned_male_diffuse2",
    ),
    ("woman", False): (
        "young_lightskinned_female_diffuse2",
        "young_lightskinned_female_diffuse3",
        "middleage_lightskinned_female_diffuse2",
    ),
    ("man", True): (
        "young_darkskinned_male_diffuse",
        "middleage_darkskinned_male_diffuse",
        "old_darkskinned_male_diffuse",
    ),
}
HAIR = {
    "short": ("short01", "short02", "short03", "short04"),
    "long": ("long01",),
    "bob": ("bob01", "bob02"),
    "braid": ("braid01",),
    "ponytail": ("ponytail01",),
    "afro": ("afro01",),
}
BROWS = {"man": ("eyebrow001", "eyebrow002", "eyebrow005"), "woman": ("eyebrow006", "eyebrow009", "eyebrow011")}
EYES = {
    "brown": ("brown", "brownlight"),
    "blue": ("deepblue", "lightblue", "ice"),
    "green": ("bluegreen",),
    "grey": ("grey",),
}


class MakeHumanAssets:
    """Read the assets of one folder, each when first worn."""

    def __init__(self, folder: Path) -> None:
        self.base = folder / "base"
        self.program = folder / "makehuman" / "makehuman" / "data"

    @lru_cache(maxsize=64)  # noqa: B019  # one folder's lives as long as the process
    def garment(self, path: Path) -> Garment:
        """Read a bound mesh, once."""
        return read_garment(path)

    @lru_cache(maxsize=64)  # noqa: B019
    def texture(self, path: Path) -> np.ndarray:
        """Read an RGBA picture, h w 4 uint8, once.

        It is at most `TEXTURE_SIZE` wide.
        """
        image = Image.open(path).convert("RGBA")
        return np.asarray(
            image.resize((TEXTURE_SIZE, TEXTURE_SIZE * image.height // image.width), Image.Resampling.BOX)
        )

    def hair(self, name: str) -> tuple[Garment, np.ndarray | None]:
        """Read a hair mesh and its texture, None where it has none."""
        folder = self.base / "hair" / name
        picture = next(iter(sorted(folder.glob("*_diffuse.png"))), None)
        return self.garment(folder / f"{name}.mhclo"), self.texture(picture) if picture else None

    def brows(self, name: str) -> tuple[Garment, np.ndarray]:
        """Read eyebrows."""
        folder = self.base / "eyebrows" / name
        return self.garment(folder / f"{name}.mhclo"), self.texture(folder / f"{name}.png")

    @cached_property
    def lashes(self) -> tuple[Garment, np.ndarray]:
        """Eyelashes."""
        folder = self.base / "eyelashes" / "eyelashes01"
        return self.garment(folder / "eyelashes01.mhclo"), self.texture(folder / "eyelashes01.png")

    def eyes(self, color: str) -> tuple[Garment, np.ndarray]:
        """Read eyeballs with an iris of that colour."""
        folder = self.program / "eyes"
        picture = (
            folder / "materials" / "brown_eye.png"
            if color == "brown"
            else self.base / "eyes" / "materials" / f"{color}_eye.png"
        )
        return self.garment(folder / "high-poly" / "high-poly.mhclo"), self.texture(picture)

    @cached_property
    def teeth(self) -> tuple[Garment, np.ndarray]:
        """Teeth."""
        folder = self.base / "teeth"
        return self.garment(folder / "teeth_base" / "teeth_base.mhclo"), self.texture(
            folder / "materials" / "teeth.png"
        )

    @cached_property
    def fedora(self) -> Garment:
        """A hat; its colour is the scene's."""
        return self.garment(self.base / "clothes" / "fedora01" / "fedora.mhclo")

    def skin(self, name: str) -> np.ndarray:
        """Read a skin texture."""
        return self.texture(self.base / "skins" / "textures" / f"{name}.png")
