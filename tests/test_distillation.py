"""The laws of score distillation, on priors whose predictions can be written down."""

from collections.abc import Sequence
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from headartist.config.config import ViewText
from headartist.config.objectives import ObjectiveConfig, Sds, Ssd
from headartist.guidance import predict
from headartist.objectives.build import build_objective
from headartist.objectives.distillation import add_noise, distilled, sds, ssd, vsd, x0_estimate
from headartist.priors import Query, ScorePrior, load_prior
from known_priors import CLOCK, Draws, GaussianPrior, LinearPrior, draws, image_gradient


@dataclass(frozen=True)
class BrokenPrior(LinearPrior):
    """A prior that overflows in the first channel."""

    def predict_noise(
        self, z_t: Tensor, t: Tensor, queries: Sequence[Query], _pose: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        cond, *others = super().predict_noise(z_t, t, queries)
        cond[:, 0, 0], cond[:, 0, 1], cond[:, 0, 2] = torch.inf, -torch.inf, torch.nan
        return cond, *others


def loss_of(config: ObjectiveConfig, prior: ScorePrior, drawn: Draws, view_text: ViewText = "append") -> Tensor:
    """The one loss of an objective."""
    objective = build_objective(config, prior, torch.Generator())
    (loss,) = objective.losses(drawn.shot(view_text=view_text))
    return loss


@pytest.mark.parametrize("anchor", [0.0, 0.3, 1.0])
def test_the_gradient_that_reaches_the_picture_is_equation_6(anchor: float):
    prior, drawn = LinearPrior(), draws()
    found = image_gradient(loss_of(Ssd(7.5, anchor), prior, drawn), drawn.image)
    e_view, e_neg, e_plain = (text.mean((1, 2)) for text in (drawn.view, drawn.negative, drawn.plain))
    for view in range(2):
        signal = CLOCK[drawn.t[view]]
        z_t = signal.sqrt() * prior.encode(drawn.image[view : view + 1]) + (1 - signal).sqrt() * drawn.noise[view]
        direction = 6.5 * (e_view - e_neg)[view] + (e_view - e_plain)[view]
        direction = direction + anchor * (0.7 * z_t + e_plain[view] - drawn.noise[view])
        at_latent = (1 - signal) * direction / 2  # two views
        expected = prior.decode(at_latent) / 4  # the transpose of the averaging
        torch.testing.assert_close(found[view], expected[0], rtol=1e-12, atol=1e-14)


def test_the_loss_is_half_the_squared_norm_per_view():
    z, direction = torch.randn(2, 2, 3, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    z.requires_grad_()
    loss = distilled(z, direction, torch.tensor([300, 600]), CLOCK)
    grad = torch.autograd.grad(loss, z)[0]
    torch.testing.assert_close(loss, 0.5 * (2 * grad).square().sum() / 2)


def test_ssd_under_one_text_and_no_guidance_is_exactly_zero():
    prior, drawn = LinearPrior(), draws()
    loss = loss_of(Ssd(1.0), prior, drawn, view_text="none")
    assert loss.item() == 0
    assert not image_gradient(loss, drawn.image).any()


@pytest.mark.parametrize("cfg_scale", [0.0, 1.0, 7.5, 100.0])
def test_ssd_at_anchor_one_is_sds(cfg_scale: float):
    prior, drawn = LinearPrior(), draws()
    anchored, plain = loss_of(Ssd(cfg_scale, 1.0), prior, drawn), loss_of(Sds(cfg_scale), prior, drawn)
    found, expected = image_gradient(anchored, drawn.image), image_gradient(plain, drawn.image)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-13)


def test_vsd_whose_second_model_knows_the_noise_is_sds_and_one_that_is_the_prior_is_ssd():
    target, own, noise = torch.randn(3, 2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(vsd(target, noise), sds(target, noise))
    assert torch.equal(vsd(target, own), ssd(target, own, noise))


def test_sds_on_a_gaussian_converges_to_its_mean():
    generator = torch.Generator().manual_seed(4)
    mean = torch.randn(3, 4, 4, generator=generator, dtype=torch.float64)
    prior, guided = GaussianPrior(mean=mean), draws().guided(7.5)
    z = torch.zeros(1, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.SGD([z], lr=0.5)
    for _ in range(200):
        t = torch.randint(20, 980, (1,), generator=generator).expand(2)
        half = torch.randn(1, 3, 4, 4, generator=generator, dtype=torch.float64)
        noise = torch.cat([half, -half])  # the prior is linear, so the noise of a pair cancels
        both = z.expand(2, -1, -1, -1)
        (target,) = predict(prior, add_noise(both.detach(), noise, t, CLOCK), t, guided)
        optimizer.zero_grad()
        distilled(both, sds(target, noise), t, CLOCK).backward()
        optimizer.step()
    torch.testing.assert_close(z[0], mean, rtol=0, atol=1e-6)


def test_what_is_not_finite_moves_nothing_and_spoils_nothing():
    drawn = draws()
    broken, sound = (
        image_gradient(loss_of(Ssd(7.5), prior, drawn), drawn.image) for prior in (BrokenPrior(), LinearPrior())
    )
    assert not broken[:, 0, :6].any()
    assert torch.equal(broken[:, 0, 6:], sound[:, 0, 6:])
    assert torch.equal(broken[:, 1:], sound[:, 1:])


def test_a_prior_without_a_finite_word_is_not_covered_up():
    drawn, nothing = draws(), LinearPrior(scale=float("nan"))
    assert image_gradient(loss_of(Sds(7.5), nothing, drawn), drawn.image).isnan().all()


def test_estimating_the_clean_latent_undoes_adding_noise():
    drawn = draws(views=4)
    z = LinearPrior().encode(drawn.image)
    torch.testing.assert_close(x0_estimate(add_noise(z, drawn.noise, drawn.t, CLOCK), drawn.noise, drawn.t, CLOCK), z)


def test_no_gradient_reaches_a_diffusion_prior(tiny_prior_folder):
    prior = load_prior(tiny_prior_folder("embedded"), offline=True)
    generator = torch.Generator().manual_seed(5)
    image = torch.rand(1, 3, 64, 64, generator=generator, requires_grad=True)
    noise = torch.randn(1, *prior.latent_shape, generator=generator)
    shown = torch.rand(1, 3, 128, 128, generator=generator)
    view, plain = (Query(text[None], shown) for text in prior.embed(("a hat, front view", "a hat")))
    z, t = prior.encode(image), torch.tensor([500])
    target, own = prior.predict_noise(add_noise(z, noise, t, prior.alpha_bar), t, [view, plain])
    distilled(z, ssd(target, own, noise), t, prior.alpha_bar).backward()
    assert image.grad is not None
    assert image.grad.any()
    networks = [value for value in vars(prior).values() if isinstance(value, torch.nn.Module)]
    assert all(weight.grad is None for network in networks for weight in network.parameters())
