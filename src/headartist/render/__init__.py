"""Meshes and cameras to pictures, differentiably."""

from headartist.render.antialias import antialias
from headartist.render.draw import render_mesh
from headartist.render.fragments import Fragments
from headartist.render.frame import Frame
from headartist.render.rasterize import interpolate, rasterize

__all__ = ["Fragments", "Frame", "antialias", "interpolate", "rasterize", "render_mesh"]
