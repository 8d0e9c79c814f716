"""A sentence becomes a 3D head: text-conditioned head generation with Self Score Distillation."""

from typing import TYPE_CHECKING, Any

from headartist import presets
from headartist.errors import HeadArtistError

# Imported now, not on demand: the submodule of the same name would otherwise take the function's place.
from headartist.generate import generate

if TYPE_CHECKING:  # torch comes with them
    from headartist.checkpoint import Head, load_head

__all__ = ["Head", "HeadArtistError", "generate", "load_head", "presets"]


def __getattr__(name: str) -> Any:
    if name in ("Head", "load_head"):
        from headartist import checkpoint

        return getattr(checkpoint, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
