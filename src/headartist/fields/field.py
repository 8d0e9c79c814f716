"""Fields: a hash grid with a small network behind it."""

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from headartist.fields.hash_grid import FEATURES, HashEncoding, HashLevel


class Mlp(nn.Sequential):
    """`depth` hidden layers of `width` ReLU units and a linear output."""

    def __init__(self, inputs: int, outputs: int, width: int, depth: int, generator: torch.Generator):
        sizes = [inputs] + [width] * depth
        layers: list[nn.Module] = []
        for size, following in pairwise(sizes):
            layers += [_linear(size, following, generator), nn.ReLU(inplace=True)]
        super().__init__(*layers, _linear(sizes[-1], outputs, generator))

    def zero_output(self) -> None:
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
        """The field's values at world points, with gradients to its parameters and to points that want them."""
        return self.mlp(self.encoding(points / (2 * self.radius) + 0.5))
