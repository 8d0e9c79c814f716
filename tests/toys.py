"""A head and a judge so simple that every number of a step can be said in advance, and a step costs nothing."""

from collections.abc import Sequence
from zlib import crc32

import torch
from torch import Tensor, nn

from headartist.avatars.avatar import Material, Parts
from headartist.geometry.cameras import Cameras
from headartist.geometry.mesh import Mesh, laplacian_energy, normal_consistency
from headartist.priors.prior import Query
from headartist.render.frame import Frame
from headartist.render.shading import Shading, lit


class _Table(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.zeros(3))


class ToyAvatar(nn.Module):
    """A tetrahedron of one size whose every pixel has one normal and one colour."""

    def __init__(self) -> None:
        super().__init__()
        self.sdf = nn.Parameter(torch.tensor([0.3, -0.2, 0.5]))
        self.encoding = _Table()
        self.color = nn.Parameter(torch.tensor([0.1, 0.2, 0.3]))
        self.register_buffer("drawn", torch.zeros((), dtype=torch.int64))
        self.seen: list[Cameras] = []

    def render(self, cameras: Cameras, size: int, shading: Shading, background: Tensor) -> Frame:
        if torch.is_grad_enabled():
            self.drawn += 1
            self.seen.append(cameras)
        shape = (len(cameras), 3, size, size)
        tint = torch.sigmoid(self.color + self.encoding.table) if shading.color else background
        frame = Frame(
            color=tint[:, None, None].expand(shape),
            normal=torch.tanh(self.sdf)[:, None, None].expand(shape),
            opacity=torch.ones(shape)[:, :1],
            depth=torch.ones(shape)[:, :1],
            surface=self.surface(),
        )
        return lit(frame, shading.lamps, background) if shading.lamps else frame

    def parameters_by_part(self) -> Parts:
        return {"sdf": {"mlp": [self.sdf]}, "color": {"grid": [self.encoding.table], "mlp": [self.color]}}

    def train_parts(self, names: Sequence[str]) -> None:
        for name, kinds in self.parameters_by_part().items():
            for parameter in (one for parameters in kinds.values() for one in parameters):
                parameter.requires_grad_(name in names)

    def energies(self, frame: Frame) -> dict[str, Tensor]:
        assert frame.surface is not None
        surface = frame.surface
        return {"normal_consistency": normal_consistency(surface), "laplacian": laplacian_energy(surface)}

    def landmarks(self) -> None:
        return None

    def surface(self) -> Mesh:
        verts = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]) * (1 + self.sdf)
        return Mesh(verts, torch.tensor([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]]))

    def to_mesh(self) -> Mesh:
        surface = self.surface()
        return Mesh(surface.verts.detach(), surface.faces)

    def material_at(self, points: Tensor) -> Material:
        return Material(torch.sigmoid(self.color + self.encoding.table).expand_as(points))


class ToyPrior:
    """Predicts that everything is noise but a grey whose shade depends on the text; remembers its questions."""

    alpha_bar = torch.linspace(0.999, 0.001, 1000)
    picture_size = 8
    landmark_size = 16
    latent_shape = (4, 4, 4)
    views_at_once = 1

    def __init__(self) -> None:
        self.texts: dict[str, Tensor] = {}
        self.freed = False
        self.asked: list[tuple[Tensor, Tensor, Sequence[Query]]] = []

    def encode(self, image: Tensor) -> Tensor:
        small = nn.functional.interpolate(image, self.latent_shape[1:], mode="area")
        return torch.cat([small, small.mean(dim=1, keepdim=True)], dim=1)

    def decode(self, latent: Tensor) -> Tensor:
        return nn.functional.interpolate(latent[:, :3], scale_factor=2)

    def embed(self, texts: tuple[str, ...]) -> Tensor:
        for text in texts:
            assert text in self.texts or not self.freed, f"{text!r} came too late"
            self.texts.setdefault(text, torch.full((1, 1), crc32(text.encode()) % 9973 / 9973))
        return torch.stack([self.texts[text] for text in texts])

    def text_of(self, features: Tensor) -> list[str]:
        names = {float(value): text for text, value in self.texts.items()}
        return [names[float(row)] for row in features.flatten()]

    def predict_noise(
        self, z_t: Tensor, t: Tensor, queries: Sequence[Query], _pose: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        self.asked.append((z_t, t, queries))
        signal = self.alpha_bar[t].view(-1, 1, 1, 1)
        shades = (query.text.mean((1, 2)).view(-1, 1, 1, 1) for query in queries)
        return tuple((z_t - signal.sqrt() * shade) / (1 - signal).sqrt() for shade in shades)
