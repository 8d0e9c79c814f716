"""A multiresolution hash grid (Instant-NGP, Müller et al. 2022).

Level l is a grid of `r_l = floor(base * growth^l)` cells along a side of the unit cube, with two features at every
vertex. A point gets, per level, the features of its cell's eight corners, weighted trilinearly. A level with more
vertices than its table has entries shares them through the hash `(x ^ y * 2654435761 ^ z * 805459861) mod entries`.

Features have gradients to the tables and to the points, and these gradients have gradients of their own, so that a loss
on normals trains the tables. Along each axis a feature is piecewise linear: its gradient to a point jumps at the faces
of cells, where it is the upper cell's, and is zero along an axis along which the point lies outside the cube.
"""

from dataclasses import dataclass
from typing import Any

import torch
import warp as wp
from jaxtyping import Float, Int
from torch import Tensor, nn

from headartist.fields import kernels
from headartist.system.warp import launch, vec3

FEATURES = 2
_INITIAL_FEATURE = 1e-4  # features start uniform in +- this (Instant-NGP)


@dataclass(frozen=True)
class HashLevel:
    """One grid of the encoding.

    Attributes:
        resolution: cells along a side.
        start: the level's first entry in the common table.
        entries: how many entries it has, a power of two where they are shared.
    """

    resolution: int
    start: int
    entries: int

    @property
    def hashed(self) -> bool:
        """Whether several vertices share an entry."""
        return self.entries < (self.resolution + 1) ** 3


def hash_levels(count: int, base: int, growth: float, log2_table: int) -> tuple[HashLevel, ...]:
    """Pack the levels of an encoding, coarse to fine.

    One after another.
    """
    levels: list[HashLevel] = []
    start = 0
    for index in range(count):
        resolution = int(base * growth**index)
        entries = min((resolution + 1) ** 3, 1 << log2_table)
        levels.append(HashLevel(resolution, start, entries))
        start += entries
    return tuple(levels)


def encode_reference(
    points: Float[Tensor, "n 3"], table: Float[Tensor, "m 2"], levels: tuple[HashLevel, ...]
) -> Float[Tensor, "n c"]:
    """Encode points of the unit cube in plain torch.

    The kernel's slow twin, and the way in float64.
    """
    corners = torch.cartesian_prod(*[torch.arange(2, device=points.device)] * 3)
    features = []
    for level in levels:
        scaled = points.clamp(0, 1) * level.resolution
        cell = scaled.floor().long().clamp(max=level.resolution - 1)
        share = (scaled - cell)[:, None]
        a, b, c = torch.where(corners.bool(), share, 1 - share).unbind(-1)
        x, y, z = (cell[:, None] + corners).unbind(-1)
        if level.hashed:
            entry = (x ^ (y * kernels.HASH_Y) ^ (z * kernels.HASH_Z)) % level.entries
        else:
            entry = (x * (level.resolution + 1) + y) * (level.resolution + 1) + z
        features.append(((a * b * c)[..., None] * table[level.start + entry]).sum(dim=1))
    return torch.cat(features, dim=1)


def _encode(points: Tensor, table: Tensor, layout: Tensor) -> Tensor:
    """Encode by kernels as `encode_reference` does.

    Each gradient has a node of its own, so that one costs nothing of the other.
    """
    features: Tensor = _Features.apply(table, (points,), layout)
    if points.requires_grad and torch.is_grad_enabled():
        features = features + _PointsPart.apply(points, (table,), layout)
    return features


class _Features(torch.autograd.Function):
    """The features, with gradient to the table.

    A thread per point and level, level by level to keep its table cached.

    The points come in a tuple, where autograd sees no way to them: asked for their gradient alone, it never comes here.
    """

    @staticmethod
    def forward(ctx: Any, table: Tensor, hidden: tuple[Tensor], layout: Tensor) -> Tensor:
        (points,) = hidden
        features = torch.empty(len(points), FEATURES * len(layout), device=points.device)
        _launch(kernels.encode_forward, points, layout, table.detach().contiguous(), features)
        ctx.save_for_backward(points, layout)
        ctx.entries = len(table)
        return features

    @staticmethod
    def backward(ctx: Any, grad_features: Tensor) -> tuple[Tensor, None, None]:
        points, layout = ctx.saved_tensors
        # A node of its own, with its small cost, only where somebody may ask for a gradient of this gradient.
        gradient = _TableGradient.apply if torch.is_grad_enabled() else _table_gradient
        return gradient(points, grad_features, layout, ctx.entries), None, None


def _table_gradient(points: Tensor, grad_features: Tensor, layout: Tensor, entries: int) -> Tensor:
    """Sum `features . grad_features` differentiated by the table."""
    grad_table = torch.zeros(entries, FEATURES, device=points.device)
    _launch(kernels.encode_backward, points, layout, grad_features.contiguous(), grad_table)
    return grad_table


class _TableGradient(torch.autograd.Function):
    """The gradient of `features . grad_features` to the table."""

    @staticmethod
    def forward(ctx: Any, points: Tensor, grad_features: Tensor, layout: Tensor, entries: int) -> Tensor:
        ctx.save_for_backward(points, grad_features, layout)
        return _table_gradient(points, grad_features, layout, entries)

    @staticmethod
    def backward(ctx: Any, along: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        points, grad_features, layout = ctx.saved_tensors
        to_points, to_features, *_ = ctx.needs_input_grad
        return (
            _PointsGradient.apply(points, along, grad_features, layout) if to_points else None,
            _encode(points, along, layout) if to_features else None,
            None,
            None,
        )


class _PointsPart(torch.autograd.Function):
    """Zeros with the features' gradient to the points.

    The table is hidden as the points are in `_Features`.
    """

    @staticmethod
    def forward(ctx: Any, points: Tensor, hidden: tuple[Tensor], layout: Tensor) -> Tensor:
        ctx.save_for_backward(points, *hidden, layout)
        return points.new_zeros(()).expand(len(points), FEATURES * len(layout))

    @staticmethod
    def backward(ctx: Any, grad_features: Tensor) -> tuple[Tensor, None, None]:
        points, table, layout = ctx.saved_tensors
        return _PointsGradient.apply(points, table, grad_features, layout), None, None


class _PointsGradient(torch.autograd.Function):
    """The gradient of `features . grad_features` to the points."""

    @staticmethod
    def forward(ctx: Any, points: Tensor, table: Tensor, grad_features: Tensor, layout: Tensor) -> Tensor:
        ctx.save_for_backward(points, table, grad_features, layout)
        grad_points = torch.zeros(points.shape, device=points.device)
        tensors = table.detach().contiguous(), grad_features.contiguous(), vec3(grad_points)
        _launch(kernels.encode_points_backward, points, layout, *tensors)
        return grad_points

    @staticmethod
    def backward(ctx: Any, along: Tensor) -> tuple[Tensor | None, ...]:
        *tensors, layout = ctx.saved_tensors
        return *_SecondGradients.apply(*tensors, along, layout, ctx.needs_input_grad), None


class _SecondGradients(torch.autograd.Function):
    """The gradients of `along . _PointsGradient`.

    To those of points, table and `grad_features` that are asked.
    """

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ARG004
        points: Tensor,
        table: Tensor,
        grad_features: Tensor,
        along: Tensor,
        layout: Tensor,
        asked: tuple[bool, ...],
    ) -> tuple[Tensor | None, ...]:
        shapes = zip((points.shape, table.shape, grad_features.shape), asked, strict=False)
        grads = [torch.zeros(shape, device=points.device) if wanted else None for shape, wanted in shapes]
        to_points, to_table, to_features = grads
        tensors = table.detach().contiguous(), grad_features.contiguous(), vec3(along.contiguous())
        outputs = to_table, to_features, None if to_points is None else vec3(to_points)
        _launch(kernels.encode_points_second, points, layout, *tensors, *outputs)
        return tuple(grads)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[None, ...]:
        raise NotImplementedError("HashEncoding has no third derivatives: ask encode_reference, its twin, for them.")


def _launch(kernel: wp.Kernel, points: Tensor, layout: Tensor, *arguments: object) -> None:
    """Run a kernel on every level and point."""
    place = vec3(points.detach().contiguous())
    launch(kernel, (len(layout), len(points)), points.device, place, layout, *arguments)


class HashEncoding(nn.Module):
    """The trainable tables of a multiresolution hash encoding.

    On the CPU forward and backward are deterministic; on CUDA the backward sums in the order threads arrive.
    Points that want no gradient cost nothing for it. There are first and second derivatives, to table and points alike;
    a third raises NotImplementedError.
    """

    layout: Int[Tensor, "l 3"]

    def __init__(self, levels: tuple[HashLevel, ...], generator: torch.Generator):
        super().__init__()
        self.levels = levels
        entries = sum(level.entries for level in levels)
        self.table = nn.Parameter((torch.rand(entries, FEATURES, generator=generator) * 2 - 1) * _INITIAL_FEATURE)
        rows = [(level.resolution, level.start, level.entries - 1 if level.hashed else 0) for level in levels]
        self.register_buffer("layout", torch.tensor(rows, dtype=torch.int32), persistent=False)

    def forward(self, points: Float[Tensor, "n 3"]) -> Float[Tensor, "n c"]:
        """Encode points of the unit cube.

        Points outside get the features of the nearest point of its surface.
        """
        return _encode(points, self.table, self.layout)
