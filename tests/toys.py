"""A head and a judge so simple that every number of a step can be said in advance, and a step costs nothing."""

from zlib import crc32

import torch
from torch import Tensor, nn

from headartist.cameras import Cameras
from headartist.geometry.mesh import Mesh
from headartist.priors.prior import Conditions, Noise
from headartist.render.frame import Frame


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
        self.colour = nn.Parameter(torch.tensor([0.1, 0.2, 0.3]))
        self.register_buffer("drawn", torch.zeros((), dtype=torch.int64))
        self.seen: list[Cameras] = []

    def render(self, cameras: Cameras, size: int, background: Tensor, *, colour: bool) -> Frame:
        if torch.is_grad_enabled():
            self.drawn += 1
            self.seen.append(cameras)
        shape = (len(cameras), 3, size, size)
        tint = torch.sigmoid(self.colour + self.encoding.table) if colour else background
        return Frame(
            rgb=tint[:, None, None].expand(shape),
            normal=torch.tanh(self.sdf)[:, None, None].expand(shape),
            opacity=torch.ones(shape)[:, :1],
            depth=torch.ones(shape)[:, :1],
        )

    def parts(self) -> dict[str, list[nn.Parameter]]:
        return {"sdf": [self.sdf], "colour": [self.encoding.table, self.colour]}

    def surface(self) -> Mesh:
        verts = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]) * (1 + self.sdf)
        return Mesh(verts, torch.tensor([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]]))

    def to_mesh(self) -> Mesh:
        surface = self.surface()
        return Mesh(surface.verts.detach(), surface.faces)

    def colour_at(self, points: Tensor) -> Tensor:
        return torch.sigmoid(self.colour + self.encoding.table).expand_as(points)


class ToyPrior:
    """Predicts that everything is noise but a grey whose shade depends on the text; remembers its questions."""

    alpha_bar = torch.linspace(0.999, 0.001, 1000)
    picture_size = 8
    landmark_size = 16
    latent_shape = (4, 4, 4)

    def __init__(self) -> None:
        self.texts: dict[str, Tensor] = {}
        self.freed = False
        self.asked: list[tuple[Tensor, Tensor, Conditions]] = []

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

    def predict_noise(self, z_t: Tensor, t: Tensor, conditions: Conditions) -> Noise:
        self.asked.append((z_t, t, conditions))
        signal = self.alpha_bar[t].view(-1, 1, 1, 1)

        def towards(shade: Tensor) -> Tensor:
            return (z_t - signal.sqrt() * shade.view(-1, 1, 1, 1)) / (1 - signal).sqrt()

        plain = conditions.text if conditions.plain is None else conditions.plain
        others = None
        if conditions.others is not None:
            others = torch.stack([towards(text) for text in conditions.others.text])
        blind = towards(conditions.text) if conditions.blind else None
        return Noise(towards(conditions.text), towards(conditions.negative), towards(plain), others, blind)
