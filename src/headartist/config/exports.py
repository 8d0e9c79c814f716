"""What is written when a head is done, as values. Nothing here needs torch."""

from dataclasses import dataclass
from typing import Annotated, Literal

from headartist.config.bounds import Within, check_settings, require

Format = Literal["glb", "obj", "ply", "usd"]
Variant = Literal["full", "game"]
Iris = Literal["painted", "brown", "hazel", "green", "blue", "grey"]
DEFAULT_FORMATS: tuple[Format, ...] = ("glb", "obj", "ply")  # USD wants a library of its own


def mesh_stem(variant: str) -> str:
    """Return what the mesh files of a variant are called, without their suffix."""
    return "head" if variant == "full" else f"head_{variant}"


@dataclass(frozen=True)
class Exports:
    """What is written when the head is done.

    Attributes:
        formats: mesh files; "usd" needs the extra of that name.
        texture_size: pixels of the square texture.
        rig: carry the template's shapes and joints to the GLB and OBJ, with its mouth, teeth and tongue.
        eyes: with a rig, open the lids and set in the template's eyeballs.
        iris: of those eyeballs: as the head's eyes are painted, or the color of plain ones.
        variant: "game" writes meshes of at most 20,000 triangles.
        delight: divide the soft light that was learned with the colors out of them.
        video_views: frames of the turntable; 0 makes no video.
        video_size: pixels of its square pictures, even.
        video_fps: frames a second.
    """

    formats: tuple[Format, ...] = DEFAULT_FORMATS
    texture_size: Annotated[int, Within(16, 16_384)] = 1024
    rig: bool = True
    eyes: bool = False
    iris: Iris = "painted"
    variant: Variant = "full"
    delight: bool = False
    video_views: Annotated[int, Within(0, 10_000)] = 120
    video_size: Annotated[int, Within(16, 4_096)] = 512
    video_fps: Annotated[int, Within(1, 240)] = 30

    def __post_init__(self) -> None:
        check_settings(self, "exports.")
        require(self.video_size % 2 == 0, f"exports.video_size must be even (got {self.video_size}).")
