"""TetConfig: every knob of the tetrahedral head. Nothing here needs torch."""

from dataclasses import dataclass
from typing import Literal

from headartist.errors import HeadArtistError

SdfBase = Literal["fit", "template"]


def _require_at_least(name: str, value: int | float, least: int) -> None:
    if not value >= least:
        raise HeadArtistError(f"{name} must be at least {least} (got {value}).")


@dataclass(frozen=True)
class FieldConfig:
    """A hash grid with a small MLP behind it; the defaults are the paper's (5.1).

    Attributes:
        levels: how many grids, each `growth` times finer than the one before, with two features a vertex.
        base: cells along a side of the coarsest grid.
        growth: ratio of neighbouring resolutions; 1.447269 takes 16 to 4,096 in 16 levels.
        log2_table: entries of one level's table, as a power of two; finer levels share entries by hashing.
        width: units of a hidden layer.
        depth: hidden layers.
    """

    levels: int = 16
    base: int = 16
    growth: float = 1.447269
    log2_table: int = 19
    width: int = 64
    depth: int = 2

    def __post_init__(self) -> None:
        for name in ("levels", "base", "width", "depth"):
            _require_at_least(name, getattr(self, name), 1)
        _require_at_least("growth", self.growth, 1)
        if not 4 <= self.log2_table <= 24:
            raise HeadArtistError(f"log2_table must lie within 4 and 24 (got {self.log2_table}).")


@dataclass(frozen=True)
class TetConfig:
    """The tetrahedral head (DMTet); the defaults are the paper's, but for `radius`.

    Attributes:
        resolution: cells along a side of the tetrahedral grid, each cut into six; 64 have the 275,000 vertices of the
            paper's grid file, which is known as "128".
        radius: half the side of the grid, in world units; the paper's is 1, and the rest is ours, for hair.
        shape: the fields of the signed distance and of the vertex offsets, each with its own parameters.
        colour: the colour field.
        offset_cells: the farthest a grid vertex may move along an axis, in cells.
        sdf_base: "fit": the field is the signed distance, fitted to the template first (the paper); "template": the
            field is what is added to the template's own signed distance, and starts at zero.
        fit_steps: iterations of that fit.
        hold_face: by how much less the shape may change at the template's eyes, nose and lips: 0 is the paper, and at 1
            they stay as they are. A small prior takes more from a face than it gives.
        refresh: every so many steps the signed distance is evaluated on the whole grid, in between only near the
            surface; 1 is exact at every step.
        band: how many rings of grid vertices around the surface count as near.
    """

    resolution: int = 64
    radius: float = 1.1
    shape: FieldConfig = FieldConfig()
    colour: FieldConfig = FieldConfig()
    offset_cells: float = 0.5
    sdf_base: SdfBase = "fit"
    fit_steps: int = 1_000
    hold_face: float = 0.0
    refresh: int = 1
    band: int = 2

    def __post_init__(self) -> None:
        _require_at_least("resolution", self.resolution, 2)
        for name in ("refresh", "band"):
            _require_at_least(name, getattr(self, name), 1)
        for name in ("offset_cells", "fit_steps"):
            _require_at_least(name, getattr(self, name), 0)
        if not 0 <= self.hold_face <= 1:
            raise HeadArtistError(f"hold_face must be a share in [0, 1] (got {self.hold_face:g}).")
        if self.hold_face and self.sdf_base != "template":
            raise HeadArtistError(
                f"hold_face {self.hold_face:g} wants the template's own distance: use sdf_base=template."
            )
        if not self.radius > 0:
            raise HeadArtistError(f"The grid's radius must be positive (got {self.radius}).")
