"""Presets by name. Start from one and change what you like with `dataclasses.replace`."""

from collections.abc import Mapping
from types import MappingProxyType

from headartist.config.config import Config
from headartist.config.presets.embedded import EMBEDDED, QUICK, SMOKE
from headartist.config.presets.paper import PAPER
from headartist.system.errors import HeadArtistError, did_you_mean

PRESETS: Mapping[str, Config] = MappingProxyType({"embedded": EMBEDDED, "quick": QUICK, "smoke": SMOKE, "paper": PAPER})


def preset(name: str) -> Config:
    """The preset called `name`.

    Raises:
        HeadArtistError: when there is none.
    """
    if name not in PRESETS:
        raise HeadArtistError(f"There is no preset {name!r}: {did_you_mean(name, PRESETS)}")
    return PRESETS[name]
