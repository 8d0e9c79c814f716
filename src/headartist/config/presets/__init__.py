"""Presets: named configs as values."""

from headartist.config.presets.embedded import EMBEDDED, QUICK, SMOKE
from headartist.config.presets.named import PRESETS, preset
from headartist.config.presets.paper import PAPER

__all__ = ["EMBEDDED", "PAPER", "PRESETS", "QUICK", "SMOKE", "preset"]
