"""A sentence becomes a 3D head: text-conditioned head generation with Self Score Distillation."""

from typing import TYPE_CHECKING, Any

# The functions are imported now, not on demand: submodules of the same names would otherwise take their places.
from headartist import presets
from headartist.edit import edit, edit_config
from headartist.errors import HeadArtistError
from headartist.generate import generate
from headartist.seeds import generate_seeds

if TYPE_CHECKING:  # torch comes with them
    from headartist.checkpoint import Head, load_head

__all__ = [
    "Head",
    "HeadArtistError",
    "edit",
    "edit_config",
    "generate",
    "generate_seeds",
    "load_head",
    "presets",
]


def __getattr__(name: str) -> Any:
    if name in ("Head", "load_head"):
        from headartist import checkpoint

        return getattr(checkpoint, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
