"""Heads to start from: the parametric template, the shipped open head, and the landmark map."""

from headartist.heads.template import HeadTemplate, LandmarkSites, load_template

__all__ = ["HeadTemplate", "LandmarkSites", "load_template"]
