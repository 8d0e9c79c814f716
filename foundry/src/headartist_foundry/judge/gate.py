"""The gate: does a prior obey text and landmarks?

It is asked about heads that it never saw.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from headartist.objectives.distillation import add_noise
from headartist.priors.prior import Query
from headartist.priors.stable_diffusion import StableDiffusionPrior
from headartist_foundry.data.pictures import Pictures

GATE_T, GATE_SIDE = 600, 16
"""Where the gate looks: the time step, of a prior whose latents are that wide."""


def gate_timestep(alpha_bar: Tensor, side: int) -> int:
    """Find the time step that hides as much of a picture.

    From latents `side` wide it hides as much as `GATE_T` does from `GATE_SIDE`. Twice as wide, four places share what
    was one's, and together they see through twice the noise (Hoogeboom et al. 2023, simple diffusion): the signal-to-
    noise ratio must be a quarter.
    """
    ratio = alpha_bar / (1 - alpha_bar)
    return int((ratio - ratio[GATE_T] * (GATE_SIDE / side) ** 2).abs().argmin())


def gate(prior: StableDiffusionPrior, pictures: Pictures, *, count: int = 64) -> dict[str, int | float]:
    """Measure what wrong text and wrong landmarks cost, per domain.

    The cost is in the error of the predicted noise. Text counts when the wrong one costs 30 % in colour and 20 % in
    normals, landmarks when the wrong ones cost 50 %.
    """
    t = gate_timestep(prior.alpha_bar, prior.latent_shape[-1])
    rng = np.random.default_rng(0)
    chosen = rng.permutation(np.flatnonzero(~pictures.spoiled))[:count].tolist()
    # Another head's caption and another view's landmarks: the order is shuffled, so neighbours differ in both.
    result: dict[str, int | float] = {"t": t}
    marks = torch.stack([pictures.landmark_map(i, prior.landmark_size) for i in chosen])
    steps = torch.full((len(chosen),), t)
    for domain in ("colour", "normal"):
        normals = domain == "normal"
        z = prior.encode(torch.stack([pictures.picture(i, normals=normals) for i in chosen]))
        noise = torch.randn(z.shape, generator=torch.Generator().manual_seed(0))
        z_t = add_noise(z, noise, steps, prior.alpha_bar)
        text = prior.embed(tuple(pictures.caption(i, rng, normals=normals, view_words=True) for i in chosen))

        def error(text: Tensor, marks: Tensor, z_t: Tensor = z_t, noise: Tensor = noise) -> float:
            """Measure the error under some text and landmarks."""
            (predicted,) = prior.predict_noise(z_t, steps, [Query(text, marks)])
            return float(F.mse_loss(predicted, noise))

        right = error(text, marks)
        result[f"{domain}_error"] = round(right, 5)
        result[f"{domain}_wrong_text_percent"] = round(100 * (error(text.roll(1, 0), marks) / right - 1), 1)
        result[f"{domain}_wrong_landmarks_percent"] = round(100 * (error(text, marks.roll(1, 0)) / right - 1), 1)
    return result
