"""A prior of one's own: this one likes everything in one colour, and the head turns to it."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from headartist import generate, presets
from headartist.config.objectives import Sds
from headartist.priors import Query


class ColorPrior:
    """Its picture distribution is a single flat picture, so the noise it predicts is known exactly."""

    picture_size, landmark_size, latent_shape, views_at_once = 32, 0, (3, 32, 32), 1

    def __init__(self, rgb: tuple[float, float, float]) -> None:
        self.alpha_bar = torch.linspace(0.999, 0.01, 1000)
        self.target = torch.tensor(rgb).view(1, 3, 1, 1)

    def encode(self, image: Tensor) -> Tensor:
        """Pictures are their own latents, only smaller."""
        return torch.nn.functional.interpolate(image, (32, 32), mode="area")

    def decode(self, latent: Tensor) -> Tensor:
        """The inverse, as far as there is one."""
        return latent

    def embed(self, texts: tuple[str, ...]) -> Tensor:
        """It does not listen."""
        return torch.zeros(len(texts), 1, 1)

    def predict_noise(
        self,
        z_t: Tensor,
        t: Tensor,
        queries: Sequence[Query],
        pose: Tensor | None = None,  # noqa: ARG002  # it does not look
    ) -> tuple[Tensor, ...]:
        """The noise that leads from the one picture to `z_t`, whatever is asked."""
        signal = self.alpha_bar[t].view(-1, 1, 1, 1)
        noise = (z_t - signal.sqrt() * self.target) / (1 - signal).sqrt()
        return (noise,) * len(queries)


def main(out: Path = Path("heads/examples/teal")) -> None:
    """Colour the template with it."""
    texture = replace(presets.SMOKE.stages[1].with_term(objective=Sds(cfg_scale=1.0)), steps=80, render_size=32)
    config = replace(presets.SMOKE, stages=(texture,))
    head = generate("a head", config, out=out, prior=ColorPrior((0.1, 0.5, 0.5)))
    color = head.avatar.material_at(head.avatar.to_mesh().verts).color.detach().mean(dim=0)
    print(f"mean colour of the head: {[round(float(c), 2) for c in color]}")


if __name__ == "__main__":
    main()
