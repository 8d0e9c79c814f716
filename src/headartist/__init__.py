"""A sentence becomes a 3D head: text-conditioned head generation with Self Score Distillation."""

from typing import TYPE_CHECKING, Any

from headartist.config import presets
from headartist.runs.editing import edit, edit_config
from headartist.runs.generation import generate
from headartist.runs.sweep import generate_seeds
from headartist.system.errors import HeadArtistError

if TYPE_CHECKING:  # torch comes with them
    from headartist.training.checkpoint import Head, load_head

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
        from headartist.training import checkpoint

        return getattr(checkpoint, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
