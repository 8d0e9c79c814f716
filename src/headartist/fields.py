"""Fields: a multiresolution hash grid with a small MLP behind it (Instant-NGP, Müller et al. 2022).

Level l is a grid of `r_l = floor(base * growth^l)` cells along a side of the unit cube, with two features at every
vertex. A point gets, per level, the features of its cell's eight corners, weighted trilinearly. A level with more
vertices than its table has entries shares them through the hash `(x ^ y * 2654435761 ^ z * 805459861) mod entries`.

Features have gradients to the tables but none to the points: the method moves points only through the geometry, which
is frozen wherever a field of moving points is trained.
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from headartist.field_kernels import HASH_Y, HASH_Z, encode_backward, encode_forward
from headartist.launch import launch, vec3

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
    """The levels of an encoding, coarse to fine, packed one after another."""
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
    """The encoding of points of the unit cube in plain torch: the kernel's slow twin, and the way in float64."""
    corners = torch.cartesian_prod(*[torch.arange(2, device=points.device)] * 3)
    features = []
    for level in levels:
        scaled = points.clamp(0, 1) * level.resolution
        cell = scaled.floor().long().clamp(max=level.resolution - 1)
        share = (scaled - cell)[:, None]
        weight = torch.where(corners.bool(), share, 1 - share).prod(dim=-1)
        x, y, z = (cell[:, None] + corners).unbind(-1)
        if level.hashed:
            entry = (x ^ (y * HASH_Y) ^ (z * HASH_Z)) % level.entries
        else:
            entry = (x * (level.resolution + 1) + y) * (level.resolution + 1) + z
        features.append((weight[..., None] * table[level.start + entry]).sum(dim=1))
    return torch.cat(features, dim=1)


class _Encode(torch.autograd.Function):
    """`encode_reference` as one kernel: a thread per point and level, level by level so that its table stays cached."""

    @staticmethod
    def forward(ctx, points: Tensor, table: Tensor, layout: Tensor) -> Tensor:
        points = points.contiguous()
        features = torch.empty(len(points), FEATURES * len(layout), device=points.device)
        launch(
            encode_forward,
            (len(layout), len(points)),
            points.device,
            vec3(points),
            table.detach(),
            layout,
            features,
        )
        ctx.save_for_backward(points, layout)
        ctx.entries = len(table)
        return features

    @staticmethod
    def backward(ctx, grad_features: Tensor) -> tuple[None, Tensor, None]:
        points, layout = ctx.saved_tensors
        grad_table = torch.zeros(ctx.entries, FEATURES, device=points.device)
        launch(
            encode_backward,
            (len(layout), len(points)),
            points.device,
            vec3(points),
            layout,
            grad_features.contiguous(),
            grad_table,
        )
        return None, grad_table, None


class HashEncoding(nn.Module):
    """The trainable tables of a multiresolution hash encoding.

    On the CPU forward and backward are deterministic; on CUDA the backward sums in the order threads arrive.
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
        """Features of points of the unit cube; points outside get those of the nearest point of its surface."""
        if points.requires_grad:
            raise ValueError("HashEncoding has no gradient to its points: detach them.")
        return _Encode.apply(points, self.table, self.layout)


class Mlp(nn.Sequential):
    """`depth` hidden layers of `width` ReLU units and a linear output."""

    def __init__(self, inputs: int, outputs: int, width: int, depth: int, generator: torch.Generator):
        sizes = [inputs] + [width] * depth
        layers: list[nn.Module] = []
        for size, following in pairwise(sizes):
            layers += [_linear(size, following, generator), nn.ReLU(inplace=True)]
        super().__init__(*layers, _linear(sizes[-1], outputs, generator))

    def silence(self) -> None:
        """Make the output zero everywhere, for now: the last layer's weights and bias."""
        for last in list(self.parameters())[-2:]:
            nn.init.zeros_(last)


def _linear(inputs: int, outputs: int, generator: torch.Generator) -> nn.Linear:
    """A linear layer with He's uniform weights drawn from `generator`, and no bias at first."""
    layer = nn.utils.skip_init(nn.Linear, inputs, outputs)
    nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu", generator=generator)
    nn.init.zeros_(layer.bias)
    return layer


class Field(nn.Module):
    """A function of world points in the cube [-radius, radius]^3: hash encoding, then MLP."""

    def __init__(
        self,
        levels: tuple[HashLevel, ...],
        outputs: int,
        *,
        radius: float,
        width: int,
        depth: int,
        generator: torch.Generator,
    ):
        super().__init__()
        self.radius = radius
        self.encoding = HashEncoding(levels, generator)
        self.mlp = Mlp(FEATURES * len(levels), outputs, width, depth, generator)

    def forward(self, points: Float[Tensor, "n 3"]) -> Float[Tensor, "n c"]:
        """The field's values at world points, which must be detached."""
        return self.mlp(self.encoding(points / (2 * self.radius) + 0.5))
