"""The rasteriser's Warp kernels."""
