"""AvatarConfig: the heads that a config may ask for, with every knob. Nothing here needs torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, ClassVar, Literal

from headartist.config.bounds import Count, Period, Within, check_settings
from headartist.system.errors import HeadArtistError

SdfBase = Literal["fit", "template"]
Changes = Literal["shape", "color"]
"""What of a head a part that learns changes."""
FINEST = 1 << 20
"""Cells along a side that a hash grid may have: single precision tells no more of them apart."""


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

    levels: Annotated[int, Within(1, 32)] = 16
    base: Annotated[int, Within(1, 4_096)] = 16
    growth: Annotated[float, Within(1, 16)] = 1.447269
    log2_table: Annotated[int, Within(4, 24)] = 19
    width: Annotated[int, Within(1, 1_024)] = 64
    depth: Annotated[int, Within(1, 16)] = 2

    def __post_init__(self) -> None:
        check_settings(self)
        finest = self.base * self.growth ** (self.levels - 1)
        if not finest <= FINEST:
            raise HeadArtistError(
                f"A hash grid of {self.levels} levels from base {self.base} by growth {self.growth:g} ends with "
                f"{finest:.3g} cells along a side: use fewer levels or a smaller growth, for {FINEST:,} at most."
            )

    @property
    def entries(self) -> int:
        """How many entries the tables of all levels have."""
        return self.entries_of(self.log2_table)

    def entries_of(self, log2_table: int) -> int:
        """Tell how many they would have with larger or smaller tables."""
        sides = (int(self.base * self.growth**level) + 1 for level in range(self.levels))
        return sum(min(side**3, 1 << log2_table) for side in sides)

    def weights(self, outputs: int) -> int:
        """Tell how many numbers the network behind the grid has, for so many outputs."""
        hidden = (self.depth - 1) * (self.width + 1) * self.width
        return (2 * self.levels + 1) * self.width + hidden + (self.width + 1) * outputs


@dataclass(frozen=True)
class TetConfig:
    """The tetrahedral head (DMTet); the defaults are the paper's, but for `radius`.

    Attributes:
        resolution: cells along a side of the tetrahedral grid, each cut into six; 64 have the 275,000 vertices of the
            paper's grid file, which is known as "128".
        radius: half the side of the grid, in world units; the paper's is 1, and the rest is ours, for hair.
        shape: the fields of the signed distance and of the vertex offsets, each with its own parameters.
        color: the color field.
        offset_cells: the farthest a grid vertex may move along an axis, in cells.
        sdf_base: "fit": the field is the signed distance, fitted to the template first (the paper); "template": the
            field is what is added to the template's own signed distance, and starts at zero.
        fit_steps: iterations of that fit.
        hold_face: by how much less the shape may change at the template's eyes, nose and lips: 0 is the paper, and at 1
            they stay as they are. A small prior takes more from a face than it gives.
        refresh: every so many steps the signed distance is evaluated on the whole grid, in between only near the
            surface; 1 is exact at every step.
        band: how many rings of grid vertices around the surface count as near.
        parts: what can learn, and what of the head it changes.
    """

    parts: ClassVar[Mapping[str, Changes]] = MappingProxyType({"sdf": "shape", "offset": "shape", "color": "color"})

    resolution: Annotated[int, Within(2, 2_048)] = 64
    radius: Annotated[float, Within(0.1, 10)] = 1.1
    shape: FieldConfig = FieldConfig()
    color: FieldConfig = FieldConfig()
    offset_cells: Annotated[float, Within(0, 10)] = 0.5
    sdf_base: SdfBase = "fit"
    fit_steps: Count = 1_000
    hold_face: Annotated[float, Within(0, 1)] = 0.0
    refresh: Period = 1
    band: Annotated[int, Within(1, 2_048)] = 2

    def __post_init__(self) -> None:
        check_settings(self, "avatar.")
        if self.hold_face and self.sdf_base != "template":
            raise HeadArtistError(
                f"hold_face {self.hold_face:g} wants the template's own distance: use sdf_base=template."
            )


AvatarConfig = TetConfig
