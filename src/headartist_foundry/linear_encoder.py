"""A linear encoder in the clothes of a standard `AutoencoderKL`.

Distillation sends its gradient back through the encoder. A learned encoder passes it on as checkerboards and ringing:
for pixels that change that way the latents move, but the picture does not get the colours that were asked for. A linear
encoder passes it on as its own smooth filters. So pictures are averaged over 2 x 2 pixels, four such means become
channels of one place, and the latents are a 3 x 3 convolution of those; the decoder stays learned.

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


def features(pictures: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 12 y x"]:
    """What latents are mixed from: means of 2 x 2 pixels, those of 4 x 4 pixels in one place."""
    return pixel_unshuffle(avg_pool2d(pictures, 2), 2)


def encode(
    pictures: Float[Tensor, "b 3 h w"], mixing: Float[Tensor, "c 12 3 3"], bias: Float[Tensor, "c"]
) -> Float[Tensor, "b c y x"]:
    """The latents that `install` makes an `AutoencoderKL` compute."""
    return conv2d(features(pictures), mixing, bias, padding=1)


def fit_mixing(
    pictures: Float[Tensor, "b 3 h w"], latents: Float[Tensor, "b c y x"], smoothness: float = 0.1
) -> tuple[Float[Tensor, "c 12 3 3"], Float[Tensor, "c"]]:
    """The smooth mixing that comes nearest to given latents, by least squares.

    Args:
        pictures: in [-1, 1].
        latents: what another encoder makes of them.
        smoothness: weight of the squared differences between neighbouring taps of the filters, seen as pictures.
    """
    windows = pad(features(pictures), (1, 1, 1, 1)).unfold(2, 3, 1).unfold(3, 3, 1)  # b 12 y x 3 3
    known = windows.permute(0, 2, 3, 1, 4, 5).reshape(-1, 9 * FEATURES).double()
    known = torch.cat([known, torch.ones(len(known), 1, dtype=torch.float64)], dim=1)
    wanted = latents.permute(0, 2, 3, 1).reshape(-1, latents.shape[1]).double()
    system = known.T @ known + len(known) * (smoothness * _roughness() + 1e-4 * torch.eye(known.shape[1]))
    solution = torch.linalg.solve(system, known.T @ wanted).float()
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
    """Give an `AutoencoderKL` of three levels the weights that make its latents' mean `encode(pictures, mixing, bias)`.

    Its first level wants at least 3 channels, its second 12, and its last twelve groups' worth or more of eight each.
    """
    encoder = vae.encoder
    for block in (*encoder.down_blocks, encoder.mid_block):
        for branch in block.resnets:
            _clear(branch.conv1, branch.conv2)
    first, second, third = encoder.down_blocks
    pooled, unshuffled = first.downsamplers[0].conv, second.downsamplers[0].conv
    _clear(encoder.conv_in, pooled, second.resnets[0].conv_shortcut, unshuffled, third.resnets[0].conv_shortcut)
    for colour in range(3):
        encoder.conv_in.weight[colour, colour, 1, 1] = 1.0
        pooled.weight[colour, colour, :2, :2] = 0.25
        second.resnets[0].conv_shortcut.weight[colour, colour] = 1.0
        for phase in range(4):
            unshuffled.weight[4 * colour + phase, colour, phase // 2, phase % 2] = 1.0

    norm, last, out = encoder.conv_norm_out, third.resnets[0].conv_shortcut, encoder.conv_out
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
