import sys
from pathlib import Path

import pytest
import torch
import warp

from headartist.geometry.cameras import Cameras, look
from headartist.geometry.mesh import Mesh
from headartist.render import interpolate, rasterize, render_mesh
from headartist.render.kernels import blend as blend_kernels
from headartist.render.kernels import outline as outline_kernels
from headartist.render.kernels import raster as raster_kernels
from headartist.render.kernels import surface as surface_kernels
from headartist.render.normals import unit_normals, vertex_normals
from headartist.system.errors import HeadArtistError
from raster_scenes import BACKENDS, SLOW, Backend, every_backend, icosphere, to_clip

SIZE = 24


def triangle(depth: float = 2.0) -> torch.Tensor:
    """A clip-space triangle at one depth that covers the middle of the picture."""
    xy = torch.tensor([[-0.625, -0.75], [0.75, -0.5], [0.125, 0.75]])
    return torch.cat([xy * depth, torch.zeros(3, 1), torch.full((3, 1), depth)], dim=1)


def tiny_scenes() -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Name -> clip vertices `v 4` and faces."""
    tilted = triangle()
    tilted[:, 3] = torch.tensor([1.0, 2.0, 4.0])
    behind = triangle(3.0) * torch.tensor([-1.0, 1.0, 1.0, 1.0])
    ball, ball_faces = icosphere(1, bumps=0.2)
    return {
        "flat": (triangle(), torch.tensor([[0, 1, 2]])),
        "perspective": (tilted, torch.tensor([[0, 1, 2]])),
        "back side": (triangle(), torch.tensor([[0, 2, 1]])),
        "occluded": (torch.cat([triangle(), behind]), torch.tensor([[3, 4, 5], [0, 1, 2]])),
        "piercing": (torch.cat([tilted, behind]), torch.tensor([[3, 4, 5], [0, 1, 2]])),
        "ball": (to_clip(ball, look(33.0, 12.0))[0], ball_faces),
        "ball over the border": (to_clip(ball + torch.tensor([0.9, 0.4, 0.0]), look(0.0))[0], ball_faces),
    }


SCENES = tiny_scenes()
every_scene = pytest.mark.parametrize("scene", SCENES)


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


@every_backend
@every_scene
def test_barycentrics_are_a_partition_and_reproduce_the_pixel_and_its_depth(backend: Backend, scene: str) -> None:
    verts, faces = (backend.put(tensor) for tensor in SCENES[scene])
    fragments = backend.rasterize(verts[None], faces, SIZE)
    covered = fragments.face >= 0
    assert covered.any()
    assert not covered.all()
    assert (fragments.bary >= 0).all()
    assert torch.allclose(fragments.bary.sum(-1), covered.to(fragments.bary), atol=1e-6)
    x, y, _, w = backend.interpolate(verts, fragments, faces)[covered].unbind(-1)
    centers = (torch.arange(SIZE).to(verts) + 0.5) / SIZE * 2 - 1
    _, row, column = covered.nonzero(as_tuple=True)
    assert torch.allclose(x / w, centers[column], atol=1e-5)
    assert torch.allclose(y / w, -centers[row], atol=1e-5)
    assert torch.allclose(w, fragments.depth[covered], atol=1e-5)
    assert (fragments.depth[~covered] == 0).all()


@every_backend
def test_a_vertex_lands_where_the_camera_projects_it(backend: Backend) -> None:
    cameras = look(torch.tensor([0.0, 25.0, 180.0]), torch.tensor([10.0, -20.0, 40.0]))
    points = torch.tensor([[0.1, 0.6, 0.2], [-0.5, -0.3, 0.1], [0.4, 0.1, -0.6]])
    pixels, depth = cameras.project(points, 64)
    for k, point in enumerate(points):
        for view in range(len(cameras)):
            # A small triangle that faces the camera, around the centre of the pixel that the point falls into.
            center = pixels[view, k].floor() + 0.5
            corner = center + torch.tensor([[-0.4, -0.4], [0.4, -0.4], [0.0, 0.4]])
            single = cameras[view : view + 1]
            verts = single.unproject(corner[None], depth[view, k].expand(1, 3), 64)[0]
            clip = backend.put(to_clip(verts, single))
            fragments = backend.rasterize(clip, backend.put(torch.tensor([[0, 1, 2]])), 64)
            column, row = center.long().tolist()
            assert (fragments.face >= 0).nonzero().tolist() == [[0, row, column]]
            assert fragments.depth[0, row, column].item() == pytest.approx(depth[view, k].item(), rel=1e-5), point


@every_backend
def test_the_top_row_is_up_and_the_first_column_is_left(backend: Backend) -> None:
    verts = torch.tensor([[-0.9, 0.9, 0.0], [-0.2, 0.9, 0.0], [-0.9, 0.2, 0.0]])
    clip = backend.put(to_clip(verts, look(0.0)))
    covered = (backend.rasterize(clip, backend.put(torch.tensor([[0, 1, 2]])), SIZE).face >= 0)[0]
    half = SIZE // 2
    assert covered[:half, :half].any()
    assert covered.sum() == covered[:half, :half].sum()


@every_backend
def test_the_nearer_triangle_wins_and_equals_go_to_the_lower_index(backend: Backend) -> None:
    verts = backend.put(torch.cat([triangle(3.0), triangle(2.0)])[None])
    for faces in ([[0, 1, 2], [3, 4, 5]], [[3, 4, 5], [0, 1, 2]], [[3, 4, 5], [3, 5, 4], [0, 1, 2]]):
        face = backend.rasterize(verts, backend.put(torch.tensor(faces)), SIZE).face
        assert set(face.unique().tolist()) == {-1, faces.index([3, 4, 5])}


@every_backend
def test_neighbours_leave_no_hole(backend: Backend) -> None:
    # Edges run exactly through pixel centres: SIZE columns and a fan whose hub is a centre.
    angle = torch.arange(8) * (torch.pi / 4)
    ring = torch.stack([angle.cos(), angle.sin()], dim=1) * 4
    xy = torch.cat([torch.full((1, 2), 1.0 / SIZE), ring])
    verts = torch.cat([xy, torch.zeros(9, 1), torch.ones(9, 1)], dim=1)
    faces = torch.tensor([[0, 1 + k, 1 + (k + 1) % 8] for k in range(8)])
    assert (backend.rasterize(backend.put(verts[None]), backend.put(faces), SIZE).face >= 0).all()


@pytest.mark.parametrize("backend", [entry for entry in BACKENDS if "torch" not in str(entry)])
@pytest.mark.parametrize(("subdivisions", "size"), [(0, 31), (2, 48), (4, 32)])
def test_fast_equals_slow(backend: Backend, subdivisions: int, size: int) -> None:
    verts, faces = icosphere(subdivisions, bumps=0.2)
    clip = to_clip(verts, look(torch.tensor([20.0, 130.0]), 10.0))
    slow_rasterize, slow_interpolate, _ = SLOW
    slow = slow_rasterize(clip.double(), faces, size)
    fast = backend.rasterize(backend.put(clip), backend.put(faces), size)
    # Vertices are the same float32 numbers, and both decide in float64: even edges agree.
    assert torch.equal(fast.face.cpu().long(), slow.face)
    assert torch.allclose(fast.bary.cpu().double(), slow.bary, atol=1e-6)
    assert torch.allclose(fast.depth.cpu().double(), slow.depth, atol=1e-5)
    attributes = random(2, len(verts), 5)
    assert torch.allclose(
        backend.interpolate(backend.put(attributes), fast, backend.put(faces)).cpu().double(),
        slow_interpolate(attributes.double(), slow, faces),
        atol=1e-6,
    )


def loss(backend: Backend, verts: torch.Tensor, attributes: torch.Tensor, faces: torch.Tensor) -> torch.Tensor:
    """A weighted sum over all that the rasteriser draws."""
    fragments = backend.rasterize(verts[None], faces, SIZE)
    drawn = backend.interpolate(attributes, fragments, faces)
    drawn = torch.cat([drawn, fragments.depth[..., None], fragments.bary], dim=-1)
    return (drawn * backend.put(random(*drawn.shape, seed=1))).sum()


@every_backend
@every_scene
def test_interior_gradients_equal_finite_differences(backend: Backend, scene: str) -> None:
    verts, faces = SCENES[scene]
    attributes = random(len(verts), 3)
    inputs = [backend.put(verts).requires_grad_(), backend.put(attributes).requires_grad_()]
    by_verts, by_attributes = torch.autograd.grad(loss(backend, *inputs, backend.put(faces)), inputs)

    oracle = Backend("torch", *SLOW, "cpu", torch.float64)
    exact, step = [verts.double(), attributes.double()], 1e-7
    visible = oracle.rasterize(exact[0][None], faces, SIZE).face
    for which, gradient in enumerate((by_verts, by_attributes)):
        for seed in range(3):
            direction = random(*gradient.shape, seed=seed).double() - 0.5
            ends = [[*exact[:which], exact[which] + s * direction, *exact[which + 1 :]] for s in (step, -step)]
            assert all(torch.equal(oracle.rasterize(end[0][None], faces, SIZE).face, visible) for end in ends)
            plus, minus = (loss(oracle, *end, faces) for end in ends)
            truth = (plus - minus) / (2 * step)
            assert (gradient.cpu().double() * direction).sum().item() == pytest.approx(truth.item(), rel=1e-3, abs=2e-4)


@every_backend
def test_what_cannot_be_drawn_is_skipped_without_nan(backend: Backend) -> None:
    bad = {
        "behind the camera": torch.tensor([0.0, 0.0, 0.0, -1.0]),
        "at the eye": torch.tensor([0.0, 0.0, 0.0, 0.0]),
        "nan": torch.full((4,), torch.nan),
        "infinite": torch.tensor([torch.inf, 0.0, 0.0, 1.0]),
        "coincident": triangle()[1],
        "collinear": triangle()[:2].mean(0),
    }
    for name, vertex in bad.items():
        # The first triangle is sound, the second shares an edge with it and has the bad corner.
        verts = backend.put(torch.cat([triangle(), vertex[None]])[None]).requires_grad_()
        faces = backend.put(torch.tensor([[0, 1, 2], [0, 1, 3]]))
        fragments = backend.rasterize(verts, faces, SIZE)
        image = backend.interpolate(backend.put(random(4, 2)), fragments, faces)
        drawn = backend.antialias(image, fragments, verts, faces)
        assert set(fragments.face.unique().tolist()) == {-1, 0}, name
        (gradient,) = torch.autograd.grad(drawn.square().sum() + fragments.depth.sum(), verts)
        assert all(tensor.isfinite().all() for tensor in (drawn, fragments.bary, fragments.depth, gradient)), name
        assert (gradient[:, 3] == 0).all(), name


@every_backend
@pytest.mark.parametrize(("views", "count", "triangles"), [(1, 0, 0), (2, 3, 0), (0, 3, 1), (2, 3, 1)])
def test_an_empty_picture_is_empty_and_has_zero_gradient(
    backend: Backend, views: int, count: int, triangles: int
) -> None:
    behind = triangle(-2.0)[:count].expand(views, count, 4)
    verts = backend.put(behind).clone().requires_grad_()
    faces = backend.put(torch.tensor([[0, 1, 2]])[:triangles])
    fragments = backend.rasterize(verts, faces, SIZE)
    image = backend.interpolate(backend.put(random(count, 2)), fragments, faces)
    drawn = backend.antialias(image, fragments, verts, faces)
    assert fragments.face.shape == (views, SIZE, SIZE)
    assert (fragments.face == -1).all()
    assert (drawn == 0).all()
    (gradient,) = torch.autograd.grad(drawn.sum() + fragments.depth.sum(), verts)
    assert (gradient == 0).all()


def test_vertex_normals_equal_the_plain_ones_with_their_gradient() -> None:
    verts, faces = icosphere(2, bumps=0.3)
    weight = random(*verts.shape)
    fast, plain = verts.clone().requires_grad_(), verts.clone().requires_grad_()
    normals, expected = vertex_normals(fast, faces), Mesh(plain, faces).vertex_normals()
    assert torch.allclose(normals, expected, atol=1e-6)
    (normals * weight).sum().backward()
    (expected * weight).sum().backward()
    assert torch.allclose(fast.grad, plain.grad, rtol=1e-4, atol=1e-4)


def test_unit_normals_equal_normalising_with_its_gradient() -> None:
    image = torch.randn(1, 4, 5, 6, generator=torch.Generator().manual_seed(0))
    image[0, 0, 0] = 0
    weight = random(*image.shape)
    fast, plain = image.clone().requires_grad_(), image.clone().requires_grad_()
    expected = torch.cat([torch.nn.functional.normalize(plain[..., :3], dim=-1), plain[..., 3:]], dim=-1)
    drawn = unit_normals(fast)
    assert torch.allclose(drawn, expected, atol=1e-6)
    (drawn * weight).sum().backward()
    (expected * weight).sum().backward()
    assert (fast.grad[0, 0, 0, :3] == 0).all()
    # At the zero vector torch's own gradient is the weight over its epsilon; everywhere else they agree.
    plain.grad[0, 0, 0, :3] = 0
    assert torch.allclose(fast.grad, plain.grad, atol=1e-5)


def ball_frame(verts: torch.Tensor, faces: torch.Tensor, cameras: Cameras, **color: object):
    return render_mesh(Mesh(verts, faces), cameras, 48, torch.tensor([0.2, 0.4, 0.6]), **color)


def test_a_ball_is_drawn_with_its_own_normals_and_depth() -> None:
    verts, faces = icosphere(4)
    cameras = look(torch.tensor([0.0, 70.0, 180.0]), 20.0)
    frame = ball_frame(verts, faces, cameras)
    inside = frame.opacity == 1
    assert 0.2 < frame.opacity.mean() < 0.8
    assert torch.equal(frame.color, torch.tensor([0.2, 0.4, 0.6])[:, None, None].expand_as(frame.color))
    assert (frame.normal[(frame.opacity == 0).expand_as(frame.normal)] == 0).all()
    assert torch.allclose(frame.normal.norm(dim=1, keepdim=True)[inside], torch.ones(()), atol=1e-5)
    # The point that a pixel shows, taken back to the world, is the ball's own normal.
    axis = torch.arange(48) + 0.5
    pixels = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), dim=-1).view(1, -1, 2).expand(3, -1, -1)
    points = cameras.unproject(pixels, frame.depth.flatten(1), 48)
    normals = (points @ cameras.rotation.transpose(1, 2)).transpose(1, 2).view_as(frame.normal)
    error = (normals - frame.normal).norm(dim=1, keepdim=True)
    assert error[inside & (frame.normal[:, 2:] > 0.3)].max() < 0.02


def test_shade_is_called_once_with_the_covered_points_and_equals_vertex_colours() -> None:
    verts, faces = icosphere(2)
    calls = []

    def shade(points: torch.Tensor) -> torch.Tensor:
        calls.append(points)
        return points * 0.25 + 0.5

    cameras = look(torch.tensor([15.0, 200.0]))
    shaded = ball_frame(verts, faces, cameras, shade=shade)
    painted = ball_frame(verts, faces, cameras, vertex_colors=verts * 0.25 + 0.5)
    assert len(calls) == 1
    assert len(calls[0]) == (shaded.depth > 0).sum()
    assert torch.allclose(shaded.color, painted.color, atol=1e-6)
    assert torch.allclose(shaded.color[:, :, 0, 0], torch.tensor([0.2, 0.4, 0.6]), atol=1e-7)
    with pytest.raises(HeadArtistError, match="`shade` and `vertex_colors`"):
        ball_frame(verts, faces, cameras, shade=shade, vertex_colors=verts)


def test_drawing_twice_is_bit_identical_and_every_channel_moves_the_vertices() -> None:
    verts, faces = icosphere(3, bumps=0.2)
    runs = []
    for _ in range(2):
        free = verts.clone().requires_grad_()
        frame = ball_frame(free, faces, look(torch.tensor([10.0, 100.0])), shade=lambda points: points.sigmoid())
        channels = (frame.color, frame.normal, frame.opacity, frame.depth)
        gradients = [torch.autograd.grad(channel.square().sum(), free, retain_graph=True)[0] for channel in channels]
        assert all(gradient.isfinite().all() and gradient.abs().sum() > 0 for gradient in gradients)
        runs.append([*channels, *gradients])
    assert all(torch.equal(first, second) for first, second in zip(*runs, strict=True))


def test_the_fast_path_accepts_any_integers_and_strides() -> None:
    verts, faces = icosphere(1)
    clip = to_clip(verts, look(0.0))
    expected = rasterize(clip, faces, SIZE)
    strided = clip.transpose(1, 2).contiguous().transpose(1, 2)
    for kind in (torch.int16, torch.int32, torch.int64):
        found = rasterize(strided, faces.T.contiguous().T.to(kind), SIZE)
        assert torch.equal(found.face, expected.face)
        assert torch.equal(interpolate(verts, found, faces.to(kind)), interpolate(verts, expected, faces))


@pytest.mark.skipif(sys.platform == "darwin", reason="Warp has no CUDA compiler there")
@pytest.mark.parametrize("kernels", [raster_kernels, outline_kernels, blend_kernels, surface_kernels])
def test_the_same_kernels_compile_for_cuda_without_a_device(kernels: object, tmp_path: Path) -> None:
    warp.compile_aot_module(kernels, arch=80, module_dir=tmp_path)
    assert list(tmp_path.glob("*.sm80.cubin"))
