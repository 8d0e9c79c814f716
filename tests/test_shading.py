import pytest
import torch

from headartist.config.presets import preset
from headartist.config.text import override
from headartist.render import Frame
from headartist.render.shading import Lamps, lit, sample_lamps
from headartist.system.errors import HeadArtistError

BACKGROUND = torch.tensor([0.2, 0.5, 0.8])


def _frame(normal: tuple[float, float, float], opacity: float, color: float = 0.6) -> Frame:
    one = torch.ones(1, 1, 2, 2)
    rgb = opacity * color * one + (1 - opacity) * BACKGROUND.view(1, 3, 1, 1)
    return Frame(rgb, opacity * torch.tensor(normal).view(1, 3, 1, 1) * one, opacity * one, one)


def _lamp(*towards: float) -> Lamps:
    return Lamps(torch.tensor([towards]), torch.tensor([0.5]))


def test_the_background_is_not_lit():
    frame = _frame((0.0, 0.0, 1.0), opacity=0.0)
    torch.testing.assert_close(lit(frame, _lamp(0.0, 0.0, 1.0), BACKGROUND).color, frame.color)


def test_a_half_covered_pixel_lights_its_covered_half():
    whole = lit(_frame((0.0, 0.0, 1.0), opacity=1.0), _lamp(0.8, 0.0, 0.6), BACKGROUND).color
    half = _frame((0.0, 0.0, 2.0), opacity=0.5)  # normals are unit again after antialiasing only inside
    expected = 0.5 * whole + 0.5 * BACKGROUND.view(1, 3, 1, 1)
    torch.testing.assert_close(lit(half, _lamp(0.8, 0.0, 0.6), BACKGROUND).color, expected)


def test_what_looks_at_the_lamp_is_brighter_than_what_looks_away():
    brightness = [
        float(lit(_frame(normal, opacity=1.0), _lamp(0.6, 0.0, 0.8), BACKGROUND).color.mean())
        for normal in ((0.6, 0.0, 0.8), (0.0, 0.0, 1.0), (-0.8, 0.0, 0.6))
    ]
    assert brightness == sorted(brightness, reverse=True)
    assert brightness[0] > 1.2 * brightness[2]


def test_colours_in_the_dark_keep_a_finite_gradient():
    frame = _frame((0.0, -1.0, 0.0), opacity=1.0)
    color = frame.color.clone().requires_grad_(True)
    dark = Lamps(torch.tensor([[0.0, 1.0, 0.0]]), torch.tensor([0.0]))
    lit(Frame(color, frame.normal, frame.opacity, frame.depth), dark, BACKGROUND).color.sum().backward()
    assert color.grad is not None
    assert color.grad.isfinite().all()
    assert (color.grad > 0).all()


def test_lamps_stand_before_the_head_and_above_it_and_repeat_with_their_seed():
    lamps = sample_lamps(64, torch.Generator().manual_seed(0))
    assert (lamps.towards[:, 1:] > 0).all()
    assert (lamps.towards[:, 0] < 0).any()
    assert (lamps.towards[:, 0] > 0).any()
    torch.testing.assert_close(lamps.towards.norm(dim=1), torch.ones(64))
    torch.testing.assert_close(sample_lamps(64, torch.Generator().manual_seed(0)).ambient, lamps.ambient)


def test_no_light_falls_on_normals():
    with pytest.raises(HeadArtistError, match="geometry is lit but draws normal"):
        override(preset("embedded"), ["geometry.lit=true"])
