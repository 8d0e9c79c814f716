"""Laws of the hash encoding and its networks."""

from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch
import warp as wp

from headartist import launch
from headartist.fields import Field, HashEncoding, Mlp, encode_reference, hash_levels

# A dense level, a level at the table's edge, hashed levels up to the paper's finest.
LEVELS = hash_levels(6, 5, 3.0, 10)

DEVICES = [
    "cpu",
    pytest.param("cuda", marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA")]),
]


def _encoding(device: str = "cpu") -> HashEncoding:
    encoding = HashEncoding(LEVELS, torch.Generator().manual_seed(0))
    with torch.no_grad():
        encoding.table.mul_(1e4)  # to the size of 1, where errors show
    return encoding.to(device)


def _points(count: int, device: str = "cpu") -> torch.Tensor:
    corners = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 3)
    inner = torch.rand(count, 3, generator=torch.Generator().manual_seed(1))
    return torch.cat([corners, inner, inner * 3 - 1]).to(device)  # some are outside


def test_the_papers_levels_run_from_16_to_4096_in_tables_of_524288():
    levels = hash_levels(16, 16, 1.447269, 19)
    assert levels[0].resolution == 16
    assert levels[-1].resolution in (4095, 4096)
    assert not levels[0].hashed
    assert levels[-1].hashed
    assert max(level.entries for level in levels) == 2**19
    for level, following in pairwise(levels):
        assert following.start == level.start + level.entries


@pytest.mark.parametrize("device", DEVICES)
def test_the_kernel_equals_its_plain_twin_in_value_and_gradient(device):
    encoding, points = _encoding(device), _points(500, device)
    table = encoding.table.detach().clone().requires_grad_()
    fast, slow = encoding(points), encode_reference(points, table, LEVELS)
    torch.testing.assert_close(fast, slow)
    weight = torch.randn(slow.shape, generator=torch.Generator().manual_seed(2)).to(device)
    (fast * weight).sum().backward()
    (slow * weight).sum().backward()
    torch.testing.assert_close(encoding.table.grad, table.grad)


def test_the_twins_gradient_is_that_of_finite_differences():
    levels = hash_levels(3, 2, 2.0, 4)
    table = torch.randn(sum(level.entries for level in levels), 2, generator=torch.Generator().manual_seed(0))
    points = _points(4).double()
    assert torch.autograd.gradcheck(
        lambda t: encode_reference(points, t, levels), table.double().requires_grad_(), fast_mode=True
    )


@pytest.mark.parametrize("axis", range(3))
def test_the_encoding_is_continuous_across_cell_faces(axis):
    encoding = _encoding()
    for level in LEVELS[:3]:
        points = torch.rand(50, 3, generator=torch.Generator().manual_seed(3))
        points[:, axis] = torch.arange(50) % (level.resolution - 1) + 1
        points[:, axis] /= level.resolution
        step = torch.zeros(3)
        step[axis] = 1e-6
        below, above = encoding(points - step), encoding(points + step)
        # Features of size 1 change by 2 cells' worth at most: 2e-6 times the finest resolution.
        assert (above - below).abs().max() < 4 * 2e-6 * LEVELS[-1].resolution


def test_the_encoding_at_a_grid_vertex_is_that_vertexs_feature():
    encoding, level = _encoding(), LEVELS[0]
    x, y, z = 2, 3, 4
    features = encoding(torch.tensor([[x, y, z]]) / level.resolution)
    entry = (x * (level.resolution + 1) + y) * (level.resolution + 1) + z
    torch.testing.assert_close(features[0, :2], encoding.table[entry], atol=1e-5, rtol=1e-5)


def test_points_outside_the_cube_get_the_nearest_points_features():
    encoding = _encoding()
    points = torch.tensor([[-3.0, 0.4, 0.5], [0.2, 7.0, 1.5]])
    assert torch.equal(encoding(points), encoding(points.clamp(0, 1)))


def test_forward_and_backward_repeat_bit_for_bit_on_the_cpu():
    def gradient() -> torch.Tensor:
        encoding = _encoding()
        encoding(_points(2_000)).square().sum().backward()
        return encoding.table.grad

    assert torch.equal(gradient(), gradient())


def test_points_that_want_a_gradient_are_refused():
    with pytest.raises(ValueError, match="detach"):
        _encoding()(torch.rand(2, 3, requires_grad=True))


def test_no_points_give_no_features():
    assert _encoding()(torch.zeros(0, 3)).shape == (0, 2 * len(LEVELS))


def test_an_mlp_has_the_layers_it_is_asked_for():
    mlp = Mlp(6, 3, width=8, depth=2, generator=torch.Generator().manual_seed(0))
    assert [tuple(p.shape) for p in mlp.parameters()] == [(8, 6), (8,), (8, 8), (8,), (3, 8), (3,)]


def test_a_field_learns_a_sphere():
    generator = torch.Generator().manual_seed(0)
    field = Field(hash_levels(4, 4, 1.6, 12), 1, radius=1.0, width=16, depth=1, generator=generator)
    points = torch.rand(4_000, 3, generator=generator) * 2 - 1
    target = points.norm(dim=1) - 0.6
    optimiser = torch.optim.Adam(field.parameters(), lr=1e-2)
    for _ in range(150):
        optimiser.zero_grad()
        loss = (field(points)[:, 0] - target).square().mean()
        loss.backward()
        optimiser.step()
    assert loss.sqrt() < 0.02


def test_draws_come_from_the_generator_alone():
    def make(seed: int) -> list[torch.Tensor]:
        generator = torch.Generator().manual_seed(seed)
        return list(Field(LEVELS, 1, radius=1.0, width=8, depth=1, generator=generator).parameters())

    torch.manual_seed(0)
    first = make(5)
    torch.manual_seed(1)
    assert all(torch.equal(a, b) for a, b in zip(first, make(5), strict=True))
    assert not torch.equal(first[0], make(6)[0])


@pytest.mark.parametrize("has_levels", [True, False])
def test_warp_is_told_to_be_quiet_in_new_releases_and_old(monkeypatch, has_levels):
    settings = SimpleNamespace(log_level=wp.LOG_INFO) if has_levels else SimpleNamespace(quiet=False)
    monkeypatch.setattr(wp, "config", settings)
    monkeypatch.setattr(wp, "init", lambda: None)
    launch._start_warp.__wrapped__()
    assert settings == (SimpleNamespace(log_level=wp.LOG_WARNING) if has_levels else SimpleNamespace(quiet=True))
