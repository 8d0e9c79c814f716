"""The laws of score distillation, on priors whose predictions can be written down."""

from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor

from headartist.distillation import add_noise, perp_neg, predict, sds, ssd, vsd, x0_estimate
from headartist.errors import HeadArtistError
from headartist.priors import Conditions, Noise, OtherViews, load_prior
from known_priors import CLOCK, GaussianPrior, LinearPrior, draws, image_gradient


@dataclass(frozen=True)
class BrokenPrior(LinearPrior):
    """A prior that overflows in the first channel."""

    def predict_noise(self, z_t: Tensor, t: Tensor, conditions: Conditions) -> Noise:
        noise = super().predict_noise(z_t, t, conditions)
        noise.cond[:, 0, 0], noise.cond[:, 0, 1], noise.cond[:, 0, 2] = torch.inf, -torch.inf, torch.nan
        return noise


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


def noises(seed: int = 6) -> Noise:
    """Random predictions for two views, with two other views each."""
    cond, uncond, plain, *others = torch.randn(
        5, 2, 3, 4, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )
    return Noise(cond, uncond, plain, torch.stack(others))


WEIGHT = torch.tensor([[-1.5, -0.2], [-0.4, -2.0]], dtype=torch.float64)


def inner(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum((-3, -2, -1))


def test_perp_neg_without_weight_is_classifier_free_guidance():
    predicted = noises()
    for cfg_scale in (0.0, 1.0, 7.5):
        found = perp_neg(predicted, torch.zeros(2, 2, dtype=torch.float64)).guided(cfg_scale)
        assert torch.equal(found, predicted.guided(cfg_scale))


def test_perp_neg_takes_nothing_from_the_text_and_leaves_the_other_predictions():
    predicted = noises()
    found = perp_neg(predicted, WEIGHT)
    text, change = predicted.cond - predicted.uncond, found.cond - predicted.cond
    torch.testing.assert_close(inner(change, text), torch.zeros(2, dtype=torch.float64), rtol=0, atol=1e-12)
    assert (inner(change, change) > 1).all()
    assert torch.equal(found.uncond, predicted.uncond)
    assert torch.equal(found.plain, predicted.plain)


def test_perp_neg_leaves_the_landmarks_their_part():
    predicted = replace(noises(), blind=noises(seed=7).cond)
    found = perp_neg(predicted, WEIGHT)
    torch.testing.assert_close(found.cond - found.blind, predicted.cond - predicted.blind)


def test_perp_neg_moves_away_from_what_is_not_the_text():
    """Its weights are negative, so along what another view adds at right angles to the text it goes backwards."""
    predicted = noises()
    one = Noise(predicted.cond, predicted.uncond, predicted.plain, predicted.others[:1])
    change = perp_neg(one, WEIGHT[:1]).cond - one.cond
    assert (inner(change, one.others[0] - one.uncond) < 0).all()


def test_another_view_that_says_the_same_as_the_text_changes_nothing():
    predicted = noises()
    same = predicted.uncond + 3 * (predicted.cond - predicted.uncond)
    found = perp_neg(Noise(predicted.cond, predicted.uncond, predicted.plain, same[None]), WEIGHT[:1])
    torch.testing.assert_close(found.cond, predicted.cond)


def test_where_the_text_says_nothing_perp_neg_is_finite():
    predicted = noises()
    silent = Noise(predicted.uncond, predicted.uncond, predicted.plain, predicted.others)
    away = (WEIGHT[..., None, None, None] * (predicted.others - predicted.uncond)).sum(0)
    torch.testing.assert_close(perp_neg(silent, WEIGHT).cond, predicted.uncond + away)


def test_an_entry_that_is_not_finite_spoils_no_other_under_perp_neg():
    predicted = noises()
    broken = predicted.cond.clone()
    broken[:, 0, 0, 0] = torch.inf
    found = perp_neg(Noise(broken, predicted.uncond, predicted.plain, predicted.others), WEIGHT).cond
    assert found[:, 1:].isfinite().all()


def test_a_prior_that_knows_no_other_views_says_so():
    prior, (image, t, _, conditions) = LinearPrior(), draws()
    others = OtherViews(conditions.text[None], WEIGHT[:1])
    asked = Conditions(conditions.text, conditions.negative, conditions.plain, None, others)
    with pytest.raises(HeadArtistError) as caught:
        predict(prior, prior.encode(image), t, asked)
    assert str(caught.value) == "The prior does not answer for other views: use view_text=append."


@pytest.mark.parametrize("with_plain", [True, False])
def test_a_diffusion_prior_answers_for_other_views_in_the_same_call(tiny_prior_folder, with_plain: bool):
    prior = load_prior(tiny_prior_folder("sd21"), offline=True)
    generator = torch.Generator().manual_seed(8)
    z_t, t = torch.randn(2, *prior.latent_shape, generator=generator), torch.tensor([300, 600])
    front, side, back, negative, plain = prior.embed(("a hat, front view", "a hat, side view", "back view", "", "hat"))
    pair = [text.expand(2, -1, -1) for text in (front, side, back, negative, plain)]
    shown = torch.rand(2, 3, prior.landmark_size, prior.landmark_size, generator=generator)
    others = OtherViews(torch.stack(pair[1:3]), torch.zeros(2, 2))
    last = pair[4] if with_plain else None
    found = prior.predict_noise(z_t, t, Conditions(pair[0], pair[3], last, shown, others))
    for k, text in enumerate(pair[1:3]):
        alone = prior.predict_noise(z_t, t, Conditions(text, pair[3], last, shown))
        torch.testing.assert_close(found.others[k], alone.cond, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(found.plain, alone.plain if with_plain else found.cond, rtol=1e-4, atol=1e-5)
