"""Variational score distillation: a second model learns what is drawn, and a stopped run goes on bit for bit."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from headartist.config.objectives import Sds, Ssd, Vsd
from headartist.objectives.build import build_objective
from headartist.objectives.score import VsdObjective
from headartist.priors.prior import Query
from headartist.system.errors import HeadArtistError
from headartist.training.problem import Problem
from known_priors import GaussianPrior, draws, image_gradient
from test_loop import CONFIG, TEXTURE, interrupt_at, new_folder, run, small_problem
from toys import ToyPrior


class ScaledScore(nn.Module):
    """The prior's prediction times a gain plus a shift for each channel, drawn near 1 and 0, or exactly there."""

    def __init__(self, prior: "TrainablePrior", generator: torch.Generator) -> None:
        super().__init__()
        self._prior = prior
        channels = prior.latent_shape[0]
        self.gain = nn.Parameter(1 + prior.spread * torch.randn(channels, generator=generator))
        self.shift = nn.Parameter(prior.spread * torch.randn(channels, generator=generator))

    def forward(self, z_t: Tensor, t: Tensor, query: Query, _pose: Tensor | None) -> Tensor:
        (noise,) = ToyPrior.predict_noise(self._prior.silent, z_t, t, [query])
        return noise * self.gain.view(1, -1, 1, 1) + self.shift.view(1, -1, 1, 1)


class TrainablePrior(ToyPrior):
    """A toy prior that gives a trainable copy of itself."""

    def __init__(self, spread: float = 0.01) -> None:
        super().__init__()
        self.silent, self.spread = ToyPrior(), spread

    def trainable_copy(self, rank: int, *, posed: bool, generator: torch.Generator) -> nn.Module:
        assert (rank, posed) == (4, True)
        return ScaledScore(self, generator)


VSD = replace(CONFIG, stages=(replace(TEXTURE.with_term(objective=Vsd(rate=0.01)), name="vsd", steps=9), TEXTURE))


def vsd_problem(config=VSD, *, spread: float = 0.01) -> Problem:
    return small_problem(config, TrainablePrior(spread))


@pytest.mark.parametrize("call", [0, 3, 8, 9])
def test_a_run_stopped_at_any_step_equals_the_unbroken_run_bit_for_bit(tmp_path: Path, call: int):
    straight = vsd_problem()
    run(straight, new_folder(tmp_path / "straight", VSD))

    first, folder = vsd_problem(), new_folder(tmp_path / "broken", VSD)
    interrupt_at(first, call)
    with pytest.raises(KeyboardInterrupt):
        run(first, folder)
    second = vsd_problem()
    run(second, folder)
    for name, tensor in straight.avatar.state_dict().items():
        assert torch.equal(second.avatar.state_dict()[name], tensor), name


def test_what_the_second_model_learns_changes_the_head(tmp_path: Path):
    heads = []
    for rate in (0.0, 0.05):
        config = replace(VSD, stages=(VSD.stages[0].with_term(objective=Vsd(rate=rate)),))
        problem = vsd_problem(config)
        run(problem, new_folder(tmp_path / str(rate), config))
        heads.append(problem.avatar.state_dict()["color"])
    assert not torch.equal(*heads)


def test_a_fresh_copy_that_answers_as_the_prior_does_gives_ssd():
    drawn, prior = draws(channels=4), TrainablePrior(spread=0.0)
    found, expected = (
        next(iter(build_objective(config, prior, torch.Generator()).losses(drawn.shot())))
        for config in (Vsd(7.5), Ssd(7.5))
    )
    torch.testing.assert_close(*(image_gradient(loss, drawn.image) for loss in (found, expected)))


def test_the_second_model_learns_the_score_of_a_gaussian():
    """Shown draws of one Gaussian at many noise levels, a linear model comes near its exact score."""

    class Linear(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(10, dtype=torch.float64))
            self.bias = nn.Parameter(torch.zeros(10, 3, 4, 4, dtype=torch.float64))

        def forward(self, z_t: Tensor, t: Tensor, _query: Query, _pose: Tensor | None) -> Tensor:
            level = t * 10 // 1000
            return self.weight[level].view(-1, 1, 1, 1) * z_t + self.bias[level]

    class Prior(GaussianPrior):
        def trainable_copy(self, _rank: int, **_settings: object) -> nn.Module:
            return Linear()

    mean = torch.rand(3, 4, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    prior = Prior(mean=mean)
    objective = build_objective(Vsd(rate=0.02), prior, torch.Generator())
    assert isinstance(objective, VsdObjective)
    generator = torch.Generator().manual_seed(2)
    shot = replace(draws(views=64).shot(), generator=generator)
    for _ in range(400):
        latent = mean + 0.5 * torch.randn(64, 3, 4, 4, generator=generator, dtype=torch.float64)
        picture = prior.decode(latent).requires_grad_()
        look = replace(shot, look=lambda _rows=None, picture=picture: shot.look()._replace(picture=picture))
        list(objective.losses(look))
    z_t, t = torch.randn(50, 3, 4, 4, generator=generator, dtype=torch.float64), torch.full((50,), 550)
    query = Query(torch.zeros(50, 1, 1, dtype=torch.float64))
    (exact,) = prior.predict_noise(z_t, t, [query])
    learned = objective._score(z_t, t, query, None)
    assert (learned - exact).norm() < 0.15 * exact.norm()


def test_a_prior_without_a_trainable_copy_is_refused():
    with pytest.raises(HeadArtistError) as caught:
        build_objective(Vsd(), ToyPrior(), torch.Generator())
    assert (
        str(caught.value)
        == "Vsd trains a copy of its prior, and ToyPrior gives none: use objective=Ssd or objective=Sds."
    )


def test_a_second_model_that_knows_the_noise_gives_sds():
    class Knowing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(()))

        def forward(self, z_t: Tensor, _t: Tensor, _query: Query, _pose: Tensor | None) -> Tensor:
            return shot.noise + 0 * self.weight * z_t

    class Prior(ToyPrior):
        def trainable_copy(self, _rank: int, **_settings: object) -> nn.Module:
            return Knowing()

    drawn, prior = draws(channels=4), Prior()
    shot = drawn.shot()
    losses = (
        next(iter(build_objective(config, prior, torch.Generator()).losses(shot))) for config in (Vsd(9.0), Sds(9.0))
    )
    torch.testing.assert_close(*(image_gradient(loss, drawn.image) for loss in losses))
