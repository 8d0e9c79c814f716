"""Where the time of one geometry step goes, without the prior: field, tets, drawing, energies, backward, optimizer.

    python benchmarks/geometry_step.py --resolution 32 --size 128 --threads 2

Prints the minimum and the median over the steps in milliseconds, and what was measured on what.
"""

import argparse
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import ParamSpec, TypeVar

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch

from headartist.avatars.tet import TetAvatar
from headartist.config.presets import preset
from headartist.geometry.cameras import sample_cameras
from headartist.geometry.tets import Crossing, TetGrid
from headartist.heads.load import load_template
from headartist.render.frame import Frame
from headartist.render.shading import Shading

P, R = ParamSpec("P"), TypeVar("R")


class Stopwatch:
    """Adds up the milliseconds of named pieces of the current step, and keeps every step's sums."""

    def __init__(self, device: torch.device):
        self.device = device
        self.steps: list[dict[str, float]] = []

    def time(self, name: str, function: Callable[P, R]) -> Callable[P, R]:
        """The function, timed under `name`."""

        def timed(*args: P.args, **kwargs: P.kwargs) -> R:
            self._wait()
            start = time.perf_counter()
            result = function(*args, **kwargs)
            self._wait()
            self.steps[-1][name] = self.steps[-1].get(name, 0.0) + (time.perf_counter() - start) * 1e3
            return result

        return timed

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def measure(arguments: argparse.Namespace) -> Stopwatch:
    """Run the steps; the pieces inside the avatar are timed by wrapping them."""
    device = torch.device(arguments.device)
    generator = torch.Generator().manual_seed(0)
    config = replace(preset(arguments.preset).avatar, resolution=arguments.resolution)
    avatar = TetAvatar(config, load_template("open"), generator=generator, device=device)
    avatar.color.requires_grad_(False)
    trained = [parameter for parameter in avatar.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-4, betas=(0.9, 0.99), eps=1e-15, fused=True)
    background = torch.zeros(3, device=device)
    watch = Stopwatch(device)
    avatar._sdf_at = watch.time("field", avatar._sdf_at)  # type: ignore[method-assign]
    avatar._moved = watch.time("field", avatar._moved)  # type: ignore[method-assign]
    TetGrid.crossing = watch.time("tets", TetGrid.crossing)  # type: ignore[method-assign]
    Crossing.mesh = watch.time("tets", Crossing.mesh)  # type: ignore[method-assign]

    def draw() -> Frame:
        cameras = sample_cameras(arguments.views, generator).to(device)
        return avatar.render(cameras, arguments.size, Shading(color=False), background)

    def energies(frame: Frame) -> torch.Tensor:
        return sum(avatar.energies(frame).values(), torch.zeros((), device=device))

    def step() -> None:
        frame = watch.time("draw", draw)()
        picture = frame.normal.square().mean() + frame.opacity.mean()
        loss = picture + 1e-3 * watch.time("energies", energies)(frame)
        optimizer.zero_grad(set_to_none=True)
        watch.time("backward", loss.backward)()
        watch.time("optimizer", optimizer.step)()

    for _ in range(arguments.steps + config.refresh):
        watch.steps.append({})
        watch.time("step", step)()
        row = watch.steps[-1]
        row["draw"] -= row["field"] + row["tets"]  # the surface is made on the first draw
    watch.steps = watch.steps[config.refresh :]
    print(
        f"{len(avatar.to_mesh().faces)} faces, {len(avatar.grid)} grid vertices, refresh every {config.refresh} steps"
    )
    return watch


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="embedded", help="whose fields and refresh are used")
    parser.add_argument("--resolution", type=int, default=32)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--views", type=int, default=1)
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    watch = measure(arguments)
    print(
        f"torch {torch.__version__}, Python {platform.python_version()}, {arguments.device}, "
        f"{arguments.threads} thread(s)"
    )
    print(f"{'ms':10}{'min':>8}{'median':>8}{'mean':>8}")
    for name in ("field", "tets", "draw", "energies", "backward", "optimizer", "step"):
        values = [row[name] for row in watch.steps]
        print(f"{name:10}{min(values):8.1f}{statistics.median(values):8.1f}{statistics.mean(values):8.1f}")
    print("command:", "python", *sys.argv)


if __name__ == "__main__":
    main()
