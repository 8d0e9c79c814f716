"""How well and how fast shapes come over: `python benchmarks/rig.py [--resolution 64] [--identity 0.5]`.

The template's solid, or that of another person of it, goes through marching tetrahedra and thus gets another topology.
The truth of a shape at a vertex is what the closest point of the very person does; the rig knows only the average
template and the re-meshed surface. Errors are in millimetres, over all vertices and over those that move over 1 mm.
"""

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path

import torch

from headartist.export import MaterialMaps, bake, rig_head, tidy, unwrap, write_glb
from headartist.export.rig.color import rig_color
from headartist.geometry.closest import ClosestPoint
from headartist.geometry.distance import SignedDistance
from headartist.geometry.mesh import Mesh
from headartist.geometry.tets import TetGrid
from headartist.heads import HeadTemplate, load_template


def remeshed(person: HeadTemplate, resolution: int) -> Mesh:
    """Skin and eyes of a template as one closed surface of another topology."""
    grid = TetGrid(resolution, 1.1)
    positions = grid.positions()
    sdf = SignedDistance(person.mesh("skin", "eyes"))(positions)
    crossing = grid.crossing(sdf)
    return tidy(crossing.mesh(sdf[crossing.grid_verts], positions[crossing.grid_verts]))


def truth(mesh: Mesh, person: HeadTemplate) -> torch.Tensor:
    """Where the person's shapes would move each vertex."""
    surface = person.mesh("skin", "eyes")
    found = ClosestPoint(surface)(mesh.verts)
    return torch.stack([found.of(shape, surface.faces) for shape in person.expression_basis])


def errors(mesh: Mesh, template: HeadTemplate, person: HeadTemplate) -> None:
    """Print the table of one head."""
    start = time.perf_counter()
    rig = rig_head(mesh, template, mouth=False)
    seconds = time.perf_counter() - start
    known, mm = truth(mesh, person), template.meters_per_unit * 1e3
    error = (rig.shapes - known).norm(dim=-1) * mm
    size = known.norm(dim=-1) * mm
    print(f"{len(mesh.faces):,} faces, rig in {seconds:.1f} s\n")
    print("| shape | mean | 99 % | mean where moving | moves by |\n|---|--:|--:|--:|--:|")
    for name, wrong, amount in zip(rig.shape_names, error, size, strict=True):
        moving = amount > 1
        there = (wrong[moving].mean(), amount[moving].mean()) if moving.any() else (0.0, 0.0)
        print(f"| {name} | {wrong.mean():.3f} | {wrong.quantile(0.99):.2f} | {there[0]:.2f} | {there[1]:.2f} |")
    moving = size > 1
    print(
        f"| **all 52** | **{error.mean():.3f}** | {error.flatten().sort().values[int(0.99 * error.numel())]:.2f} | "
        f"{error[moving].mean():.2f} | {size[moving].mean():.2f} |\n"
    )


def export(mesh: Mesh, template: HeadTemplate, size: int) -> None:
    """Print how long a whole rigged export takes and how large its file is."""
    start = time.perf_counter()
    rig = rig_head(mesh, template)
    atlas = unwrap(rig.mesh, resolution=size)
    texture = bake(rig.mesh, atlas, rig_color(rig, lambda points: 0.5 + 0.25 * (20 * points).sin()), size)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "head.glb"
        write_glb(path, rig.mesh, atlas, MaterialMaps(texture), rig=rig)
        seconds, megabytes = time.perf_counter() - start, path.stat().st_size / 1e6
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20
    print(
        f"export: {len(mesh.faces):,} faces, texture {size} px: {seconds:.1f} s, {megabytes:.1f} MB, peak {peak:.0f} MB"
    )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--resolution", type=int, default=64, help="of the grid; 112 gives about 130,000 faces")
    parser.add_argument("--identity", type=float, default=0.5, help="how unlike the average, in standard deviations")
    parser.add_argument("--size", type=int, default=0, help="also export, with a texture of so many pixels")
    arguments = parser.parse_args()
    template = load_template()
    if arguments.size:
        export(remeshed(template, arguments.resolution), template, arguments.size)
        return
    draws = torch.randn(len(template.shape_basis), generator=torch.Generator().manual_seed(3))
    for strength in (0.0, arguments.identity):
        person = template.shaped(strength * draws)
        print(f"## identity at {strength:g} standard deviations\n")
        errors(remeshed(person, arguments.resolution), template, person)


if __name__ == "__main__":
    main()
