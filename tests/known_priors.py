"""Priors whose predictions can be written down, and the random pictures and texts they are asked about."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from headartist.priors import Conditions, Noise

CLOCK = torch.cumprod(1 - torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2, 0)


@dataclass(frozen=True)
class LinearPrior:
    """Predicts `scale z_t + text`, and encodes by averaging 2 x 2 pixels: everything is known in closed form."""

    alpha_bar: Tensor = CLOCK
    scale: float = 0.7
    picture_size: int = 8
    landmark_size: int = 0
    latent_shape: tuple[int, int, int] = (3, 4, 4)

    def encode(self, image: Tensor) -> Tensor:
        return torch.nn.functional.avg_pool2d(image, 2)

    def decode(self, latent: Tensor) -> Tensor:
        return latent.repeat_interleave(2, -1).repeat_interleave(2, -2)

    def embed(self, texts: tuple[str, ...]) -> Tensor:
        return torch.tensor([[[float(len(text))]] for text in texts])

    def predict_noise(self, z_t: Tensor, _t: Tensor, conditions: Conditions) -> Noise:
        plain = conditions.text if conditions.plain is None else conditions.plain
        texts = (conditions.text, conditions.negative, plain)
        return Noise(*(self.scale * z_t + text.mean((1, 2)).view(-1, 1, 1, 1) for text in texts))


@dataclass(frozen=True)
class GaussianPrior(LinearPrior):
    """The exact noise predictor of latents drawn from `Normal(mean, 0.5^2)`."""

    mean: Tensor = field(default_factory=lambda: torch.zeros(3, 4, 4))

    def predict_noise(self, z_t: Tensor, t: Tensor, _conditions: Conditions) -> Noise:
        signal = self.alpha_bar[t].view(-1, 1, 1, 1)
        noise = (1 - signal).sqrt() * (z_t - signal.sqrt() * self.mean) / (signal * 0.25 + 1 - signal)
        return Noise(noise, noise, noise)


def draws(views: int = 2, seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Conditions]:
    """Random pictures, steps, noise and texts, in float64."""
    generator = torch.Generator().manual_seed(seed)
    image = torch.rand(views, 3, 8, 8, generator=generator, dtype=torch.float64, requires_grad=True)
    t = torch.randint(20, 980, (views,), generator=generator)
    noise = torch.randn(views, 3, 4, 4, generator=generator, dtype=torch.float64)
    view, negative, plain = torch.randn(3, views, 5, 6, generator=generator, dtype=torch.float64)
    return image, t, noise, Conditions(view, negative, plain, None)


def image_gradient(loss, image: Tensor) -> Tensor:
    return torch.autograd.grad(loss, image)[0]
