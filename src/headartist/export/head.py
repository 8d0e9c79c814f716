"""A head as files of several formats.

Everything that leaves the house.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import get_args

from headartist.avatars.avatar import Avatar
from headartist.config.exports import DEFAULT_FORMATS, Format, Variant, mesh_stem
from headartist.export.delight import delit
from headartist.export.glb.write import write_glb
from headartist.export.material import MaterialMaps, roughness_map
from headartist.export.meshfiles import write_obj, write_ply
from headartist.export.normal_map import normal_map
from headartist.export.rig.build import rig_head
from headartist.export.rig.color import PAINTED, rig_color
from headartist.export.rig.rig import SURFACE, Rig
from headartist.export.simplify import simplified
from headartist.export.surface import tidy
from headartist.export.texture import Color, bake
from headartist.export.usd import find_usd, write_usd
from headartist.export.uv import UvAtlas, unwrap
from headartist.geometry.mesh import Mesh
from headartist.heads.template import HeadTemplate
from headartist.system.errors import HeadArtistError, did_you_mean

FORMATS, VARIANTS = get_args(Format), get_args(Variant)
TEXTURED = {"glb", "obj", "usd"}
MOST_FACES = 150_000  # a surface of more is simplified, so that rigging and unwrapping end in a minute or two
GAME_FACES, GAME_TEXTURE = 20_000, 1024
SET_IN = 2_000  # of them are kept for mouth, teeth, tongue and eyes
LICENSES = {
    "surface": "the licence of your prior decides",
    "rig": "CC0-1.0 (MakeHuman, ARKit-named shapes by Mika Suominen)",
}


def export_head(
    avatar: Avatar,
    folder: Path | str,
    *,
    formats: Sequence[str] = DEFAULT_FORMATS,
    texture_size: int = 1024,
    metadata: Mapping[str, object] | None = None,
    rig: HeadTemplate | None = None,
    eyes: bool = False,
    iris: str = PAINTED,
    variant: str = "full",
    delight: bool = False,
) -> list[Path]:
    """Write a head in the formats asked for.

    `head.glb`, `head.obj` (with `.mtl` and pictures) and `head.ply`; returns the paths. With "usd" also `head.usd`.
    The surface is tidied and unwrapped and its texture baked once; PLY holds the closed surface. What a simplified
    surface loses of the full one's relief goes into a normal map. Every mesh file has pictures of its own, so writing
    one format, or one variant, changes nothing that another one shows.

    Args:
        avatar: the head.
        folder: where the files go; made if missing, files of the same names are replaced.
        formats: which of "glb", "obj", "ply" and "usd".
        texture_size: height and width of the texture in pixels.
        metadata: what the GLB records of the head's origin (prompt, seed, ...).
        rig: the template in the pose the head was made with; its shapes, joints, mouth, teeth and tongue are carried
            over. None writes the closed surface.
        eyes: with a rig, open the lids and set in the template's eyeballs.
        iris: of those eyeballs: "painted" as the head's eyes are, or a colour of `rig.color.IRISES` for plain ones.
        variant: "game" writes `head_game.*` of at most 20,000 triangles, with a texture of at most 1,024 pixels.
        delight: divide the soft light out of the colours.

    Raises:
        HeadArtistError: a format or the variant is unknown, the head has no surface, the template no rig, or the USD
            format its library.
    """
    for wanted in formats:
        if wanted not in FORMATS:
            raise HeadArtistError(f"The format {wanted!r} is unknown: choose from {', '.join(FORMATS)}.")
    if variant not in VARIANTS:
        raise HeadArtistError(f"The variant {variant!r} is unknown: {did_you_mean(variant, VARIANTS)}")
    if "usd" in formats:
        find_usd()
    stem, full = Path(folder) / mesh_stem(variant), tidy(avatar.to_mesh())
    color = delit(full, _albedo(avatar)) if delight else _albedo(avatar)
    if variant == "game":
        texture_size = min(texture_size, GAME_TEXTURE)
        mesh = simplified(full, GAME_FACES - (SET_IN if rig is not None else 0))
    else:
        mesh = simplified(full, MOST_FACES)
    paths: list[Path] = []
    if set(formats) & TEXTURED:
        rigged = rig_head(mesh, rig, eyes=eyes) if rig is not None else None
        worn = rig_color(rigged, color, iris) if rigged is not None else color
        paths += _textured(stem, mesh, full, worn, formats, texture_size, metadata, rigged)
    if "ply" in formats:
        write_ply(stem.with_suffix(".ply"), mesh, color)
        paths.append(stem.with_suffix(".ply"))
    return paths


def _albedo(avatar: Avatar) -> Color:
    """Read the avatar's color at world points."""
    return lambda points: avatar.material_at(points).color


def _textured(
    stem: Path,
    mesh: Mesh,
    full: Mesh,
    color: Color,
    formats: Sequence[str],
    texture_size: int,
    metadata: Mapping[str, object] | None,
    rig: Rig | None,
) -> list[Path]:
    """Write the formats that share an atlas."""
    fine = full if mesh is not full else None
    if rig is not None:
        mesh = rig.mesh
    atlas = unwrap(mesh, resolution=texture_size)
    material = _material(mesh, fine, atlas, color, texture_size, rig)
    paths: list[Path] = []
    extras = dict(metadata or {}) | ({"licences": LICENSES} if rig is not None else {})
    if "glb" in formats:
        write_glb(stem.with_suffix(".glb"), mesh, atlas, material, rig=rig, extras=extras)
        paths.append(stem.with_suffix(".glb"))
    if "obj" in formats:
        paths += write_obj(stem.with_suffix(".obj"), mesh, atlas, material)
    if "usd" in formats:
        paths += write_usd(stem.with_suffix(".usd"), mesh, atlas, material, rig=rig, extras=extras)
    return paths


def _material(mesh: Mesh, fine: Mesh | None, atlas: UvAtlas, color: Color, size: int, rig: Rig | None) -> MaterialMaps:
    """Make the pictures of a material.

    Colour, roughness where something shines, and a normal map where triangles were saved.
    """
    if rig is None:
        relief = normal_map(fine, mesh, atlas, size) if fine is not None else None
        return MaterialMaps(bake(mesh, atlas, color, size), relief)
    set_in = rig.part != rig.part_names.index(SURFACE)
    relief = normal_map(fine, mesh, atlas, size, bare=set_in) if fine is not None else None
    return MaterialMaps(bake(mesh, atlas, color, size), relief, roughness_map(rig, atlas, size))
