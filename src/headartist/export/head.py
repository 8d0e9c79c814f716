"""Everything that leaves the house as a file: one head, several formats."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import get_args

from headartist.avatars.avatar import Avatar
from headartist.config import Format
from headartist.errors import HeadArtistError
from headartist.export.glb import write_glb
from headartist.export.meshfiles import write_obj, write_ply
from headartist.export.surface import tidy
from headartist.export.texture import bake
from headartist.export.uv import unwrap

FORMATS = get_args(Format)


def export_head(
    avatar: Avatar,
    folder: Path | str,
    *,
    formats: Sequence[str] = FORMATS,
    texture_size: int = 1024,
    metadata: Mapping[str, object] | None = None,
) -> list[Path]:
    """Write a head as `head.glb`, `head.obj` (with `.mtl` and `.png`) and `head.ply`, and return the paths.

    The surface is tidied and unwrapped and its texture baked once, for all formats.

    Args:
        avatar: the head.
        folder: where the files go; made if missing, files of the same names are replaced.
        formats: which of "glb", "obj" and "ply".
        texture_size: height and width of the texture in pixels.
        metadata: what the GLB records of the head's origin (prompt, seed, ...).

    Raises:
        HeadArtistError: a format is unknown, or the head has no surface.
    """
    for wanted in formats:
        if wanted not in FORMATS:
            raise HeadArtistError(f"The format {wanted!r} is unknown: choose from {', '.join(FORMATS)}.")
    folder = Path(folder)
    mesh = tidy(avatar.to_mesh())
    paths: list[Path] = []
    if "glb" in formats or "obj" in formats:
        atlas = unwrap(mesh, resolution=texture_size)
        texture = bake(mesh, atlas, avatar.colour_at, texture_size)
        if "glb" in formats:
            write_glb(folder / "head.glb", mesh, atlas, texture, extras=metadata)
            paths.append(folder / "head.glb")
        if "obj" in formats:
            paths += write_obj(folder / "head.obj", mesh, atlas, texture)
    if "ply" in formats:
        write_ply(folder / "head.ply", mesh, avatar.colour_at)
        paths.append(folder / "head.ply")
    return paths
