"""Load a template.

The shipped head, a FLAME file, any mesh of a head, or the one that a Head folder keeps.
"""

from pathlib import Path

from headartist.config.template import (
    FLAME_SUFFIXES,
    OPEN,
    check_template,
    parse_expression,
    parse_identity,
    split_template,
)
from headartist.heads.flame import load_flame
from headartist.heads.kept_template import is_kept, load_kept
from headartist.heads.mesh_file import load_mesh_file
from headartist.heads.open_head import load_open_head
from headartist.heads.template import HeadTemplate


def load_template(source: str | Path = OPEN, *, identity: str = "", expression: str = "") -> HeadTemplate:
    """Load "open", or a user's file.

    The shipped head, or the template in the file: FLAME's, or any mesh of a head.

    Args:
        source: "open", a FLAME file (.pkl, .npz, .safetensors), a mesh (.obj, .ply, .stl, .glb, .gltf, .vrm) with the
            name of one of its objects or groups behind a "#", or the template.safetensors that a Head folder keeps.
        identity: which person of the template, as in "seed:7" or "0=1.5,wide=-2"; empty for the average one.
        expression: its expression, as in "jawOpen=0.6,mouthSmileLeft=0.5"; empty for none.

    Raises:
        HeadArtistError: when there is no such template, its file cannot be used, or it has no such identity or
            expression.
    """
    parse_identity(identity, str(source))  # mistakes are told before a file is read
    parse_expression(expression)
    check_template(str(source))
    return _rest(source).as_asked(identity, expression)


def _rest(source: str | Path) -> HeadTemplate:
    if source == OPEN:
        return load_open_head()
    if is_kept(Path(source)):
        return load_kept(Path(source))
    path, group = split_template(source)
    if path.suffix.lower() in FLAME_SUFFIXES:
        return load_flame(path)
    return load_mesh_file(path, group)
