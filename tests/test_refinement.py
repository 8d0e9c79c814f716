"""The laws of image-space refinement, on priors whose clean estimate can be written down."""

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from headartist import generate
from headartist.config.objectives import Refine
from headartist.config.presets import PAPER, SMOKE
from headartist.config.schedules import Constant, Linear
from headartist.config.text import override
from headartist.guidance import Guided
from headartist.objectives.distillation import add_noise
from headartist.objectives.refine import (
    LEAST_SIGNAL,
    clean_picture,
    denoised,
    difference,
    feature_distance,
    lpips_network,
)
from headartist.priors import Query, load_prior
from headartist.system.errors import HeadArtistError
from headartist.training.problem import judges
from known_priors import CLOCK, GaussianPrior, LinearPrior, draws, image_gradient
from test_loop import TEXTURE, new_folder, run, small_problem, toy_prior
from toys import ToyPrior


@dataclass(frozen=True)
class KnowingPrior(LinearPrior):
    """Knows the one latent there is: whatever it is shown, it finds the noise that leads there, guidance or not."""

    known: Tensor | None = None

    def predict_noise(
        self, z_t: Tensor, t: Tensor, queries: Sequence[Query], _pose: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        signal = self.alpha_bar[t].view(-1, 1, 1, 1)
        noise = (z_t - signal.sqrt() * self.known) / (1 - signal).sqrt()
        return tuple(noise.clone() for _ in queries)


@dataclass(frozen=True)
class SeeingPrior(KnowingPrior):
    """Its features are the picture, and the picture halved in size."""

    def features(self, image: Tensor) -> tuple[Tensor, ...]:
        return image, self.encode(image)


def refine(prior, image: Tensor, guided: Guided, t: Tensor, noise: Tensor, **knobs) -> Tensor:
    """One step's loss, as the objective has it."""
    compare = {name: knobs.pop(name) for name in ("perceptual", "features", "weight") if name in knobs}
    return difference(prior, image, clean_picture(prior, image, guided, t, noise, **knobs), **compare)


def asked() -> tuple[Tensor, Tensor, Tensor, Guided]:
    """Random pictures, steps and noise, and a guided prediction."""
    drawn = draws()
    return drawn.image, drawn.t, drawn.noise, drawn.guided(7.5)


def pictures(prior: LinearPrior, seed: int = 3) -> Tensor:
    """Random pictures that its decoder can make, in float64."""
    latent = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return prior.decode(latent)


@pytest.mark.parametrize("steps", [1, 4])
def test_the_gradient_leads_straight_to_what_the_prior_knows(steps: int):
    known = torch.rand(1, 3, 4, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    prior, (image, t, noise, guided) = KnowingPrior(known=known), asked()
    loss = refine(prior, image, guided, t, noise, ddim_steps=steps)
    missing = image.detach() - prior.decode(known)
    torch.testing.assert_close(loss, missing.square().mean())
    torch.testing.assert_close(image_gradient(loss, image), 2 * missing / missing.numel())


def test_a_picture_that_the_prior_believes_in_stays():
    prior, (_, t, noise, guided) = SeeingPrior(), asked()
    image = pictures(prior).requires_grad_()
    prior = replace(prior, known=prior.encode(image.detach()))
    loss = refine(prior, image, guided, t, noise, perceptual=0.5)
    torch.testing.assert_close(loss, torch.zeros_like(loss), rtol=0, atol=1e-20)
    assert image_gradient(loss, image).abs().max() < 1e-10


def test_a_residual_refinement_takes_no_error_of_the_decoder_for_news():
    prior, (image, t, noise, guided) = KnowingPrior(), asked()
    image = (0.25 + image.detach() / 2).requires_grad_()  # far from black and white, where what is wanted is cut off
    believed = replace(prior, known=prior.encode(image.detach()))
    assert refine(believed, image, guided, t, noise) > 1e-3  # the latent cannot hold the picture
    assert refine(believed, image, guided, t, noise, residual=True) < 1e-20
    # What the prior wants otherwise is asked for as without it: here a little more of everything.
    wanting = replace(prior, known=believed.known + 0.01)
    loss = refine(wanting, image, guided, t, noise, residual=True)
    step = prior.decode(believed.known) - prior.decode(wanting.known)
    torch.testing.assert_close(image_gradient(loss, image), 2 * step / step.numel(), rtol=1e-3, atol=1e-9)


def test_what_the_latent_cannot_hold_is_seen_in_the_picture():
    """A speckle that the encoder averages away has no gradient in the latent, and one here."""
    prior, (_, t, noise, guided) = KnowingPrior(), asked()
    clean = pictures(prior)
    speckled = clean.clone()
    speckled[..., 0, 0] += 0.1
    speckled[..., 1, 1] -= 0.1
    assert torch.allclose(prior.encode(speckled), prior.encode(clean))
    prior, image = replace(prior, known=prior.encode(clean)), speckled.requires_grad_()
    gradient = image_gradient(refine(prior, image, guided, t, noise), image)
    assert (gradient[..., 0, 0] > 0).all()
    assert (gradient[..., 1, 1] < 0).all()
    assert gradient[..., 2:, 2:].abs().max() < 1e-10


def test_pixels_count_by_their_weight():
    known = torch.rand(1, 3, 4, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    prior, (image, t, noise, guided) = KnowingPrior(known=known), asked()
    weight = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    loss = refine(prior, image, guided, t, noise, weight=weight)
    missing = image.detach() - prior.decode(known)
    torch.testing.assert_close(image_gradient(loss, image), 2 * weight * missing / missing.numel())


def test_pictures_are_compared_at_the_priors_size():
    known = torch.full((1, 3, 4, 4), 0.25, dtype=torch.float64)
    prior, (_, t, noise, guided) = KnowingPrior(known=known), asked()
    large = torch.full((2, 3, 24, 24), 0.75, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(refine(prior, large, guided, t, noise), torch.tensor(0.25, dtype=torch.float64))


def test_a_clock_that_ends_in_pure_noise_is_read_where_there_is_signal():
    clock = CLOCK * (1 - torch.linspace(0, 1, len(CLOCK), dtype=torch.float64))
    assert clock[-1] == 0
    prior, (image, _, noise, guided) = LinearPrior(alpha_bar=clock), asked()
    last = int((clock >= LEAST_SIGNAL).sum()) - 1
    found, expected = (
        image_gradient(refine(prior, image, guided, torch.tensor([t, t]), noise), image) for t in (999, last)
    )
    assert found.isfinite().all()
    assert torch.equal(found, expected)


def test_one_step_is_the_estimate_of_one_prediction_and_more_steps_come_closer():
    """On a Gaussian of spread 0.5 the flow that DDIM follows keeps a point's place among all points."""
    mean = torch.full((3, 4, 4), 0.4, dtype=torch.float64)
    prior, (_, _, noise, guided) = GaussianPrior(mean=mean), asked()
    z = mean + 0.5 * torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    t = torch.tensor([700, 700])
    z_t, signal = add_noise(z, noise, t, CLOCK), CLOCK[700]
    conditional_mean = mean + 0.25 * signal.sqrt() / (0.25 * signal + 1 - signal) * (z_t - signal.sqrt() * mean)
    torch.testing.assert_close(denoised(prior, z_t, t, guided), conditional_mean)
    flowed = mean + 0.5 * (z_t - signal.sqrt() * mean) / (0.25 * signal + 1 - signal).sqrt()
    estimates = [denoised(prior, z_t, t, guided, steps=steps) for steps in (1, 4, 16, 64)]
    errors = [float((estimate - flowed).norm()) for estimate in estimates]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.1 * errors[0]


def test_an_entry_that_the_prior_loses_moves_nothing():
    class Losing(KnowingPrior):
        def predict_noise(
            self, z_t: Tensor, t: Tensor, queries: Sequence[Query], _pose: Tensor | None = None
        ) -> tuple[Tensor, ...]:
            noise = super().predict_noise(z_t, t, queries)
            noise[0][:, 0, 0, 0] = torch.nan
            return noise

    _, t, noise, guided = asked()
    image = pictures(LinearPrior()).requires_grad_()
    known = torch.zeros(1, 3, 4, 4, dtype=torch.float64)
    gradient = image_gradient(refine(Losing(known=known), image, guided, t, noise), image)
    assert not gradient[:, 0, :2, :2].any()
    assert gradient[:, 1:].abs().min() > 0


def test_the_feature_distance_is_nothing_for_equal_pictures_and_blind_to_the_strength_of_features():
    prior = SeeingPrior()
    image, other = pictures(prior, 4), pictures(prior, 5)
    assert feature_distance(prior, image, image) == 0
    assert 0 < float(feature_distance(prior, image, other)) <= 4
    torch.testing.assert_close(feature_distance(prior, 0.5 * image, other), feature_distance(prior, image, other))
    torch.testing.assert_close(feature_distance(prior, other, image), feature_distance(prior, image, other))


def test_features_are_not_asked_of_a_prior_that_has_none():
    prior, (image, t, noise, guided) = LinearPrior(), asked()
    with pytest.raises(HeadArtistError) as caught:
        refine(prior, image, guided, t, noise, perceptual=0.1)
    assert str(caught.value) == "LinearPrior has no features to compare pictures by: use perceptual=0."


def test_features_that_are_missing_are_missed_before_the_first_step(tmp_path):
    *others, refinement = PAPER.stages
    stages = (*others, refinement.with_term(objective=Refine(perceptual=0.1)))
    config = replace(SMOKE, stages=stages, run=replace(SMOKE.run, device="cpu"))
    with pytest.raises(HeadArtistError, match="ToyPrior has no features"):
        generate("a clown", config, prior=ToyPrior(), out=tmp_path / "head", progress=False)
    assert list(tmp_path.iterdir()) == []


class FakeLpips(torch.nn.Module):
    """Stands for `lpips.LPIPS`, whose weights no test can fetch: the squared difference of brightness, of each pair."""

    made = 0

    def __init__(self, net: str, *, verbose: bool) -> None:
        super().__init__()
        assert (net, verbose) == ("vgg", False)
        FakeLpips.made += 1
        self.weight = torch.nn.Parameter(torch.tensor(3.0, dtype=torch.float64))

    def forward(self, image: Tensor, target: Tensor, *, normalize: bool) -> Tensor:
        assert normalize
        return self.weight * (image.mean((1, 2, 3), keepdim=True) - target.mean((1, 2, 3), keepdim=True)).square()


@pytest.fixture
def lpips_at_hand(monkeypatch: pytest.MonkeyPatch):
    """A machine on which the package and its weights are there."""
    monkeypatch.setitem(sys.modules, "lpips", SimpleNamespace(LPIPS=FakeLpips))
    monkeypatch.setattr(FakeLpips, "made", 0)
    lpips_network.cache_clear()
    yield
    lpips_network.cache_clear()


def test_pictures_may_be_compared_by_lpips_which_is_made_once_and_stays_frozen(lpips_at_hand):
    known = torch.full((1, 3, 4, 4), 0.25, dtype=torch.float64)
    prior, (_, t, noise, guided) = KnowingPrior(known=known), asked()
    image = torch.full((2, 3, 8, 8), 0.75, dtype=torch.float64, requires_grad=True)
    for _ in range(2):
        loss = refine(prior, image, guided, t, noise, perceptual=0.1, features="lpips")
        torch.testing.assert_close(loss, torch.tensor(0.25 + 0.1 * 3 * 0.25, dtype=torch.float64))
    assert image_gradient(loss, image).abs().min() > 0
    assert FakeLpips.made == 1
    assert not any(weight.requires_grad for weight in lpips_network(image.device).parameters())


def test_lpips_that_cannot_be_had_is_missed_before_the_prior_is_loaded(tmp_path, monkeypatch: pytest.MonkeyPatch):
    lpips_network.cache_clear()
    monkeypatch.setitem(sys.modules, "lpips", None)
    asked = [
        "refinement.objective.perceptual=0.1",
        "refinement.objective.features=lpips",
        "run.device=cpu",
        f"prior.model={tmp_path}",
    ]
    with pytest.raises(HeadArtistError) as caught:
        generate("a clown", override(SMOKE, asked), out=tmp_path / "head", progress=False)
    assert re.fullmatch(
        r"LPIPS cannot be had \(import of lpips halted; None in sys.modules\): install lpips with the torchvision of "
        r"this torch \([\w.+]+\) and let it fetch VGG-16's weights once, or use features=prior\.",
        str(caught.value),
    )
    assert list(tmp_path.iterdir()) == []


def test_a_run_refines_by_lpips_with_a_prior_that_has_no_features(tmp_path, lpips_at_hand):
    asked = [f"{stage.name}.steps=1" for stage in SMOKE.stages]
    asked += [
        "refinement.objective.perceptual=0.1",
        "refinement.objective.features=lpips",
        "exports.rig=false",
        "exports.formats=()",
    ]
    head = generate("a clown", override(SMOKE, asked), prior=ToyPrior(), out=tmp_path / "head", progress=False)
    assert FakeLpips.made == 1
    loss = head.config.stages[-1].term.objective
    assert isinstance(loss, Refine)
    assert (loss.perceptual, loss.features) == (0.1, "lpips")


@pytest.mark.parametrize("kind", ["sd21", "embedded"])
def test_a_diffusion_prior_refines_pictures_and_keeps_its_weights(tiny_prior_folder, kind: str):
    prior = load_prior(tiny_prior_folder(kind), offline=True)
    generator = torch.Generator().manual_seed(5)
    image = torch.rand(1, 3, 48, 48, generator=generator, requires_grad=True)
    noise = torch.randn(1, *prior.latent_shape, generator=generator)
    view, negative = prior.embed(("a hat, front view", ""))[:, None]
    shown = torch.rand(1, 3, prior.landmark_size, prior.landmark_size, generator=generator)
    guided = Guided(Query(view, shown), Query(negative, shown), 7.5)
    refine(prior, image, guided, torch.tensor([999]), noise, perceptual=0.5).backward()
    assert image.grad is not None
    assert image.grad.isfinite().all()
    assert image.grad.abs().max() > 0
    sizes = [level.shape[-1] for level in prior.features(image)]
    assert sizes == sorted(sizes, reverse=True)
    networks = [value for value in vars(prior).values() if isinstance(value, torch.nn.Module)]
    assert all(weight.grad is None for network in networks for weight in network.parameters())


def test_a_refinement_stage_turns_the_colours_to_the_text(tmp_path):
    loss = Refine(cfg_scale=1.0, perceptual=0.0)
    stage = replace(TEXTURE.with_term(objective=loss), name="refinement", steps=60, t_max=Linear(0.5, 0.2))
    stage = replace(stage, lit=False, rates=replace(stage.rates, mlp=Constant(0.1), grid=Constant(0.0)))
    problem = small_problem()
    config = replace(problem.config, stages=(stage,), view_text="none")
    problem = replace(problem, config=config, judges=judges(config, lambda _: toy_prior(problem)))
    run(problem, new_folder(tmp_path, config))
    wanted = toy_prior(problem).texts["a head of a clown"].mean()
    found = problem.avatar.material_at(torch.zeros(1, 3)).color[0].detach()
    torch.testing.assert_close(found, wanted.expand(3), rtol=0, atol=0.02)


def test_the_papers_refinement_never_asks_where_there_is_no_signal():
    *_, refinement = PAPER.stages
    assert isinstance(refinement.term.objective, Refine)
    assert all(refinement.t_max(step / 900) <= 0.5 for step in range(900))
