"""Laws of the cameras: rigid, invertible, and where docs/conventions.md says they stand."""

from dataclasses import fields, replace

import pytest
import torch
from torch import Tensor

from headartist.geometry.cameras import FAR, NEAR, Cameras, look, sample_cameras, turntable

SIZE = 64


def _uniform(count: int, low: float, high: float, seed: int) -> Tensor:
    draws = torch.rand(count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return low + (high - low) * draws


def _everywhere(count: int = 200) -> Cameras:
    """Random views in double precision, with targets off the origin; the first ones look straight up and down."""
    elevation = _uniform(count, -90, 90, 1)
    elevation[:4] = torch.tensor([90.0, -90.0, 90.0, -90.0])
    return Cameras(
        azimuth_deg=_uniform(count, -360, 360, 0),
        elevation_deg=elevation,
        fov_y_deg=_uniform(count, 5, 110, 2),
        radius=_uniform(count, 2, 15, 3),
        target=_uniform(3 * count, -0.3, 0.3, 4).reshape(count, 3),
    )


CAMERAS = _everywhere()
POINTS = _uniform(150, -0.6, 0.6, 5).reshape(50, 3)


def _in_camera(points: Tensor, cameras: Cameras) -> Tensor:
    """World points in every camera's frame, `b n 3`."""
    return (torch.nn.functional.pad(points, (0, 1), value=1.0) @ cameras.T_camera_world.transpose(1, 2))[..., :3]


def _assert_same(left: Cameras, right: Cameras) -> None:
    for item in fields(Cameras):
        assert torch.equal(getattr(left, item.name), getattr(right, item.name)), item.name


def test_unproject_takes_projected_points_back():
    pixels, depth = CAMERAS.project(POINTS, SIZE)
    assert (depth > 0).all()
    torch.testing.assert_close(CAMERAS.unproject(pixels, depth, SIZE), POINTS.expand(len(CAMERAS), -1, -1))


def test_project_takes_unprojected_pixels_back():
    pixels = _uniform(40, -SIZE, 2 * SIZE, 6).reshape(1, 20, 2)
    depth = _uniform(20, NEAR, FAR, 7).reshape(1, 20)
    for index in range(10):
        camera = CAMERAS[index : index + 1]
        again, again_depth = camera.project(camera.unproject(pixels, depth, SIZE)[0], SIZE)
        torch.testing.assert_close(again, pixels)
        torch.testing.assert_close(again_depth, depth)


def test_rotations_are_orthonormal_and_keep_hands():
    rotation = CAMERAS.rotation
    identity = torch.eye(3, dtype=torch.float64).expand_as(rotation)
    torch.testing.assert_close(rotation @ rotation.transpose(1, 2), identity)
    torch.testing.assert_close(torch.linalg.det(rotation), torch.ones(len(CAMERAS), dtype=torch.float64))


def test_the_eye_is_the_origin_of_the_camera_and_the_target_lies_straight_ahead():
    eyes = torch.einsum("bij,bj->bi", CAMERAS.T_camera_world[:, :3, :3], CAMERAS.position)
    torch.testing.assert_close(eyes + CAMERAS.T_camera_world[:, :3, 3], torch.zeros_like(eyes))
    ahead = _in_camera(CAMERAS.target, CAMERAS)[torch.arange(len(CAMERAS)), torch.arange(len(CAMERAS))]
    zero = torch.zeros_like(CAMERAS.radius)
    torch.testing.assert_close(ahead, torch.stack([zero, zero, -CAMERAS.radius], dim=1))
    assert torch.equal(
        CAMERAS.T_camera_world[:, 3], torch.tensor([0.0, 0, 0, 1], dtype=torch.float64).expand(len(CAMERAS), 4)
    )


@pytest.mark.parametrize(
    ("azimuth", "elevation", "eye", "right", "up"),
    [
        (0, 0, (0, 0, 3), (1, 0, 0), (0, 1, 0)),  # sees the face, which looks to +z
        (90, 0, (3, 0, 0), (0, 0, -1), (0, 1, 0)),  # the head's left side
        (-90, 0, (-3, 0, 0), (0, 0, 1), (0, 1, 0)),
        (180, 0, (0, 0, -3), (-1, 0, 0), (0, 1, 0)),
        (0, 90, (0, 3, 0), (1, 0, 0), (0, 0, -1)),  # looks down, the face at the bottom of the picture
        (0, -90, (0, -3, 0), (1, 0, 0), (0, 0, 1)),
        (90, 90, (0, 3, 0), (0, 0, -1), (-1, 0, 0)),
    ],
)
def test_cameras_stand_where_the_conventions_say(azimuth, elevation, eye, right, up):
    camera = look(float(azimuth), float(elevation), radius=3.0)
    torch.testing.assert_close(camera.position[0], torch.tensor(eye).float(), atol=1e-6, rtol=0)
    expected = torch.tensor([right, up, eye]).float() / torch.tensor([[1.0], [1.0], [3.0]])
    torch.testing.assert_close(camera.rotation[0], expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("elevation", [-90.0, 0.0, 90.0])
def test_gradients_are_right_even_straight_above_and_below(elevation):
    def pixels_and_depth(*knobs: Tensor) -> tuple[Tensor, Tensor]:
        return Cameras(*knobs).project(POINTS[:5], SIZE)

    angles = (torch.tensor([value], dtype=torch.float64) for value in (30.0, elevation, 40.0, 3.0))
    knobs = [*angles, torch.tensor([[0.1, -0.2, 0.05]], dtype=torch.float64)]
    assert torch.autograd.gradcheck(pixels_and_depth, [knob.requires_grad_() for knob in knobs])


def test_pixels_run_right_and_down_from_the_top_left_corner():
    camera = look(0.0, 0.0, fov_y_deg=90.0, radius=3.0)  # at the target's depth the picture is 6 units wide
    half_pixel = 3.0 / SIZE
    points = torch.tensor([[0.0, 0, 0], [0, 1, 0], [1, 0, 0], [-3 + half_pixel, 3 - half_pixel, 0], [0, 0, 1]])
    pixels, depth = camera.project(points, SIZE)
    middle, a_unit = SIZE / 2, SIZE / 6
    expected = [[middle, middle], [middle, middle - a_unit], [middle + a_unit, middle], [0.5, 0.5], [middle, middle]]
    torch.testing.assert_close(pixels[0], torch.tensor(expected))
    torch.testing.assert_close(depth[0], torch.tensor([3.0, 3, 3, 3, 2]))


def test_project_is_the_pinhole_of_the_camera_frame():
    x, y, z = _in_camera(POINTS, CAMERAS).unbind(dim=-1)
    pixels, depth = CAMERAS.project(POINTS, SIZE)
    half_height = -z * torch.tan(torch.deg2rad(CAMERAS.fov_y_deg) / 2)[:, None]
    torch.testing.assert_close(depth, -z)
    expected = torch.stack([1 + x / half_height, 1 - y / half_height], dim=-1) * SIZE / 2
    torch.testing.assert_close(pixels, expected)


def test_clip_space_agrees_with_project_and_spans_near_to_far():
    clip = torch.nn.functional.pad(POINTS, (0, 1), value=1.0) @ CAMERAS.clip_from_world.transpose(1, 2)
    pixels, depth = CAMERAS.project(POINTS, SIZE)
    torch.testing.assert_close(clip[..., 3], depth)
    ndc = torch.stack([pixels[..., 0] / SIZE * 2 - 1, 1 - pixels[..., 1] / SIZE * 2], dim=-1)
    torch.testing.assert_close(clip[..., :2] / clip[..., 3:], ndc)

    backward = CAMERAS.rotation[:, 2]
    for distance, z in ((NEAR, -1.0), (FAR, 1.0)):
        point = torch.nn.functional.pad(CAMERAS.position - distance * backward, (0, 1), value=1.0)
        clip = torch.einsum("bij,bj->bi", CAMERAS.clip_from_world, point)
        torch.testing.assert_close(clip[:, 2] / clip[:, 3], torch.full_like(clip[:, 2], z), atol=1e-6, rtol=0)


def test_numbers_and_tensors_may_be_mixed():
    cameras = look(torch.tensor([0.0, 90.0]), 10.0, torch.tensor([40.0]), 2.5)
    assert cameras.azimuth_deg.tolist() == [0.0, 90.0]
    assert cameras.elevation_deg.tolist() == [10.0, 10.0]
    assert cameras.fov_y_deg.tolist() == [40.0, 40.0]
    assert cameras.radius.tolist() == [2.5, 2.5]
    assert torch.equal(cameras.target, torch.zeros(2, 3))


@pytest.mark.parametrize("views", [1, 7, 120])
def test_the_turntable_is_the_papers(views):
    cameras = turntable(views)
    assert len(cameras) == views
    torch.testing.assert_close(cameras.azimuth_deg, torch.linspace(0, 360, views + 1)[:-1])
    for name, value in (("elevation_deg", 15.0), ("fov_y_deg", 45.0), ("radius", 3.0)):
        assert getattr(cameras, name).tolist() == [value] * views
    assert torch.equal(cameras.target, torch.zeros(views, 3))


def test_the_turntable_has_120_views_unless_told():
    assert len(turntable()) == 120


@pytest.mark.parametrize(
    "ranges",
    [
        {},
        {"azimuth_deg": (-20.0, 70.0), "elevation_deg": (-90.0, 90.0), "fov_y_deg": (45.0, 45.0), "radius": (2.0, 9.0)},
    ],
)
def test_random_views_are_uniform_over_their_ranges(ranges):
    count = 4_000
    papers = {"azimuth_deg": (-180, 180), "elevation_deg": (-10, 45), "fov_y_deg": (30, 50), "radius": (3, 3)}
    cameras = sample_cameras(count, torch.Generator().manual_seed(0), **ranges)
    draws = []
    for name, (low, high) in (papers | ranges).items():
        values = getattr(cameras, name)
        assert low <= values.min() <= values.max() <= high
        even = torch.linspace(low, high, count)
        assert (values.sort().values - even).abs().max() <= 0.03 * (high - low)  # the Kolmogorov-Smirnov distance
        if low < high:
            draws.append(values)
    together = torch.corrcoef(torch.stack(draws)) - torch.eye(len(draws))
    assert together.abs().max() < 0.05


@pytest.mark.parametrize("count", [1, 2, 5, 32])
def test_random_views_leave_no_part_of_a_range_out(count):
    cameras = sample_cameras(count, torch.Generator().manual_seed(3), radius=(2.0, 4.0))
    ranges = {"azimuth_deg": (-180, 180), "elevation_deg": (-10, 45), "fov_y_deg": (30, 50), "radius": (2, 4)}
    orders = []
    for name, (low, high) in ranges.items():
        parts = ((getattr(cameras, name) - low) / (high - low) * count).long()
        assert parts.sort().values.tolist() == list(range(count))
        orders.append(tuple(parts.tolist()))
    assert count < 5 or len(set(orders)) == len(orders)  # each range in an order of its own


def test_a_single_random_view_may_be_any():
    generator = torch.Generator().manual_seed(0)
    azimuths = torch.cat([sample_cameras(1, generator).azimuth_deg for _ in range(2_000)])
    even = torch.linspace(-180, 180, 2_000)
    assert (azimuths.sort().values - even).abs().max() <= 0.04 * 360


def test_random_views_follow_from_their_generator_alone():
    generator = torch.Generator().manual_seed(5)
    first, next_ones = sample_cameras(6, generator), sample_cameras(6, generator)
    torch.manual_seed(99)
    _assert_same(first, sample_cameras(6, torch.Generator().manual_seed(5)))
    assert not torch.equal(first.azimuth_deg, next_ones.azimuth_deg)


@pytest.mark.parametrize("index", [slice(2, 9, 3), torch.tensor([4, 0, 4]), torch.arange(200) % 7 == 0])
def test_a_sub_batch_keeps_every_field(index):
    part = CAMERAS[index]
    for item in fields(Cameras):
        assert torch.equal(getattr(part, item.name), getattr(CAMERAS, item.name)[index])
    torch.testing.assert_close(part.clip_from_world, CAMERAS.clip_from_world[index])


def test_moving_to_a_device_keeps_every_field():
    _assert_same(CAMERAS.to("cpu"), CAMERAS)
    elsewhere = CAMERAS.to("meta")
    for item in fields(Cameras):
        moved, stayed = getattr(elsewhere, item.name), getattr(CAMERAS, item.name)
        assert moved.device.type == "meta"
        assert (moved.shape, moved.dtype) == (stayed.shape, stayed.dtype)
    assert elsewhere.project(POINTS.to("meta"), SIZE)[0].device.type == "meta"


def test_moving_the_target_moves_the_eye_alike_and_turns_nothing():
    shift = torch.tensor([0.3, -0.2, 0.1], dtype=torch.float64)
    moved = replace(CAMERAS, target=CAMERAS.target + shift)
    torch.testing.assert_close(moved.position, CAMERAS.position + shift)
    assert torch.equal(moved.rotation, CAMERAS.rotation)
    torch.testing.assert_close(moved.project(POINTS + shift, SIZE), CAMERAS.project(POINTS, SIZE))
