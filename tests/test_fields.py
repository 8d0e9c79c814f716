"""Laws of the hash encoding and its networks."""

import copy
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch
import warp as wp

from headartist.fields import hash_grid as fields
from headartist.fields.field import Field, Mlp
from headartist.fields.hash_grid import HashEncoding, encode_reference, hash_levels
from headartist.system import warp as launch

# A dense level, a level at the table's edge, hashed levels up to the paper's finest.
LEVELS = hash_levels(6, 5, 3.0, 10)
# Grids that halve each other's cells, so that a face of one is a face of all finer ones, and no coordinate is rounded.
HALVES = hash_levels(3, 4, 2.0, 8)

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


def _noise(like: torch.Tensor, seed: int) -> torch.Tensor:
    return torch.randn(like.shape, generator=torch.Generator().manual_seed(seed)).to(like)


def _gradients(encode: Callable[[torch.Tensor], torch.Tensor], points: torch.Tensor, table: torch.Tensor):
    """Both first derivatives of an encoding, and the first of each by all that it depends on."""
    points = points.clone().requires_grad_()
    features = encode(points)
    grad = _noise(features, 2).requires_grad_()
    to_points, to_table = torch.autograd.grad(features, (points, table), grad, create_graph=True)
    of_points = torch.autograd.grad(to_points, (points, table, grad), _noise(points, 3), retain_graph=True)
    of_table = torch.autograd.grad(to_table, (points, grad), _noise(table, 4))
    return dict(
        zip(
            ("points", "table", "points points", "points table", "points grad", "table points", "table grad"),
            (to_points, to_table, *of_points, *of_table),
            strict=True,
        )
    )


@pytest.mark.parametrize("device", DEVICES)
def test_the_kernels_equal_their_plain_twin_in_every_first_and_second_derivative(device):
    encoding, points = _encoding(device), _points(500, device).T.contiguous().T  # points need not lie in a row
    table = encoding.table.detach().clone().requires_grad_()
    fast = _gradients(encoding, points, encoding.table)
    slow = _gradients(lambda p: encode_reference(p, table, LEVELS), points, table)
    # Of the largest; CUDA may fuse the product and the difference that make a cell's share.
    share = 1e-6 if device == "cpu" else 1e-4
    for name, expected in slow.items():
        allowed = share * float(expected.detach().abs().max())
        torch.testing.assert_close(fast[name], expected, rtol=1e-4, atol=allowed, msg=partial("{}: {}".format, name))


def _inside_cells(count: int) -> torch.Tensor:
    """Points at least a fifth of a cell away from every face of `HALVES`."""
    finest = HALVES[-1].resolution
    generator = torch.Generator().manual_seed(5)
    cells = torch.randint(finest, (count, 3), generator=generator)
    return (cells + 0.2 + 0.6 * torch.rand(count, 3, generator=generator)) / finest


def test_the_twins_first_and_second_derivatives_are_those_of_finite_differences():
    points = torch.cat([_inside_cells(6), _inside_cells(2) + torch.tensor([1.0, 0.0, -1.0])]).double().requires_grad_()
    table = _noise(torch.empty(sum(level.entries for level in HALVES), 2).double(), 0).requires_grad_()

    def encode(p: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return encode_reference(p, t, HALVES)

    assert torch.autograd.gradcheck(encode, (points, table), fast_mode=True)
    assert torch.autograd.gradgradcheck(encode, (points, table), fast_mode=True)


def _slope(encoding: HashEncoding, points: torch.Tensor, grad: torch.Tensor) -> torch.Tensor:
    """The gradient of `features . grad` to the points."""
    return torch.autograd.grad(encoding(points), points, grad, create_graph=True)[0]


@pytest.mark.parametrize("device", DEVICES)
def test_the_kernels_derivatives_are_those_of_finite_differences(device):
    """Features are linear along each axis of a cell and in the table, so differences over long steps are exact."""
    encoding = HashEncoding(HALVES, torch.Generator().manual_seed(0)).to(device)
    with torch.no_grad():
        encoding.table.mul_(1e4)
    points = _inside_cells(40).to(device).requires_grad_()
    grad = _noise(encoding(points), 2).requires_grad_()
    along, step = _noise(points, 3), 0.1 / HALVES[-1].resolution
    slope = _slope(encoding, points, grad)
    second = torch.autograd.grad(slope, (points, encoding.table, grad), along)
    for axis, unit in enumerate(torch.eye(3, device=device)):
        above, below = (points.detach() + s * step * unit for s in (1, -1))
        rise = ((encoding(above) - encoding(below)) * grad).sum(dim=1) / (2 * step)
        torch.testing.assert_close(slope[:, axis], rise, rtol=1e-3, atol=1e-2)
        turn = _slope(encoding, above.requires_grad_(), grad) - _slope(encoding, below.requires_grad_(), grad)
        torch.testing.assert_close(second[0][:, axis], (turn * along).sum(dim=1) / (2 * step), rtol=1e-3, atol=0.1)
    for tensor, gradient in ((encoding.table, second[1]), (grad, second[2])):
        change = _noise(tensor, 6)
        with torch.no_grad():
            tensor.add_(change)
        risen = ((_slope(encoding, points, grad) - slope) * along).sum()
        with torch.no_grad():
            tensor.sub_(change)
        torch.testing.assert_close((gradient * change).sum(), risen, rtol=1e-3, atol=0.1)


@pytest.mark.parametrize("axis", range(3))
def test_across_a_face_only_the_gradient_along_its_normal_jumps_and_the_face_has_the_upper_cells(axis):
    encoding = HashEncoding(HALVES, torch.Generator().manual_seed(0))
    with torch.no_grad():
        encoding.table.mul_(1e4)
    points, step = _inside_cells(50), torch.zeros(3)
    points[:, axis] = (torch.arange(50) % 15 + 1) / 16
    step[axis] = 2.0**-18
    grad = _noise(encoding(points), 2)
    below, at, above = (_slope(encoding, (points + s * step).requires_grad_(), grad) for s in (-1, 0, 1))
    others = [other for other in range(3) if other != axis]
    torch.testing.assert_close(below[:, others], above[:, others], rtol=1e-2, atol=0.1)
    torch.testing.assert_close(at, above, rtol=1e-2, atol=0.1)
    assert ((below - at)[:, axis].abs() > 1).float().mean() > 0.8


def test_along_an_axis_along_which_a_point_is_outside_the_cube_no_derivative_is_left():
    encoding = _encoding()
    points = torch.tensor([[-0.3, 0.4, 0.5], [0.2, 7.0, 0.3], [0.2, 0.3, 1.5], [-1.0, 2.0, 3.0]], requires_grad=True)
    outside = (points < 0) | (points > 1)
    grad = _noise(encoding(points), 2)
    slope = _slope(encoding, points, grad)
    (second,) = torch.autograd.grad(slope.square().sum(), points)
    for derivative in (slope, second):
        assert torch.equal(derivative == 0, outside)


def test_a_gradient_that_is_not_asked_for_is_not_computed(monkeypatch):
    ran: list[str] = []

    def recorded(kernel: wp.Kernel, *arguments: object) -> None:
        ran.append(kernel.key)
        launch.launch(kernel, *arguments)

    monkeypatch.setattr(fields, "launch", recorded)
    encoding, still = _encoding(), torch.rand(5, 3)
    moving = still.clone().requires_grad_()
    for points, wanted, kernels in (
        (still, [encoding.table], ["encode_backward"]),
        (moving, [encoding.table], ["encode_backward"]),
        (moving, [moving], ["encode_points_backward"]),
    ):
        ran.clear()
        torch.autograd.grad(encoding(points).sum(), wanted)
        assert ran == ["encode_forward", *kernels]
    with torch.no_grad():
        assert not encoding(moving).requires_grad


def test_points_that_want_a_gradient_get_the_same_features_as_those_that_do_not():
    encoding, points = _encoding(), _points(100)
    assert torch.equal(encoding(points), encoding(points.clone().requires_grad_()))


def test_a_third_derivative_is_refused():
    encoding, points = _encoding(), torch.rand(5, 3, requires_grad=True)
    slope = _slope(encoding, points, torch.ones(5, 2 * len(LEVELS)))
    (second,) = torch.autograd.grad(slope.sum(), points, create_graph=True)
    with pytest.raises(NotImplementedError, match="encode_reference"):
        second.sum().backward()


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


def test_values_and_derivatives_repeat_bit_for_bit_on_the_cpu():
    def derivatives() -> dict[str, torch.Tensor]:
        encoding = _encoding()
        return _gradients(encoding, _points(2_000), encoding.table)

    again = derivatives()
    assert all(torch.equal(value, again[name]) for name, value in derivatives().items())


def test_no_points_give_no_features_and_no_gradients():
    encoding, points = _encoding(), torch.zeros(0, 3)
    assert encoding(points).shape == (0, 2 * len(LEVELS))
    gradients = _gradients(encoding, points, encoding.table)
    assert gradients["points"].shape == (0, 3)
    assert not gradients["points table"].any()


def test_an_mlp_has_the_layers_it_is_asked_for():
    mlp = Mlp(6, 3, width=8, depth=2, generator=torch.Generator().manual_seed(0))
    assert [tuple(p.shape) for p in mlp.parameters()] == [(8, 6), (8,), (8, 8), (8,), (3, 8), (3,)]


def test_a_field_learns_a_sphere():
    generator = torch.Generator().manual_seed(0)
    field = Field(hash_levels(4, 4, 1.6, 12), 1, radius=1.0, width=16, depth=1, generator=generator)
    points = torch.rand(4_000, 3, generator=generator) * 2 - 1
    target = points.norm(dim=1) - 0.6
    optimizer = torch.optim.Adam(field.parameters(), lr=1e-2)
    for _ in range(150):
        optimizer.zero_grad()
        loss = (field(points)[:, 0] - target).square().mean()
        loss.backward()
        optimizer.step()
    assert loss.sqrt() < 0.02


def test_a_loss_on_normals_has_the_twins_gradients_in_a_field():
    field = Field(HALVES, 1, radius=1.5, width=16, depth=2, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        field.encoding.table.mul_(1e4)
    exact = copy.deepcopy(field).double()
    points = (_inside_cells(200) - 0.5) * 3

    def gradients(values: Callable[[torch.Tensor], torch.Tensor], points: torch.Tensor, parameters):
        density = values(points.requires_grad_())
        (normal,) = torch.autograd.grad(density.sum(), points, create_graph=True)
        loss = (normal.norm(dim=1) - 1).square().mean() + density.square().mean()
        return torch.autograd.grad(loss, (points, *parameters))

    fast = gradients(field, points.clone(), list(field.parameters())[:-1])
    slow = gradients(
        lambda p: exact.mlp(encode_reference(p / 3 + 0.5, exact.encoding.table, HALVES)),
        points.double(),
        list(exact.parameters())[:-1],
    )
    for ours, theirs in zip(fast, slow, strict=True):
        torch.testing.assert_close(ours.double(), theirs, rtol=1e-3, atol=1e-4 * float(theirs.abs().max()))


def test_a_field_learns_a_sphere_from_normals_alone():
    generator = torch.Generator().manual_seed(0)
    field = Field(hash_levels(4, 4, 1.6, 12), 1, radius=1.0, width=16, depth=1, generator=generator)
    points = (torch.rand(2_000, 3, generator=generator) * 2 - 1).requires_grad_()
    outward = torch.nn.functional.normalize(points.detach(), dim=1)
    optimizer = torch.optim.Adam(field.parameters(), lr=1e-2)
    for _ in range(150):
        (slope,) = torch.autograd.grad(field(points).sum(), points, create_graph=True)
        loss = (slope - outward).square().sum(dim=1).mean()
        optimizer.zero_grad()
        loss.backward(inputs=list(field.parameters())[:-1])  # no slope depends on the last bias
        optimizer.step()
    assert loss < 0.1


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
def test_warp_is_told_to_be_quiet_in_new_releases_and_old(monkeypatch, tmp_path, has_levels):
    loud = {"log_level": wp.LOG_INFO} if has_levels else {"quiet": False}
    settings = SimpleNamespace(**loud, kernel_cache_dir=str(tmp_path))
    monkeypatch.setattr(wp, "config", settings)
    monkeypatch.setattr(wp, "init", lambda: None)
    launch._start_warp.__wrapped__()
    quiet = {"log_level": wp.LOG_WARNING} if has_levels else {"quiet": True}
    assert settings == SimpleNamespace(**quiet, kernel_cache_dir=str(tmp_path))
