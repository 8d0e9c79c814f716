"""Heads to start from.

The parametric template, the shipped open head, and the landmark map.
"""

from headartist.heads.load import load_template
from headartist.heads.template import HeadTemplate, LandmarkSites

__all__ = ["HeadTemplate", "LandmarkSites", "load_template"]
