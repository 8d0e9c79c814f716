"""The laws of score distillation, on priors whose predictions can be written down."""

from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor

from headartist.distillation import add_noise, sds, ssd, vsd, x0_estimate
from headartist.priors import Conditions, Noise, load_prior

CLOCK = torch.cumprod(1 - torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2, 0)


@dataclass(frozen=True)
class LinearPrior:
    """Predicts `scale z_t + text`, and encodes by averaging 2 x 2 pixels: everything is known in closed form."""

    alpha_bar: Tensor = CLOCK
    scale: float = 0.7
    picture_size: int = 8
    landmark_size: int = 0
    latent_shape: tuple[int, int, int] = (3, 4, 4)

    def encode(self, image: Tensor) -> Tensor:
        return torch.nn.functional.avg_pool2d(image, 2)

    def decode(self, latent: Tensor) -> Tensor:
        return latent.repeat_interleave(2, -1).repeat_interleave(2, -2)

    def embed(self, texts: tuple[str, ...]) -> Tensor:
        return torch.tensor([[[float(len(text))]] for text in texts])

    def predict_noise(self, z_t: Tensor, _t: Tensor, conditions: Conditions) -> Noise:
        plain = conditions.text if conditions.plain is None else conditions.plain
        texts = (conditions.text, conditions.negative, plain)
        return Noise(*(self.scale * z_t + text.mean((1, 2)).view(-1, 1, 1, 1) for text in texts))


@dataclass(frozen=True)
class GaussianPrior(LinearPrior):
    """The exact noise predictor of latents drawn from `Normal(mean, 0.5^2)`."""

    mean: Tensor = field(default_factory=lambda: torch.zeros(3, 4, 4))

    def predict_noise(self, z_t: Tensor, t: Tensor, _conditions: Conditions) -> Noise:
        signal = self.alpha_bar[t].view(-1, 1, 1, 1)
        noise = (1 - signal).sqrt() * (z_t - signal.sqrt() * self.mean) / (signal * 0.25 + 1 - signal)
        return Noise(noise, noise, noise)


@dataclass(frozen=True)
class BrokenPrior(LinearPrior):
    """A prior that overflows in the first channel."""

    def predict_noise(self, z_t: Tensor, t: Tensor, conditions: Conditions) -> Noise:
        noise = super().predict_noise(z_t, t, conditions)
        noise.cond[:, 0, 0], noise.cond[:, 0, 1], noise.cond[:, 0, 2] = torch.inf, -torch.inf, torch.nan
        return noise


def draws(views: int = 2, seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Conditions]:
    """Random pictures, steps, noise and texts, in float64."""
    generator = torch.Generator().manual_seed(seed)
    image = torch.rand(views, 3, 8, 8, generator=generator, dtype=torch.float64, requires_grad=True)
    t = torch.randint(20, 980, (views,), generator=generator)
    noise = torch.randn(views, 3, 4, 4, generator=generator, dtype=torch.float64)
    view, negative, plain = torch.randn(3, views, 5, 6, generator=generator, dtype=torch.float64)
    return image, t, noise, Conditions(view, negative, plain, None)


def image_gradient(loss, image: Tensor) -> Tensor:
    return torch.autograd.grad(loss, image)[0]


@pytest.mark.parametrize("anchor", [0.0, 0.3, 1.0])
def test_the_gradient_that_reaches_the_picture_is_equation_6(anchor):
    prior, (image, t, noise, conditions) = LinearPrior(), draws()
    found = image_gradient(ssd(prior, prior.encode(image), conditions, t, noise, cfg_scale=7.5, anchor=anchor), image)
    e_view, e_neg, e_plain = (text.mean((1, 2)) for text in (conditions.text, conditions.negative, conditions.plain))
    for view in range(2):
        signal = CLOCK[t[view]]
        z_t = signal.sqrt() * prior.encode(image[view : view + 1]) + (1 - signal).sqrt() * noise[view]
        direction = 6.5 * (e_view - e_neg)[view] + (e_view - e_plain)[view]
        direction = direction + anchor * (0.7 * z_t + e_plain[view] - noise[view])
        at_latent = (1 - signal) * direction / 2  # two views
        expected = prior.decode(at_latent) / 4  # the transpose of the averaging
        torch.testing.assert_close(found[view], expected[0], rtol=1e-12, atol=1e-14)


def test_the_loss_is_half_the_squared_norm_per_view():
    prior, (image, t, noise, conditions) = LinearPrior(), draws()
    z = prior.encode(image).detach().requires_grad_()
    loss = ssd(prior, z, conditions, t, noise, cfg_scale=7.5)
    grad = torch.autograd.grad(loss, z)[0]
    torch.testing.assert_close(loss, 0.5 * (2 * grad).square().sum() / 2)


def test_ssd_under_one_text_and_no_guidance_is_exactly_zero():
    prior, (image, t, noise, conditions) = LinearPrior(), draws()
    same = Conditions(conditions.text, conditions.negative, None, None)
    loss = ssd(prior, prior.encode(image), same, t, noise, cfg_scale=1.0)
    assert loss.item() == 0
    assert not image_gradient(loss, image).any()


@pytest.mark.parametrize("cfg_scale", [0.0, 1.0, 7.5, 100.0])
def test_ssd_at_anchor_one_is_sds(cfg_scale):
    prior, (image, t, noise, conditions) = LinearPrior(), draws()
    anchored = ssd(prior, prior.encode(image), conditions, t, noise, cfg_scale=cfg_scale, anchor=1.0)
    plain = sds(prior, prior.encode(image), conditions, t, noise, cfg_scale=cfg_scale)
    torch.testing.assert_close(image_gradient(anchored, image), image_gradient(plain, image), rtol=1e-12, atol=1e-13)


def test_vsd_whose_second_model_knows_the_noise_is_sds():
    prior, (image, t, noise, conditions) = LinearPrior(), draws()
    found = vsd(prior, prior.encode(image), conditions, t, noise, cfg_scale=7.5, eps_lora=noise)
    assert torch.equal(found, sds(prior, prior.encode(image), conditions, t, noise, cfg_scale=7.5))


def test_vsd_whose_second_model_is_the_prior_under_the_plain_text_is_ssd():
    prior, (image, t, noise, conditions) = LinearPrior(), draws()
    z = prior.encode(image)
    plain = prior.predict_noise(add_noise(z.detach(), noise, t, CLOCK), t, conditions).plain
    found = vsd(prior, z, conditions, t, noise, cfg_scale=7.5, eps_lora=plain)
    assert torch.equal(found, ssd(prior, z, conditions, t, noise, cfg_scale=7.5))


def test_sds_on_a_gaussian_converges_to_its_mean():
    generator = torch.Generator().manual_seed(4)
    mean = torch.randn(3, 4, 4, generator=generator, dtype=torch.float64)
    prior, (_, _, _, conditions) = GaussianPrior(mean=mean), draws()
    z = torch.zeros(1, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.SGD([z], lr=0.5)
    for _ in range(200):
        t = torch.randint(20, 980, (1,), generator=generator).expand(2)
        half = torch.randn(1, 3, 4, 4, generator=generator, dtype=torch.float64)
        noise = torch.cat([half, -half])  # the prior is linear, so the noise of a pair cancels
        optimiser.zero_grad()
        sds(prior, z.expand(2, -1, -1, -1), conditions, t, noise, cfg_scale=7.5).backward()
        optimiser.step()
    torch.testing.assert_close(z[0], mean, rtol=0, atol=1e-6)


def test_what_is_not_finite_moves_nothing_and_spoils_nothing():
    (image, t, noise, conditions) = draws()
    z = LinearPrior().encode(image).detach().requires_grad_()
    broken, sound = (
        torch.autograd.grad(ssd(prior, z, conditions, t, noise, cfg_scale=7.5), z)[0]
        for prior in (BrokenPrior(), LinearPrior())
    )
    assert not broken[:, 0, :3].any()
    assert torch.equal(broken[:, 0, 3:], sound[:, 0, 3:])
    assert torch.equal(broken[:, 1:], sound[:, 1:])


def test_a_prior_without_a_finite_word_is_not_covered_up():
    image, t, noise, conditions = draws()
    nothing = LinearPrior(scale=float("nan"))
    assert image_gradient(sds(nothing, nothing.encode(image), conditions, t, noise, cfg_scale=7.5), image).isnan().all()


def test_estimating_the_clean_latent_undoes_adding_noise():
    image, t, noise, _ = draws(views=4)
    z = LinearPrior().encode(image)
    torch.testing.assert_close(x0_estimate(add_noise(z, noise, t, CLOCK), noise, t, CLOCK), z)


def test_no_gradient_reaches_a_diffusion_prior(tiny_prior_folder):
    prior = load_prior(tiny_prior_folder("embedded"), offline=True)
    generator = torch.Generator().manual_seed(5)
    image = torch.rand(1, 3, 64, 64, generator=generator, requires_grad=True)
    noise = torch.randn(1, *prior.latent_shape, generator=generator)
    view, negative, plain = prior.embed(("a hat, front view", "", "a hat"))[:, None]
    conditions = Conditions(view, negative, plain, torch.rand(1, 3, 128, 128, generator=generator))
    ssd(prior, prior.encode(image), conditions, torch.tensor([500]), noise, cfg_scale=7.5).backward()
    assert image.grad is not None
    assert image.grad.any()
    networks = [value for value in vars(prior).values() if isinstance(value, torch.nn.Module)]
    assert all(weight.grad is None for network in networks for weight in network.parameters())
