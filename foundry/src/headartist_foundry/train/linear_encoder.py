"""A linear encoder in the clothes of a standard `AutoencoderKL`.

Distillation sends its gradient back through the encoder. A learned encoder passes it on as checkerboards and ringing:
pixels that change that way move the latents, but the picture does not get the colours that were asked for. So the
latents are the first principal components of patches of 4 x 4 pixels, or of 4 x 4 means: orthonormal, so that a step in
the latents is the same step in the picture, and kinder to pictures than a learned encoder as small. Only the decoder is
learned.

Encoders of that class end in group normalisation and SiLU. Both are undone exactly enough: with a large constant beside
them in every group the normalisation's scale hardly depends on the values, and `silu(a) - silu(-a) = a`.
"""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, conv2d, pixel_unshuffle

PATCH = 4
_FEATURES = 3 * PATCH**2
_CONSTANT = 1000.0  # beside values within -7 and 7: the scale then varies by less than 1e-4
_PER_GROUP = 8  # channels: three latents and the constant, each with both signs


def patches(pictures: Float[Tensor, "b 3 h w"], factor: int) -> Float[Tensor, "b 48 y x"]:
    """Gather the 4 x 4 pixels at each place of the latent.

    Where a latent's place is larger, they are means of squares of pixels.

    Args:
        pictures: in [-1, 1].
        factor: how many pixels of a picture make one of the latent, along a side: a power of two from 4 on.
    """
    return pixel_unshuffle(avg_pool2d(pictures, factor // PATCH), PATCH)


def principal_components(
    pictures: Float[Tensor, "b 3 h w"], factor: int, count: int
) -> tuple[Float[Tensor, "c 48"], Float[Tensor, "48"]]:
    """Find the directions in which patches vary most.

    They are orthonormal, the greatest first; the mean patch comes with them.
    """
    rows = patches(pictures, factor).permute(0, 2, 3, 1).reshape(-1, _FEATURES).double()
    mean = rows.mean(dim=0)
    directions = torch.linalg.eigh((rows - mean).T @ (rows - mean)).eigenvectors
    return directions.flip(1)[:, :count].T.to(pictures).contiguous(), mean.to(pictures)


def encode(
    pictures: Float[Tensor, "b 3 h w"], factor: int, basis: Float[Tensor, "c 48"], mean: Float[Tensor, "48"]
) -> Float[Tensor, "b c y x"]:
    """Compute `basis (patch - mean)`, as an installed `AutoencoderKL` does."""
    return conv2d(patches(pictures, factor), basis[:, :, None, None], -(basis @ mean))


@torch.no_grad()
def install(vae: Any, basis: Float[Tensor, "c 48"], mean: Float[Tensor, "48"]) -> None:
    """Give an `AutoencoderKL` weights that compute `encode`.

    Its latents' mean is then `encode(pictures, factor, basis, mean)`. Every level but the last halves the picture. The
    last two halvings put four pixels into one place and so want 12 and 48 channels or more; those before them average.

    Raises:
        ValueError: when the last level has not eight channels to a group, or less than a group for three latents.
    """
    encoder, count = vae.encoder, len(basis)
    norm = encoder.conv_norm_out
    if norm.num_channels != _PER_GROUP * norm.num_groups or 3 * norm.num_groups < count:
        raise ValueError(
            f"The VAE's last level must have eight channels to a group, a group for three of {count} latents."
        )
    for block in (*encoder.down_blocks, encoder.mid_block):
        for branch in block.resnets:
            _clear(branch.conv1, branch.conv2)
    *halving, coarsest = encoder.down_blocks
    *averages, half, quarter = [block.downsamplers[0].conv for block in halving]
    last = coarsest.resnets[0].conv_shortcut
    _clear(encoder.conv_in, encoder.conv_out, half, quarter, last, vae.quant_conv, *averages)
    for block in halving:
        shortcut = block.resnets[0].conv_shortcut
        if shortcut is not None:
            nn.init.dirac_(shortcut.weight)
            nn.init.zeros_(shortcut.bias)
    nn.init.dirac_(encoder.conv_in.weight)
    for average in averages:
        for color in range(3):
            average.weight[color, color, :2, :2] = 0.25
    _unshuffle(half, 3)
    _unshuffle(quarter, 12)

    where = _places()
    for index in range(count):
        plus = _channel(index)
        for channel, sign in ((plus, 1.0), (plus + 1, -1.0)):
            last.weight[channel, where, 0, 0] = sign * basis[index]
            last.bias[channel] = -sign * (basis[index] @ mean)
            encoder.conv_out.weight[index, channel, 1, 1] = sign
        vae.quant_conv.weight[index, index] = 1.0
    last.bias[_PER_GROUP - 2 :: _PER_GROUP] = _CONSTANT
    last.bias[_PER_GROUP - 1 :: _PER_GROUP] = -_CONSTANT
    norm.weight.fill_(_CONSTANT * (2 / _PER_GROUP) ** 0.5)  # the groups' standard deviation
    norm.bias.zero_()


def encode_as_installed(vae: Any, pictures: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b c y x"]:
    """Encode as an installed `AutoencoderKL`, past its layers.

    Returns the latents' mean.
    """
    last, count = vae.encoder.down_blocks[-1].resnets[0].conv_shortcut, vae.config.latent_channels
    channels = [_channel(index) for index in range(count)]
    weight = last.weight[channels][:, _places()]
    return conv2d(patches(pictures, 2 ** (len(vae.encoder.down_blocks) - 1)), weight, last.bias[channels])


def is_installed(vae: Any) -> bool:
    """Tell whether an `AutoencoderKL` computes what `encode_as_installed` does."""
    *halving, coarsest = vae.encoder.down_blocks
    widths = [block.downsamplers[0].conv.out_channels for block in halving]
    if len(widths) < 2 or widths[-1] < _FEATURES or coarsest.resnets[0].conv_shortcut is None:
        return False
    side = 8 * 2 ** len(widths)
    picture = torch.linspace(-1, 1, 3 * side**2, device=vae.device).view(1, 3, side, side)
    with torch.no_grad():
        computed = vae.encode(picture).latent_dist.mean
        return torch.allclose(encode_as_installed(vae, picture), computed, atol=1e-2)


def _channel(index: int) -> int:
    """Find the last level's channel that holds a latent.

    The next one holds its negative.
    """
    return _PER_GROUP * (index // 3) + 2 * (index % 3)


def _places() -> Int[Tensor, "48"]:
    """Find each patch feature's channel after two halvings."""
    numbers = torch.arange(float(_FEATURES)).view(1, 3, PATCH, PATCH)
    twice = pixel_unshuffle(pixel_unshuffle(numbers, 2), 2).view(-1).long()
    return twice.argsort()[pixel_unshuffle(numbers, PATCH).view(-1).long()]


def _unshuffle(layer: nn.Conv2d, channels: int) -> None:
    """Set weights that do what `pixel_unshuffle` does.

    They put the four pixels of each 2 x 2 square into one place.
    """
    for channel in range(channels):
        for phase in range(4):
            layer.weight[4 * channel + phase, channel, phase // 2, phase % 2] = 1.0


def _clear(*layers: nn.Conv2d) -> None:
    """Set weights and biases to zero."""
    for layer in layers:
        nn.init.zeros_(layer.weight)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
