"""The linear encoder: a standard AutoencoderKL that computes a projection, and so passes gradients on undistorted."""

import pytest
import torch
from diffusers import AutoencoderKL

from headartist_foundry.train.linear_encoder import (
    encode,
    encode_as_installed,
    install,
    is_installed,
    patches,
    principal_components,
)


def autoencoder(*widths: int, latents: int) -> AutoencoderKL:
    depth = len(widths)
    torch.manual_seed(0)
    return AutoencoderKL(
        block_out_channels=widths,
        down_block_types=("DownEncoderBlock2D",) * depth,
        up_block_types=("UpDecoderBlock2D",) * depth,
        latent_channels=latents,
        layers_per_block=1,
        norm_num_groups=8,
        mid_block_add_attention=False,
    ).requires_grad_(False)


def random_pictures(count: int, size: int) -> torch.Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(2)) * 2 - 1


@pytest.mark.parametrize(("widths", "latents"), [((16, 48, 64), 4), ((8, 16, 48, 64), 12), ((8, 8, 16, 56, 64), 24)])
@pytest.mark.parametrize("precision", [torch.float32, torch.float16])
def test_the_autoencoder_computes_the_projection_also_after_half_precision(widths, latents, precision):
    vae, factor, pictures = autoencoder(*widths, latents=latents), 2 ** (len(widths) - 1), random_pictures(2, 64)
    basis, mean = principal_components(pictures, factor, latents)
    install(vae, basis, mean)
    vae.load_state_dict({name: value.to(precision).float() for name, value in vae.state_dict().items()})
    found = vae.encode(pictures).latent_dist.mean
    expected = encode(pictures, factor, basis, mean)
    torch.testing.assert_close(found, expected, atol=5e-3, rtol=0)
    torch.testing.assert_close(encode_as_installed(vae, pictures), expected, atol=5e-3, rtol=0)


def test_a_step_in_the_latent_is_that_step_in_the_picture():
    vae, pictures = autoencoder(16, 48, 64, latents=12), random_pictures(3, 32)
    basis, mean = principal_components(pictures, 4, 12)
    install(vae, basis, mean)
    step = torch.randn(1, 12, 8, 8, generator=torch.Generator().manual_seed(3))
    for picture in (torch.zeros(1, 3, 32, 32), pictures[:1]):
        picture.requires_grad_()
        (vae.encode(picture).latent_dist.mean * step).sum().backward()
        moved = encode(picture + picture.grad, 4, basis, mean) - encode(picture, 4, basis, mean)
        torch.testing.assert_close(moved, step, atol=5e-3, rtol=0)


def test_no_other_directions_keep_more_of_the_pictures():
    pictures = random_pictures(8, 32)
    pictures[:, 1] = pictures[:, 0]  # so that directions differ in what they keep
    basis, mean = principal_components(pictures, 4, 12)
    torch.testing.assert_close(basis @ basis.T, torch.eye(12), atol=1e-5, rtol=0)
    kept = encode(pictures, 4, basis, mean).square().sum(dim=(0, 2, 3))
    assert (kept.diff() <= 1e-2).all()
    generator = torch.Generator().manual_seed(4)
    for _ in range(5):
        other = torch.linalg.qr(torch.randn(48, 12, generator=generator)).Q.T.contiguous()
        assert encode(pictures, 4, other, mean).square().sum() < kept.sum()


def test_patches_are_means_in_their_places():
    pictures = random_pictures(1, 32)
    # Feature 16 c + 4 i + j is colour c at row i and column j of the patch.
    found = patches(pictures, 8)[0, 16 * 1 + 4 * 2 + 3, 1, 2]
    torch.testing.assert_close(found, pictures[0, 1, 12:14, 22:24].mean())


@pytest.mark.parametrize(("widths", "latents"), [((16, 48, 32), 4), ((16, 48, 64), 25)])
def test_an_autoencoder_that_has_no_room_is_refused(widths, latents):
    with pytest.raises(ValueError, match="eight channels to a group"):
        install(autoencoder(*widths, latents=latents), torch.eye(latents, 48), torch.zeros(48))


def test_it_is_known_from_a_learned_encoder():
    vae = autoencoder(16, 48, 64, latents=4)
    assert not is_installed(vae)
    assert not is_installed(autoencoder(16, 32, 64, latents=4))
    install(vae, *principal_components(random_pictures(2, 32), 4, 4))
    assert is_installed(vae)
