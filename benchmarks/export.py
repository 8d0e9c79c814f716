"""How long an export takes, step by step: `python benchmarks/export.py [--subdivisions 6] [--size 1024]`.

The mesh is a bumpy sphere (8 x 4^subdivisions faces) and the colour field a closed formula, so that only the export
itself is timed. Memory is the process's peak so far, torch included.
"""

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch

from headartist.export import MaterialMaps, bake, tidy, unwrap, write_glb, write_obj, write_ply
from headartist.geometry.mesh import Mesh


def bumpy_sphere(subdivisions: int) -> Mesh:
    """An octahedron divided again and again, pushed out to a sphere whose radius varies."""
    verts = torch.tensor([[1.0, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]])
    faces = torch.tensor([[0, 2, 4], [2, 1, 4], [1, 3, 4], [3, 0, 4], [2, 0, 5], [1, 2, 5], [3, 1, 5], [0, 3, 5]])
    for _ in range(subdivisions):
        sides = faces[:, [[0, 1], [1, 2], [2, 0]]].sort(dim=-1).values.reshape(-1, 2)
        edges, number = sides.unique(dim=0, return_inverse=True)
        middle = number.reshape(-1, 3) + len(verts)
        a, b, c = faces.unbind(1)
        ab, bc, ca = middle.unbind(1)
        corners = [[a, ab, ca], [ab, b, bc], [ca, bc, c], [ab, bc, ca]]
        faces = torch.cat([torch.stack(corner, dim=1) for corner in corners])
        verts = torch.nn.functional.normalize(torch.cat([verts, verts[edges].mean(dim=1)]), dim=-1)
    x, y, z = verts.unbind(-1)
    radius = 1 + 0.1 * (5 * x).sin() * (6 * y).sin() + 0.05 * (17 * z + 3 * x).sin()
    return Mesh(verts * radius[:, None], faces)


def stripes(points: torch.Tensor) -> torch.Tensor:
    """A colour for every point, with detail."""
    return 0.5 + 0.25 * points.sin() + 0.25 * (20 * points).sin()


Result = TypeVar("Result")


def timed(name: str, step: Callable[[], Result]) -> Result:
    """Run a step and print its row of the table."""
    start = time.perf_counter()
    result = step()
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20
    print(f"| {name} | {time.perf_counter() - start:.2f} | {peak:.0f} |")
    return result


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--subdivisions", type=int, default=6, help="6: 32,768 faces; 7: 131,072")
    parser.add_argument("--size", type=int, default=1024, help="texture size in pixels")
    arguments = parser.parse_args()
    mesh = bumpy_sphere(arguments.subdivisions)
    print(f"{len(mesh.faces):,} faces, texture {arguments.size} px, torch {torch.__version__}\n")
    print("| step | seconds | peak MB |\n|---|--:|--:|")
    mesh = timed("tidy", lambda: tidy(mesh))
    atlas = timed("unwrap", lambda: unwrap(mesh, resolution=arguments.size))
    texture = timed("bake", lambda: bake(mesh, atlas, stripes, arguments.size))
    with tempfile.TemporaryDirectory() as folder:
        timed("write GLB", lambda: write_glb(Path(folder) / "a.glb", mesh, atlas, MaterialMaps(texture)))
        timed("write OBJ", lambda: write_obj(Path(folder) / "a.obj", mesh, atlas, MaterialMaps(texture)))
        timed("write PLY", lambda: write_ply(Path(folder) / "a.ply", mesh, stripes))


if __name__ == "__main__":
    main()
