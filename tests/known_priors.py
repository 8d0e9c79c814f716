"""Priors whose predictions can be written down, and the random pictures and texts they are asked about."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from headartist.config.config import ViewText
from headartist.guidance import Guided, StageTexts
from headartist.objectives.objective import Shot, Sight
from headartist.priors import Query

CLOCK = torch.cumprod(1 - torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2, 0)


@dataclass(frozen=True)
class LinearPrior:
    """Predicts `scale z_t + text`, and encodes by averaging 2 x 2 pixels: everything is known in closed form."""

    alpha_bar: Tensor = CLOCK
    scale: float = 0.7
    picture_size: int = 8
    landmark_size: int = 0
    latent_shape: tuple[int, int, int] = (3, 4, 4)
    views_at_once: int = 1

    def encode(self, image: Tensor) -> Tensor:
        return torch.nn.functional.avg_pool2d(image, 2)

    def decode(self, latent: Tensor) -> Tensor:
        return latent.repeat_interleave(2, -1).repeat_interleave(2, -2)

    def embed(self, texts: tuple[str, ...]) -> Tensor:
        return torch.tensor([[[float(len(text))]] for text in texts])

    def predict_noise(
        self, z_t: Tensor, _t: Tensor, queries: Sequence[Query], _pose: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        return tuple(self.scale * z_t + query.text.mean((1, 2)).view(-1, 1, 1, 1) for query in queries)


@dataclass(frozen=True)
class GaussianPrior(LinearPrior):
    """The exact noise predictor of latents drawn from `Normal(mean, 0.5^2)`."""

    mean: Tensor = field(default_factory=lambda: torch.zeros(3, 4, 4))

    def predict_noise(
        self, z_t: Tensor, t: Tensor, queries: Sequence[Query], _pose: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        signal = self.alpha_bar[t].view(-1, 1, 1, 1)
        noise = (1 - signal).sqrt() * (z_t - signal.sqrt() * self.mean) / (signal * 0.25 + 1 - signal)
        return (noise,) * len(queries)


@dataclass(frozen=True)
class Draws:
    """Random pictures, steps, noise and texts, in float64."""

    image: Tensor
    t: Tensor
    noise: Tensor
    view: Tensor
    negative: Tensor
    plain: Tensor

    def shot(self, *, view_text: ViewText = "append") -> Shot:
        """A shot of these pictures."""
        views = len(self.t)
        one = torch.ones(views, 1, 8, 8, dtype=torch.float64)
        texts = StageTexts(self.plain[0], self.negative[0], {"front view": self.view[0]}, view_text)
        return Shot(
            texts=texts,
            t=self.t,
            noise=self.noise,
            azimuth_deg=torch.zeros(views),
            elevation_deg=torch.zeros(views),
            pose=torch.eye(4).expand(views, 4, 4),
            landmark_map=None,
            look=lambda rows=None: Sight(self.image if rows is None else self.image[rows], None, one, one),
            generator=torch.Generator().manual_seed(0),
        )

    def guided(self, cfg_scale: float) -> Guided:
        """The guided prediction under these texts."""
        return Guided(Query(self.view), Query(self.negative), cfg_scale)


def draws(views: int = 2, seed: int = 0, *, channels: int = 3) -> Draws:
    """Random pictures, steps, noise and texts; all views have the same texts."""
    generator = torch.Generator().manual_seed(seed)
    image = torch.rand(views, 3, 8, 8, generator=generator, dtype=torch.float64, requires_grad=True)
    t = torch.randint(20, 980, (views,), generator=generator)
    noise = torch.randn(views, channels, 4, 4, generator=generator, dtype=torch.float64)
    texts = torch.randn(3, 1, 5, 6, generator=generator, dtype=torch.float64).expand(-1, views, -1, -1)
    return Draws(image, t, noise, *texts)


def image_gradient(loss: Tensor, image: Tensor) -> Tensor:
    return torch.autograd.grad(loss, image)[0]
