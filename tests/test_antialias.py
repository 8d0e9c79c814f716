import pytest
import torch

from headartist.geometry.cameras import look
from headartist.render import rasterize
from raster_scenes import BACKENDS, FAST, SLOW, Backend, every_backend, icosphere, to_clip

CAMERA = look(17.0, 11.0, 51.0)


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def weights(size: int) -> torch.Tensor:
    """A smooth function of the picture's plane."""
    along = (torch.arange(size) + 0.5) / size * 2 - 1
    y, x = torch.meshgrid(-along, along, indexing="ij")
    return torch.sin(2.3 * x + 0.4) + torch.cos(1.7 * y - 0.8 * x) + x * y


def motions(verts: torch.Tensor) -> dict[str, torch.Tensor]:
    """Directions in which every vertex moves."""
    outward = torch.nn.functional.normalize(verts, dim=1)
    x, y, z = verts.unbind(1)
    zero = torch.zeros_like(x)
    return {
        "translation x": torch.tensor([1.0, 0.0, 0.0]).expand_as(verts),
        "translation y": torch.tensor([0.0, 1.0, 0.0]).expand_as(verts),
        "scale": verts,
        "rotation about z": torch.stack([-y, x, zero], dim=1),
        "rotation about x": torch.stack([zero, -z, y], dim=1),
        "slow wobble": outward * torch.sin(verts @ torch.tensor([3.0, 1.0, -2.0]) + 0.3)[:, None],
        "fast wobble": outward * torch.sin(verts @ torch.tensor([-6.0, 4.0, 5.0]) + 1.1)[:, None],
    }


def opacity(backend: Backend, clip: torch.Tensor, faces: torch.Tensor, size: int) -> torch.Tensor:
    fragments = backend.rasterize(clip, faces, size)
    return backend.antialias((fragments.face >= 0).to(clip)[..., None], fragments, clip, faces)[..., 0]


def fine_coverage(verts: torch.Tensor, faces: torch.Tensor, size: int) -> torch.Tensor:
    return (rasterize(to_clip(verts, CAMERA), faces, size).face >= 0)[0]


@pytest.mark.parametrize(("subdivisions", "size"), [(2, 64), (3, 128), (5, 64)])
def test_opacity_moves_like_true_coverage(subdivisions: int, size: int) -> None:
    # 5 subdivisions at 64 px: 20,480 triangles, most of them smaller than a pixel.
    verts, faces = icosphere(subdivisions, bumps=0.25)
    step, fine = 0.008, 1024
    weight = weights(fine).double() * (size / fine) ** 2
    truth, moved = [], verts.clone().requires_grad_()
    backend = Backend("warp-cpu", *FAST, "cpu", torch.float32)
    (opacity(backend, to_clip(moved, CAMERA), faces, size)[0] * weights(size)).sum().backward()
    for direction in motions(verts).values():
        ends = [weight[fine_coverage(verts + s * direction, faces, fine)].sum() for s in (step, -step)]
        truth.append((ends[0] - ends[1]) / (2 * step))
    found = torch.stack([(moved.grad * direction).sum() for direction in motions(verts).values()]).double()
    true = torch.stack(truth)
    assert torch.cosine_similarity(found, true, dim=0) > 0.995
    assert found.norm() / true.norm() == pytest.approx(1.0, abs=0.05)


@every_backend
@pytest.mark.parametrize("subdivisions", [1, 3])
def test_opacity_is_nearer_to_true_coverage_than_the_bare_mask(backend: Backend, subdivisions: int) -> None:
    verts, faces = icosphere(subdivisions, bumps=0.25)
    size, fine = 32, 1024
    true = fine_coverage(verts, faces, fine).double().view(size, fine // size, size, -1).mean((1, 3))
    mask = fine_coverage(verts, faces, size).double()
    clip = backend.put(to_clip(verts, CAMERA))
    drawn = opacity(backend, clip, backend.put(faces), size)[0].cpu().double()
    assert (drawn - true).abs().sum() < 0.2 * (mask - true).abs().sum()
    assert drawn.sum().item() == pytest.approx(true.sum().item(), rel=0.005)


@every_backend
def test_a_straight_edge_gives_the_exact_coverage_and_gradient(backend: Backend) -> None:
    # A rectangle whose right side lies at pixel 5 + a: column 5 or 6 is covered in part, rows are cut at the border.
    size, faces = 12, torch.tensor([[0, 1, 2], [0, 2, 3]])
    for reach in (0.05, 0.3, 0.49, 0.6, 0.95):
        right = (5.5 + reach) / size * 2 - 1
        corners = torch.tensor([[-3.0, -3.0], [right, -3.0], [right, 3.0], [-3.0, 3.0]])
        clip = torch.cat([corners, torch.zeros(4, 1), torch.ones(4, 1)], dim=1) * 2
        clip = backend.put(clip[None]).requires_grad_()
        drawn = opacity(backend, clip, backend.put(faces), size)
        row = torch.zeros(size)
        row[:6] = 1
        if reach < 0.5:
            row[5] = 0.5 + reach
        else:
            row[6] = reach - 0.5
        assert torch.allclose(drawn[0].cpu().float(), row.expand(size, size), atol=1e-5)
        (gradient,) = torch.autograd.grad(drawn.sum(), clip)
        # Moving the side by one pixel (2 / size in x_ndc, times w = 2 in clip x) covers one pixel in every row.
        assert gradient[0, :, 0].sum().item() == pytest.approx(size * size / 4, rel=1e-4)
        assert gradient[0, :, 1].sum().item() == pytest.approx(0.0, abs=1e-4)


@every_backend
def test_an_exact_diagonal_counts_once(backend: Backend) -> None:
    size, faces = 16, torch.tensor([[0, 1, 2]])
    corners = torch.tensor([[-3.0, -3.01], [3.0, 2.99], [-3.0, 8.99]])
    clip = backend.put(torch.cat([corners, torch.zeros(3, 1), torch.ones(3, 1)], dim=1)[None]).requires_grad_()
    (gradient,) = torch.autograd.grad(opacity(backend, clip, backend.put(faces), size).sum(), clip)
    # The diagonal of length sqrt(2) * size moves by size / 2 / sqrt(2) pixels for each unit of x.
    assert gradient[0, :, 0].sum().item() == pytest.approx(size * size / 2, rel=0.1)


@every_backend
def test_only_outlines_are_touched(backend: Backend) -> None:
    verts, faces = icosphere(2)
    clip, faces = backend.put(to_clip(verts, CAMERA)), backend.put(faces)
    fragments = backend.rasterize(clip, faces, 48)
    image = backend.put(random(1, 48, 48, 3))
    changed = (backend.antialias(image, fragments, clip, faces) != image).any(-1)
    covered = (fragments.face >= 0).float()[:, None]
    near_both = torch.nn.functional.max_pool2d(covered, 3, 1, 1) > -torch.nn.functional.max_pool2d(-covered, 3, 1, 1)
    assert changed.any()
    assert not (changed & ~near_both[:, 0]).any()


@every_backend
def test_a_shape_in_front_of_another_is_blended_with_it(backend: Backend) -> None:
    # The outline of a small near triangle lies wholly inside a large far one.
    near = torch.tensor([[-0.4, -0.45], [0.5, -0.3], [0.05, 0.55]])
    far = torch.tensor([[-9.0, -9.0], [9.0, -9.0], [0.0, 9.0]])
    verts = torch.cat([torch.cat([near, far]) * 2, torch.zeros(6, 1), torch.full((6, 1), 2.0)], dim=1)
    verts[3:] *= 2
    clip, faces = backend.put(verts[None]).requires_grad_(), backend.put(torch.tensor([[0, 1, 2], [3, 4, 5]]))
    fragments = backend.rasterize(clip, faces, 32)
    drawn = backend.antialias((fragments.face == 0).to(clip)[..., None], fragments, clip, faces)
    assert ((drawn > 0.01) & (drawn < 0.99)).sum() > 20
    (gradient,) = torch.autograd.grad(drawn.sum(), clip)
    assert (gradient[0, :3, :2].abs() > 0.1).any(dim=1).all()
    assert (gradient[0, 3:] == 0).all()


@pytest.mark.parametrize("backend", [entry for entry in BACKENDS if "torch" not in str(entry)])
@pytest.mark.parametrize(("subdivisions", "size"), [(1, 33), (3, 40)])
def test_fast_equals_slow_with_gradients(backend: Backend, subdivisions: int, size: int) -> None:
    verts, faces = icosphere(subdivisions, bumps=0.4)
    faces = faces[: len(faces) - 3 * 4**subdivisions]  # open it, so that borders and back sides are seen too
    clip, image = to_clip(verts, look(torch.tensor([20.0, 130.0]), 10.0)), random(2, size, size, 4)
    results = []
    for one in (backend, Backend("torch", *SLOW, "cpu", torch.float64)):
        inputs = [one.put(clip).requires_grad_(), one.put(image).requires_grad_()]
        fragments = one.rasterize(inputs[0], one.put(faces), size)
        drawn = one.antialias(inputs[1], fragments, inputs[0], one.put(faces))
        gradients = torch.autograd.grad((drawn * one.put(random(*drawn.shape, seed=1))).sum(), inputs)
        results.append([tensor.cpu().double() for tensor in (drawn, *gradients)])
    for fast, slow in zip(*results, strict=True):
        assert torch.allclose(fast, slow, rtol=1e-4, atol=1e-4 * slow.abs().max().item())


def test_gradients_equal_finite_differences_of_the_blend() -> None:
    verts, faces = icosphere(2, bumps=0.3)
    rasterize_slowly, _, antialias_slowly = SLOW
    clip, image = to_clip(verts.double(), CAMERA), random(1, 32, 32, 2).double()
    weight = random(1, 32, 32, 2, seed=1)

    def loss(clip: torch.Tensor) -> torch.Tensor:
        fragments = rasterize_slowly(clip, faces, 32)
        return (antialias_slowly(image, fragments, clip, faces) * weight).sum()

    free = clip.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(free), free)
    for seed in range(4):
        direction = random(*clip.shape, seed=seed).double() - 0.5
        truth = (loss(clip + 1e-7 * direction) - loss(clip - 1e-7 * direction)) / 2e-7
        assert (gradient * direction).sum().item() == pytest.approx(truth.item(), rel=1e-5)
