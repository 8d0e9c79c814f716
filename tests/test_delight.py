"""Laws of de-lighting, on heads whose albedo and light are known."""

import pytest
import torch

from ball_avatar import icosphere
from headartist.export import delit
from headartist.export.delight import LUMINANCE, display, fitted_shading, harmonics, linear

BALL = icosphere(4)
SKIN, HAIR = torch.tensor([0.45, 0.27, 0.20]), torch.tensor([0.05, 0.035, 0.03])
LIGHT = torch.tensor([1.0, 0.20, 0.25, 0.15, 0.05, 0.08, -0.05, 0.04, 0.03])


def albedo(points: torch.Tensor) -> torch.Tensor:
    """Skin, with dark hair on the crown, in linear light."""
    return torch.where(points[:, 1:2] > 0.55, HAIR, SKIN)


def lit(points: torch.Tensor) -> torch.Tensor:
    """The unit ball's points are its normals."""
    return display(albedo(points) * (harmonics(points) @ LIGHT)[:, None])


def uneven(colors: torch.Tensor) -> float:
    """How far the brightness of linear colours varies, as a share of its mean."""
    luminance = colors @ torch.tensor(LUMINANCE)
    return float(luminance.std() / luminance.mean())


def test_linear_and_display_undo_each_other():
    values = torch.linspace(0, 1, 1001)
    assert torch.allclose(display(linear(values)), values, atol=1e-5)
    assert linear(torch.tensor(0.5)) == pytest.approx(0.2140, abs=1e-4)


def test_the_light_on_a_shaded_head_is_taken_out():
    skin = BALL.verts[BALL.verts[:, 1] < 0.5]
    before, after = linear(lit(skin)), linear(delit(BALL, lit)(skin))
    assert uneven(before) > 0.15
    assert uneven(after) < 0.1 * uneven(before)
    # The hue stays: the light was white.
    assert torch.allclose(after / after.sum(-1, keepdim=True), (SKIN / SKIN.sum()).expand_as(after), atol=2e-3)


def test_dark_hair_is_not_taken_for_shade():
    crown, skin = BALL.verts[BALL.verts[:, 1] > 0.6], BALL.verts[BALL.verts[:, 1] < 0.5]
    color = delit(BALL, lit)
    ratio = (linear(color(crown)).mean(0) / linear(color(skin)).mean(0))[0]
    assert ratio == pytest.approx(float(HAIR[0] / SKIN[0]), rel=0.2)


def test_a_head_in_even_light_stays_as_it_is():
    def even(points: torch.Tensor) -> torch.Tensor:
        return display(albedo(points))

    assert (delit(BALL, even)(BALL.verts) - even(BALL.verts)).abs().max() < 0.01


def test_the_weights_of_a_known_light_are_found():
    found = fitted_shading(BALL.verts, 0.3 * harmonics(BALL.verts) @ LIGHT)
    assert torch.allclose(found, 0.3 * LIGHT, atol=3e-3)


def test_colours_stay_colours():
    def harsh(points: torch.Tensor) -> torch.Tensor:
        return (0.5 + 0.7 * points).clamp(0, 1)

    colors = delit(BALL, harsh)(BALL.verts)
    assert torch.isfinite(colors).all()
    assert colors.min() >= 0
    assert colors.max() <= 1


def test_the_same_head_gives_the_same_colours():
    assert torch.equal(delit(BALL, lit)(BALL.verts), delit(BALL, lit)(BALL.verts))
