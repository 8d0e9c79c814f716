"""What the hash grid's gradients cost, and what its kernels save: `python benchmarks/hash_grid.py [--device cuda]`.

Milliseconds are the least of some rounds, in each of which every row runs once by the kernels and once by the plain
twin, so that ratios compare what was measured side by side. `--clock cpu` counts this process's own time, which is the
better figure on a CPU with other work.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from headartist.fields.hash_grid import HashEncoding, encode_reference, hash_levels

Encode = Callable[[Tensor], Tensor]


def forward(encode: Encode, points: Tensor, table: Tensor) -> None:  # noqa: ARG001
    """Values alone."""
    with torch.no_grad():
        encode(points)


def to_table(encode: Encode, points: Tensor, table: Tensor) -> None:
    """Values and the gradient to the table, as a field of fixed points trains."""
    torch.autograd.grad(encode(points).sum(), table)


def to_points(encode: Encode, points: Tensor, table: Tensor) -> None:  # noqa: ARG001
    """Values and the gradient to the points, as normals are drawn."""
    points = points.clone().requires_grad_()
    torch.autograd.grad(encode(points).sum(), points)


def to_both(encode: Encode, points: Tensor, table: Tensor) -> None:
    """Values and both gradients."""
    points = points.clone().requires_grad_()
    torch.autograd.grad(encode(points).sum(), (table, points))


def second_order(encode: Encode, points: Tensor, table: Tensor) -> None:
    """Values, and the gradient to the table of a loss on values and normals."""
    points = points.clone().requires_grad_()
    features = encode(points)
    (slope,) = torch.autograd.grad(features.sum(), points, create_graph=True)
    torch.autograd.grad(features.sum() + slope.square().sum(), table)


def second_order_everywhere(encode: Encode, points: Tensor, table: Tensor) -> None:
    """The same, and its gradient to the points."""
    points = points.clone().requires_grad_()
    features = encode(points)
    (slope,) = torch.autograd.grad(features.sum(), points, create_graph=True)
    torch.autograd.grad(features.sum() + slope.square().sum(), (table, points))


ROWS = {
    "values": forward,
    "+ table": to_table,
    "+ points": to_points,
    "+ table, points": to_both,
    "second order to table": second_order,
    "second order to table, points": second_order_everywhere,
}


def milliseconds(run: Callable[[], None], device: torch.device, clock: Callable[[], float]) -> float:
    """How long one call takes."""
    start = clock()
    run()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return (clock() - start) * 1e3


def main() -> None:
    """Print one table for each size of the hash table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    parser.add_argument("--points", type=int, default=36_000)
    parser.add_argument("--levels", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    options = parser.parse_args()
    clock = time.perf_counter if options.clock == "wall" else time.process_time
    torch.set_num_threads(1)
    points = torch.rand(options.points, 3, generator=torch.Generator().manual_seed(0)).to(options.device)
    for log2_table in (15, 19):
        levels = hash_levels(options.levels, 16, 1.447269, log2_table)
        encoding = HashEncoding(levels, torch.Generator().manual_seed(0)).to(options.device)
        ways: tuple[Encode, Encode] = (encoding, partial(encode_reference, table=encoding.table, levels=levels))
        best: dict[tuple[str, int], float] = {}
        for _ in range(options.rounds + 1):  # the first compiles, and its times are seldom the least
            for name, row in ROWS.items():
                for way, encode in enumerate(ways):
                    took = milliseconds(partial(row, encode, points, encoding.table), options.device, clock)
                    best[name, way] = min(took, best.get((name, way), took))
        print(f"\n{len(points):,} points, {len(levels)} levels, tables of 2^{log2_table}, {options.device}\n")
        print("| | kernels, ms | of values | twin, ms | twin / kernels |\n|---|--:|--:|--:|--:|")
        for name in ROWS:
            fast, slow = best[name, 0], best[name, 1]
            print(f"| {name} | {fast:.1f} | {fast / best['values', 0]:.2f} | {slow:.0f} | {slow / fast:.1f} |")


if __name__ == "__main__":
    main()
