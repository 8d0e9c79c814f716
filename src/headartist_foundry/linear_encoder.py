"""A linear encoder in the clothes of a standard `AutoencoderKL`.

Distillation sends its gradient back through the encoder. A learned encoder passes it on as checkerboards and ringing:
for pixels that change that way the latents move, but the picture does not get the colours that were asked for. A linear
encoder passes it on as its own smooth filters. So pictures are averaged down to two pixels for each place of the latent
along a side, those four become channels of one place, and the latents are a 3 x 3 convolution of them. Its filters are
fitted to a learned encoder; the decoder stays learned.

Encoders of that class end in group normalisation and SiLU. Both are undone exactly enough: with a large constant beside
them in every group the normalisation's scale hardly depends on the values, and `silu(a) - silu(-a) = a`.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, conv2d, pad, pixel_unshuffle

FEATURES = 12
"""Channels that the latents are mixed from: three colours at four places."""
_CONSTANT = 100.0  # beside values within -1 and 1: the scale then varies by less than 2e-4
_PER_GROUP = 8  # channels: two features, each with both signs, the constant with both signs, and two that stay 0


def features(pictures: Float[Tensor, "b 3 h w"], factor: int) -> Float[Tensor, "b 12 y x"]:
    """What latents are mixed from: means of squares of `factor / 2` pixels, four of them in each place of the latent.

    Args:
        pictures: in [-1, 1].
        factor: how many pixels of a picture make one of the latent, along a side: a power of two from 2 on.
    """
    return pixel_unshuffle(avg_pool2d(pictures, factor // 2), 2)


def encode(
    pictures: Float[Tensor, "b 3 h w"], factor: int, mixing: Float[Tensor, "c 12 3 3"], bias: Float[Tensor, "c"]
) -> Float[Tensor, "b c y x"]:
    """The latents that `install` makes an `AutoencoderKL` compute."""
    return conv2d(features(pictures, factor), mixing, bias, padding=1)


def fit_mixing(
    pictures: Float[Tensor, "b 3 h w"], latents: Float[Tensor, "b c y x"], smoothness: float = 0.1
) -> tuple[Float[Tensor, "c 12 3 3"], Float[Tensor, "c"]]:
    """The smooth mixing that comes nearest to given latents, by least squares; mixing and bias.

    Args:
        pictures: in [-1, 1].
        latents: what another encoder makes of them.
        smoothness: weight of the squared differences between neighbouring taps of the filters, seen as pictures.
    """
    known = pad(features(pictures, pictures.shape[-1] // latents.shape[-1]), (1, 1, 1, 1))
    windows = known.unfold(2, 3, 1).unfold(3, 3, 1).permute(0, 2, 3, 1, 4, 5)  # b y x 12 3 3
    rows = windows.reshape(-1, 9 * FEATURES).double()
    rows = torch.cat([rows, rows.new_ones(len(rows), 1)], dim=1)
    wanted = latents.permute(0, 2, 3, 1).reshape(-1, latents.shape[1]).double()
    cost = (smoothness * _roughness() + 1e-4 * torch.eye(rows.shape[1])).to(rows)
    solution = torch.linalg.solve(rows.T @ rows + len(rows) * cost, rows.T @ wanted).to(pictures)
    return solution[:-1].T.reshape(-1, FEATURES, 3, 3).contiguous(), solution[-1]


def _roughness() -> Float[Tensor, "n n"]:
    """The quadratic form of a filter's roughness over its 9 * 12 taps; the last row, the bias, costs nothing."""
    taps = torch.arange(9 * FEATURES).view(3, 2, 2, 3, 3)  # colour, phase down, phase right, down, right
    image = taps.permute(0, 3, 1, 4, 2).reshape(3, 6, 6)
    pairs = [(image[:, 1:], image[:, :-1]), (image[:, :, 1:], image[:, :, :-1])]
    one, other = (torch.cat([pair[k].reshape(-1) for pair in pairs]) for k in (0, 1))
    difference = torch.zeros(len(one), 9 * FEATURES + 1, dtype=torch.float64)
    difference[torch.arange(len(one)), one] = 1
    difference[torch.arange(len(one)), other] = -1
    return difference.T @ difference


@torch.no_grad()
def install(vae: Any, mixing: Float[Tensor, "c 12 3 3"], bias: Float[Tensor, "c"]) -> None:
    """Give an `AutoencoderKL` the weights that make its latents' mean `encode(pictures, factor, mixing, bias)`.

    Every level but the last halves the picture: all of them average, but for the last of them, which puts four pixels
    into one place and wants at least 12 channels.

    Raises:
        ValueError: when the last level has not eight channels to a group, or fewer than six groups.
    """
    encoder = vae.encoder
    for block in (*encoder.down_blocks, encoder.mid_block):
        for branch in block.resnets:
            _clear(branch.conv1, branch.conv2)
    *halving, coarsest = encoder.down_blocks
    *averages, unshuffled = [block.downsamplers[0].conv for block in halving]
    last = coarsest.resnets[0].conv_shortcut
    shortcuts = [block.resnets[0].conv_shortcut for block in halving]
    _clear(encoder.conv_in, unshuffled, last, *averages, *(each for each in shortcuts if each is not None))
    for colour in range(3):
        encoder.conv_in.weight[colour, colour, 1, 1] = 1.0
        for average in averages:
            average.weight[colour, colour, :2, :2] = 0.25
        for shortcut in shortcuts:
            if shortcut is not None:
                shortcut.weight[colour, colour] = 1.0
        for phase in range(4):
            unshuffled.weight[4 * colour + phase, colour, phase // 2, phase % 2] = 1.0

    norm, out = encoder.conv_norm_out, encoder.conv_out
    if norm.num_channels != _PER_GROUP * norm.num_groups or 2 * norm.num_groups < FEATURES:
        raise ValueError("The VAE's last level must have eight channels to a group, and six groups or more.")
    _clear(out, vae.quant_conv)
    for group in range(norm.num_groups):
        last.bias[_PER_GROUP * group + 4], last.bias[_PER_GROUP * group + 5] = _CONSTANT, -_CONSTANT
    for feature in range(FEATURES):
        plus = _PER_GROUP * (feature // 2) + 2 * (feature % 2)
        last.weight[plus, feature], last.weight[plus + 1, feature] = 1.0, -1.0
        out.weight[: len(mixing), plus], out.weight[: len(mixing), plus + 1] = mixing[:, feature], -mixing[:, feature]
    out.bias[: len(mixing)] = bias
    norm.weight.fill_(_CONSTANT * (2 / _PER_GROUP) ** 0.5)  # the groups' standard deviation
    norm.bias.zero_()
    vae.quant_conv.weight[: len(mixing), : len(mixing), 0, 0] = torch.eye(len(mixing))


def _clear(*layers: nn.Conv2d) -> None:
    for layer in layers:
        nn.init.zeros_(layer.weight)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
