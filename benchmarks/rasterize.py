"""How long the rasteriser takes: visibility alone, the primitives with gradients, and a whole drawn frame.

    OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE python benchmarks/rasterize.py [--device cuda] [--clock cpu]

Milliseconds as minimum / median over the repeats; on a machine with other work the minimum is the better figure, and
`--clock cpu`, which counts only this process's own time, a better one still (on a CPU).
The mesh is a bumpy ball whose triangles are counted exactly; half of the picture is covered.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from headartist.geometry.cameras import Cameras, look
from headartist.geometry.mesh import Mesh
from headartist.render import antialias, interpolate, rasterize, render_mesh
from headartist.render.normals import vertex_normals

CASES = [(101, 64), (202, 128), (202, 512)]  # rings of the ball, picture size: about 20k and 82k triangles
BACKGROUND = (0.58, 0.47, 0.41)


def ball(rings: int) -> tuple[Tensor, Tensor]:
    """A closed ball of about 2 * rings^2 triangles, with waves that fold over themselves."""
    polar = torch.linspace(0, torch.pi, rings + 1)[1:-1, None]
    azimuth = torch.arange(rings) * (2 * torch.pi / rings)
    unit = torch.stack(
        torch.broadcast_tensors(polar.sin() * azimuth.sin(), polar.cos(), polar.sin() * azimuth.cos()), -1
    )
    verts = torch.cat([unit.reshape(-1, 3), torch.tensor([[0.0, 1.0, 0.0], [0.0, -1.0, 0.0]])])
    index = torch.arange((rings - 1) * rings).view(rings - 1, rings)
    upper, lower, following = index[:-1], index[1:], index.roll(-1, dims=1)
    a, b, c, d = upper, lower, following[1:], following[:-1]
    top, bottom = torch.full_like(index[0], len(verts) - 2), torch.full_like(index[0], len(verts) - 1)
    corners = [(a, b, c), (a, c, d), (top, index[0], following[0]), (bottom, following[-1], index[-1])]
    faces = torch.cat([torch.stack([k.reshape(-1) for k in corner], dim=1) for corner in corners])
    waves = torch.sin(verts @ torch.tensor([[4.0, 2.0, -3.0], [-2.0, 5.0, 1.4]]).T).mean(1, keepdim=True)
    return verts * (0.85 + 0.12 * waves), faces


def milliseconds(run: Callable[[], object], device: torch.device, repeats: int, clock: Callable[[], float]) -> str:
    """Minimum and median time of `run`, after two warm-up calls."""
    times = []
    for _ in range(repeats + 2):
        start = clock()
        run()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append((clock() - start) * 1e3)
    kept = sorted(times[2:])
    return f"{kept[0]:7.1f} / {kept[len(kept) // 2]:7.1f}"


def primitives(verts: Tensor, faces: Tensor, cameras: Cameras, size: int) -> None:
    """Transform, vertex normals, rasterise, interpolate, antialias normals with opacity, and go back."""
    clip = torch.nn.functional.pad(verts, (0, 1), value=1.0) @ cameras.clip_from_world.transpose(1, 2)
    fragments = rasterize(clip, faces, size)
    table = torch.nn.functional.pad(vertex_normals(verts, faces), (0, 1), value=1.0)
    antialias(interpolate(table, fragments, faces), fragments, clip, faces).square().sum().backward()


def frame(verts: Tensor, faces: Tensor, cameras: Cameras, size: int, *, color: bool) -> None:
    """A frame as a training step draws it, and back."""
    shade = torch.sigmoid if color else None
    drawn = render_mesh(Mesh(verts, faces), cameras, size, verts.new_tensor(BACKGROUND), shade)
    channels = drawn.normal.square().sum() + drawn.opacity.sum()
    (channels + drawn.color.square().sum() if color else channels).backward()


def main() -> None:
    """Print one line for each case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    options = parser.parse_args()
    clock = time.perf_counter if options.clock == "wall" else time.process_time
    torch.set_num_threads(1)
    cameras = look(20.0, 10.0).to(options.device)
    print("triangles  size   ids, bary, depth   primitives + back   normals frame + back   colour frame + back")
    for rings, size in CASES:
        verts, faces = (tensor.to(options.device) for tensor in ball(rings))
        verts.requires_grad_()
        clip = (torch.nn.functional.pad(verts, (0, 1), value=1.0) @ cameras.clip_from_world.transpose(1, 2)).detach()
        runs = [
            partial(rasterize, clip, faces, size),
            partial(primitives, verts, faces, cameras, size),
            partial(frame, verts, faces, cameras, size, color=False),
            partial(frame, verts, faces, cameras, size, color=True),
        ]
        cells = [milliseconds(run, options.device, options.repeats, clock) for run in runs]
        print(f"{len(faces):9d} {size:5d}  " + "     ".join(cells), flush=True)


if __name__ == "__main__":
    main()
