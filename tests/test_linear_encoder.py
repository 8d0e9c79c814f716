"""The linear encoder: a standard AutoencoderKL that computes a convolution: its gradient is a smooth filter's."""

import pytest
import torch
from diffusers import AutoencoderKL

from headartist_foundry.linear_encoder import FEATURES, encode, features, fit_mixing, install


def autoencoder(*widths: int, groups: int = 8) -> AutoencoderKL:
    depth = len(widths)
    torch.manual_seed(0)
    return AutoencoderKL(
        block_out_channels=widths,
        down_block_types=("DownEncoderBlock2D",) * depth,
        up_block_types=("UpDecoderBlock2D",) * depth,
        latent_channels=4,
        layers_per_block=1,
        norm_num_groups=groups,
        mid_block_add_attention=False,
    ).requires_grad_(False)


def random_mixing() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return 0.2 * torch.randn(4, FEATURES, 3, 3, generator=generator), torch.randn(4, generator=generator)


def random_pictures(count: int, size: int) -> torch.Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(2)) * 2 - 1


@pytest.mark.parametrize("widths", [(16, 64), (8, 16, 64), (16, 16, 32, 64)])
@pytest.mark.parametrize("precision", [torch.float32, torch.float16])
def test_the_autoencoder_computes_the_convolution_also_after_half_precision(widths, precision):
    vae, (mixing, bias) = autoencoder(*widths), random_mixing()
    install(vae, mixing, bias)
    weights = {name: value.to(precision).float() for name, value in vae.state_dict().items()}
    vae.load_state_dict(weights)
    pictures = random_pictures(2, 32)
    expected = encode(pictures, 2 ** (len(widths) - 1), mixing, bias)
    torch.testing.assert_close(vae.encode(pictures).latent_dist.mean, expected, atol=3e-3, rtol=0)


def test_its_gradient_is_the_same_at_every_picture():
    vae = autoencoder(8, 16, 64)
    install(vae, *random_mixing())
    direction = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(3))
    gradients = []
    for pictures in (torch.zeros(1, 3, 32, 32), random_pictures(1, 32)):
        pictures.requires_grad_()
        (vae.encode(pictures).latent_dist.mean * direction).sum().backward()
        gradients.append(pictures.grad)
    torch.testing.assert_close(*gradients, atol=1e-3, rtol=0)


def test_features_keep_the_means_in_their_places():
    pictures = random_pictures(1, 16)
    found = features(pictures, 4)
    assert found.shape == (1, FEATURES, 4, 4)
    # Channel 4 c + 2 i + j is colour c in the quarter at row i and column j of its place.
    torch.testing.assert_close(found[0, 4 * 1 + 2 * 1 + 0, 2, 3], pictures[0, 1, 10:12, 12:14].mean())


def test_latents_that_are_a_smooth_mixing_are_found_again():
    taps = torch.hann_window(8, periodic=False)[1:-1]
    image = (taps[:, None] * taps)[None].repeat(3, 1, 1) * torch.tensor([1.0, -0.5, 0.25])[:, None, None]
    mixing = image.view(3, 3, 2, 3, 2).permute(0, 2, 4, 1, 3).reshape(1, FEATURES, 3, 3)
    pictures, bias = random_pictures(64, 16), torch.tensor([0.7])
    found, found_bias = fit_mixing(pictures, encode(pictures, 4, mixing, bias), smoothness=1e-4)
    torch.testing.assert_close(found, mixing, atol=2e-2, rtol=0)
    torch.testing.assert_close(found_bias, bias, atol=2e-2, rtol=0)


def test_more_smoothness_gives_smoother_filters_that_fit_less():
    pictures = random_pictures(64, 16)
    latents = torch.randn(64, 4, 4, 4, generator=torch.Generator().manual_seed(4)) + encode(
        pictures, 4, *random_mixing()
    )
    roughness, misfit = [], []
    for smoothness in (1e-3, 1e-1, 10.0):
        mixing, bias = fit_mixing(pictures, latents, smoothness)
        image = mixing.view(4, 3, 2, 2, 3, 3).permute(0, 1, 4, 2, 5, 3).reshape(4, 3, 6, 6)
        roughness.append(float(image.diff(dim=-1).square().sum() + image.diff(dim=-2).square().sum()))
        misfit.append(float((encode(pictures, 4, mixing, bias) - latents).square().mean()))
    assert roughness == sorted(roughness, reverse=True)
    assert misfit == sorted(misfit)


def test_an_autoencoder_with_other_groups_is_refused():
    with pytest.raises(ValueError, match="eight channels to a group"):
        install(autoencoder(8, 16, 32), *random_mixing())
