"""One step of a refinement: which views are fitted, towards what, how much each pixel counts, and how fast."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from headartist import step as step_module
from headartist.cameras import Cameras
from headartist.conditions import Scene, conditions_of, draw_cameras
from headartist.config import Stage
from headartist.loss_config import Refine
from headartist.priors.prior import Conditions, Noise
from headartist.refinement import clean_picture
from headartist.render.frame import Frame
from headartist.schedules import Linear
from headartist.step import train_step
from headartist.trainer import make_optimiser
from test_trainer import TEXTURE, _scene
from toys import ToyAvatar, ToyPrior

FITTED = Refine(cfg_scale=1.0, perceptual=0.0, fits=7, fit_views=3)
STAGE = replace(TEXTURE, name="refinement", loss=FITTED, steps=2, views=5, render_size=ToyPrior.picture_size)


class TurningAvatar(ToyAvatar):
    """Its colour tells the camera's azimuth, beside what it has learned."""

    def render(self, cameras: Cameras, size: int, background: Tensor, *, colour: bool) -> Frame:
        frame = super().render(cameras, size, background, colour=colour)
        return replace(frame, rgb=frame.rgb * (0.5 + cameras.azimuth_deg / 720).view(-1, 1, 1, 1))


class UnaskedPrior(ToyPrior):
    """A user's own prior, which knows nothing of `Conditions.blind`, and says by its landmarks how bright they are."""

    def predict_noise(self, z_t: Tensor, t: Tensor, conditions: Conditions) -> Noise:
        noise = super().predict_noise(z_t, t, replace(conditions, blind=False))
        assert conditions.landmark_map is not None
        return replace(noise, cond=noise.cond + conditions.landmark_map.mean())


def refining(stage: Stage = STAGE) -> Scene:
    scene = _scene()
    return replace(scene, avatar=TurningAvatar(), config=replace(scene.config, stages=(stage,), view_text="none"))


def taken(scene: Scene, stage: Stage, steps: int = 1) -> list[dict[str, float]]:
    """The rows of the stage's first steps."""
    optimiser, generator = make_optimiser(scene.avatar, stage), torch.Generator().manual_seed(0)
    return [train_step(scene, stage, step, optimiser, generator) for step in range(steps)]


def test_one_set_of_estimates_is_fitted_by_many_steps_of_a_few_views_each():
    scene = refining()
    taken(scene, STAGE, steps=2)
    assert [len(z_t) for z_t, _, _ in scene.prior.asked] == [5, 5]
    assert [len(cameras) for cameras in scene.avatar.seen] == [3] * 14
    first, second = (
        {azimuth for cameras in seen for azimuth in cameras.azimuth_deg.tolist()}
        for seen in (scene.avatar.seen[:7], scene.avatar.seen[7:])
    )
    assert 3 < len(first) <= 5
    assert not first & second


def test_where_there_are_fewer_views_all_of_them_are_fitted():
    stage = replace(STAGE, views=2)
    scene = refining(stage)
    taken(scene, stage)
    assert [len(cameras) for cameras in scene.avatar.seen] == [2] * 7


def test_each_fit_compares_a_view_with_its_own_estimate_under_its_own_lamp(monkeypatch: pytest.MonkeyPatch):
    """Where the prior wants every picture as it is, no fit finds anything to do."""
    monkeypatch.setattr(step_module, "clean_picture", lambda _prior, picture, *_, **__: picture)
    scene = refining()
    monkeypatch.setattr(scene.avatar, "sdf", torch.nn.Parameter(torch.tensor([0.3, 0.4, 0.5])))  # normals to be lit
    assert [row["loss"] for row in taken(scene, replace(STAGE, lit=True), steps=2)] == [0, 0]


def test_the_learning_rate_falls_from_fit_to_fit(monkeypatch: pytest.MonkeyPatch):
    rates = []
    step = torch.optim.AdamW.step
    monkeypatch.setattr(
        torch.optim.AdamW, "step", lambda self: (rates.append(self.param_groups[0]["lr"]), step(self))[1]
    )
    stage = replace(STAGE, rates=replace(STAGE.rates, hash_grid=Linear(7.0, 0.0, begin=0, end=1)))
    taken(refining(stage), stage)
    assert rates == pytest.approx([7, 6, 5, 4, 3, 2, 1])


def test_pixels_count_as_they_face_the_camera():
    """What is seen from behind, or not at all, counts for nothing."""
    normal = torch.zeros(1, 3, 8, 8)
    normal[:, 2] = torch.linspace(-1, 1, 8).expand(1, 8, 8)
    opacity = torch.ones(1, 1, 8, 8)
    opacity[..., 0, :] = 0
    rgb = torch.full((1, 3, 8, 8), 0.5, requires_grad=True)
    frame = Frame(rgb=rgb, normal=normal, opacity=opacity, depth=opacity)
    loss = step_module._shortfall(ToyPrior(), STAGE, replace(FITTED, facing=2.0), frame, torch.zeros(1, 3, 8, 8))
    (gradient,) = torch.autograd.grad(loss, rgb)
    expected = 2 * 0.5 / rgb.numel() * (opacity * normal[:, 2:].clamp(min=0) ** 2).expand_as(rgb)
    torch.testing.assert_close(gradient, expected)


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_landmarks_guide_the_estimate_even_of_a_prior_that_was_never_asked_to(scale: float):
    scene = replace(refining(), prior=UnaskedPrior())
    stage = replace(STAGE, loss=replace(FITTED, landmark_scale=scale), views=2)
    cameras = draw_cameras(scene.config.views, 2, torch.Generator().manual_seed(3))
    conditions = conditions_of(scene, stage, cameras)
    assert conditions.blind == (scale != 1)
    t, noise = torch.tensor([500, 500]), torch.zeros(2, 4, 4, 4)
    image = torch.full((2, 3, 16, 16), 0.5)
    found = clean_picture(scene.prior, image, conditions, t, noise, cfg_scale=1.0, landmark_scale=scale)
    signal = scene.prior.alpha_bar[500]
    shade = scene.prior.texts["a head of a clown"].mean()
    wanted = shade - scale * ((1 - signal) / signal).sqrt() * conditions.landmark_map.mean()
    torch.testing.assert_close(found, wanted.expand_as(found), rtol=1e-4, atol=1e-4)


def test_the_stage_hands_on_its_landmark_scale(monkeypatch: pytest.MonkeyPatch):
    asked = []
    monkeypatch.setattr(
        step_module,
        "clean_picture",
        lambda _prior, picture, *_, landmark_scale, **__: (asked.append(landmark_scale), picture)[1],
    )
    stage = replace(STAGE, loss=replace(FITTED, landmark_scale=3.0))
    scene = refining(stage)
    taken(scene, stage)
    scene.prior.landmark_size = 0  # nothing to guide by
    taken(scene, stage)
    assert asked == [3.0, 1.0]


def test_views_are_judged_a_few_at_a_time_and_stand_in_their_order():
    scene = refining()
    cameras = draw_cameras(scene.config.views, 19, torch.Generator().manual_seed(3))
    conditions = conditions_of(scene, replace(STAGE, views=19), cameras)
    image = torch.rand(19, 3, 8, 8, generator=torch.Generator().manual_seed(4))
    t, noise = torch.full((19,), 300), torch.randn(19, 4, 4, 4, generator=torch.Generator().manual_seed(5))
    options = {"cfg_scale": 1.0, "relative": True}
    found = clean_picture(scene.prior, image, conditions, t, noise, **options)
    assert [len(z_t) for z_t, _, _ in scene.prior.asked] == [8, 8, 3]
    for view in (0, 9, 18):
        one = slice(view, view + 1)
        alone = clean_picture(scene.prior, image[one], conditions[one], t[one], noise[one], **options)
        torch.testing.assert_close(found[one], alone)
