"""One step of a refinement: which views are fitted, towards what, how much each pixel counts, and how fast."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from headartist.config.objectives import Refine
from headartist.config.schedules import Linear
from headartist.config.stage import Stage
from headartist.geometry.cameras import Cameras
from headartist.guidance import StageTexts
from headartist.objectives import refine as refine_module
from headartist.objectives.build import build_objective
from headartist.objectives.objective import Sight
from headartist.objectives.refine import RefineObjective, clean_picture
from headartist.priors.prior import Query
from headartist.render.frame import Frame
from headartist.render.shading import Shading
from headartist.training.optimizer import make_optimizer
from headartist.training.problem import Problem, judges
from headartist.training.step import Work, train_step
from known_priors import draws
from test_loop import TEXTURE, small_problem, toy_prior
from toys import ToyAvatar, ToyPrior

FITTED = Refine(cfg_scale=1.0, perceptual=0.0, inner_steps=7, views_per_inner_step=3)
STAGE = replace(
    TEXTURE.with_term(objective=FITTED), name="refinement", steps=2, views=5, render_size=ToyPrior.picture_size
)


class TurningAvatar(ToyAvatar):
    """Its colour tells the camera's azimuth, beside what it has learned."""

    def render(self, cameras: Cameras, size: int, shading: Shading, background: Tensor) -> Frame:
        frame = super().render(cameras, size, shading, background)
        return replace(frame, color=frame.color * (0.5 + cameras.azimuth_deg / 720).view(-1, 1, 1, 1))


class SeeingPrior(ToyPrior):
    """Says by its landmarks how bright they are."""

    def predict_noise(
        self, z_t: Tensor, t: Tensor, queries: Sequence[Query], _pose: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        answers = super().predict_noise(z_t, t, queries)
        return tuple(one + query.landmark_map.mean() for one, query in zip(answers, queries, strict=True))


def refining(stage: Stage = STAGE) -> Problem:
    problem = small_problem()
    config = replace(problem.config, stages=(stage,), view_text="none")
    return replace(problem, avatar=TurningAvatar(), config=config, judges=judges(config, lambda _: toy_prior(problem)))


def taken(problem: Problem, stage: Stage, steps: int = 1) -> list[dict[str, float]]:
    """The rows of the stage's first steps."""
    optimizer, generator = make_optimizer(problem.avatar, stage), torch.Generator().manual_seed(0)
    objective = build_objective(stage.term.objective, toy_prior(problem), generator)
    work = Work(stage, problem.avatar, optimizer, problem.judges[0], (objective,))
    return [train_step(problem, work, step, generator) for step in range(steps)]


def test_one_set_of_estimates_is_fitted_by_many_steps_of_a_few_views_each():
    problem = refining()
    taken(problem, STAGE, steps=2)
    assert [len(z_t) for z_t, _, _ in toy_prior(problem).asked] == [5, 5]
    assert [len(cameras) for cameras in problem.avatar.seen] == [3] * 14
    first, second = (
        {azimuth for cameras in seen for azimuth in cameras.azimuth_deg.tolist()}
        for seen in (problem.avatar.seen[:7], problem.avatar.seen[7:])
    )
    assert 3 < len(first) <= 5
    assert not first & second


def test_where_there_are_fewer_views_all_of_them_are_fitted():
    stage = replace(STAGE, views=2)
    problem = refining(stage)
    taken(problem, stage)
    assert [len(cameras) for cameras in problem.avatar.seen] == [2] * 7


def test_each_fit_compares_a_view_with_its_own_estimate_under_its_own_lamp(monkeypatch: pytest.MonkeyPatch):
    """Where the prior wants every picture as it is, no fit finds anything to do."""
    monkeypatch.setattr(refine_module, "clean_picture", lambda _prior, picture, *_, **__: picture)
    problem = refining()
    monkeypatch.setattr(problem.avatar, "sdf", torch.nn.Parameter(torch.tensor([0.3, 0.4, 0.5])))  # normals to be lit
    assert [row["loss"] for row in taken(problem, replace(STAGE, lit=True), steps=2)] == [0, 0]


def test_the_learning_rate_falls_from_fit_to_fit(monkeypatch: pytest.MonkeyPatch):
    rates = []
    step = torch.optim.AdamW.step
    monkeypatch.setattr(
        torch.optim.AdamW, "step", lambda self: (rates.append(self.param_groups[0]["lr"]), step(self))[1]
    )
    stage = replace(STAGE, rates=replace(STAGE.rates, grid=Linear(7.0, 0.0, end=1 / STAGE.steps)))
    taken(refining(stage), stage)
    assert rates == pytest.approx([7, 6, 5, 4, 3, 2, 1])


def test_pixels_count_as_they_face_the_camera():
    """What is seen from behind, or not at all, counts for nothing."""
    facing = torch.linspace(-1, 1, 8).expand(1, 1, 8, 8)
    opacity = torch.ones(1, 1, 8, 8)
    opacity[..., 0, :] = 0
    objective = RefineObjective(replace(FITTED, facing_power=2.0), ToyPrior())
    weight = objective._weight(Sight(torch.zeros(1, 3, 8, 8), None, opacity, facing))
    torch.testing.assert_close(weight, opacity * facing.clamp(min=0) ** 2)


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_landmarks_guide_the_estimate(scale: float):
    prior, drawn = SeeingPrior(), draws(channels=4)
    texts = StageTexts.embed(prior, "a head of a clown", "", "none")
    shot = replace(drawn.shot(), texts=texts, landmark_map=torch.full((2, 3, 16, 16), 0.25))
    guided = shot.target(1.0, landmark_scale=scale)
    assert (guided.cond_no_landmarks is not None) == (scale != 1)
    t, noise = torch.tensor([500, 500]), torch.zeros(2, 4, 4, 4)
    found = clean_picture(prior, torch.full((2, 3, 16, 16), 0.5), guided, t, noise)
    signal = prior.alpha_bar[500]
    shade = prior.texts["a head of a clown"].mean()
    wanted = shade - scale * ((1 - signal) / signal).sqrt() * 0.25
    torch.testing.assert_close(found, wanted.expand_as(found), rtol=1e-4, atol=1e-4)


def test_a_prior_without_landmarks_has_nothing_to_guide_by():
    shot = draws().shot()
    assert shot.landmark_map is None
    assert shot.target(1.0, landmark_scale=3.0).cond_no_landmarks is None


def test_views_are_judged_a_few_at_a_time_and_stand_in_their_order():
    prior, drawn = ToyPrior(), draws(views=19, channels=4)
    image = torch.rand(19, 3, 8, 8, generator=torch.Generator().manual_seed(4))
    t, noise = torch.full((19,), 300), torch.randn(19, 4, 4, 4, generator=torch.Generator().manual_seed(5))
    guided = drawn.guided(1.0)
    found = clean_picture(prior, image, guided, t, noise, residual=True)
    assert [len(z_t) for z_t, _, _ in prior.asked] == [8, 8, 3]
    for view in (0, 9, 18):
        one = slice(view, view + 1)
        alone = clean_picture(prior, image[one], guided.of(one), t[one], noise[one], residual=True)
        torch.testing.assert_close(found[one], alone)
