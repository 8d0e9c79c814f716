"""Meshes, distances to them and tetrahedral grids."""
