"""Judging a prior: does it obey text and landmarks on heads it never saw, and what do its samples look like?"""

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from headartist.geometry.cameras import look
from headartist.guidance import Guided, predict
from headartist.heads.landmarks import landmark_map
from headartist.heads.load import load_template
from headartist.objectives.distillation import add_noise, x0_estimate
from headartist.priors.prior import Query
from headartist.priors.stable_diffusion import StableDiffusionPrior
from headartist_foundry.captions import NEGATIVE_WORDS, NORMAL_PREFIX
from headartist_foundry.data import Pictures

SUBJECTS = (
    "an old bald man with a short beard",
    "a young woman with long blonde hair",
    "an Asian woman with short black hair, smiling",
    "a green alien",
    "a middle-aged African man with glasses",
    "an elderly woman with a knitted hat",
    "a marble statue of a woman",
    "a young man with red curly hair, angry",
)
POSES = ((0.0, 5.0), (40.0, 10.0), (95.0, 5.0), (180.0, 10.0))  # azimuth, elevation


GATE_T, GATE_SIDE = 600, 16
"""Where the gate looks: the time step, of a prior whose latents are that wide."""


def gate_timestep(alpha_bar: Tensor, side: int) -> int:
    """The time step that hides as much of a picture from latents `side` wide as `GATE_T` does from `GATE_SIDE`.

    Twice as wide, four places share what was one's, and together they see through twice the noise (Hoogeboom et al.
    2023, simple diffusion): the signal-to-noise ratio must be a quarter.
    """
    ratio = alpha_bar / (1 - alpha_bar)
    return int((ratio - ratio[GATE_T] * (GATE_SIDE / side) ** 2).abs().argmin())


def gate(prior: StableDiffusionPrior, pictures: Pictures, *, count: int = 64) -> dict[str, float]:
    """How much worse the noise prediction gets with the wrong text and with the wrong landmarks, per domain.

    Text counts when the wrong one costs 30 % in colour and 20 % in normals, landmarks when the wrong ones cost 50 %.
    """
    t = gate_timestep(prior.alpha_bar, prior.latent_shape[-1])
    rng = np.random.default_rng(0)
    chosen = rng.permutation(np.flatnonzero(~pictures.spoiled))[:count]
    # Another head's caption and another view's landmarks: the order is shuffled, so neighbours differ in both.
    result: dict[str, float] = {"t": t}
    marks = torch.stack([pictures.landmark_map(i, prior.landmark_size) for i in chosen])
    steps = torch.full((len(chosen),), t)
    for domain in ("colour", "normal"):
        normals = domain == "normal"
        z = prior.encode(torch.stack([pictures.picture(i, normals=normals) for i in chosen]))
        noise = torch.randn(z.shape, generator=torch.Generator().manual_seed(0))
        z_t = add_noise(z, noise, steps, prior.alpha_bar)
        text = prior.embed(tuple(pictures.caption(i, rng, normals=normals, view_words=True) for i in chosen))

        def error(text: Tensor, marks: Tensor, z_t: Tensor = z_t, noise: Tensor = noise) -> float:
            (predicted,) = prior.predict_noise(z_t, steps, [Query(text, marks)])
            return float(F.mse_loss(predicted, noise))

        right = error(text, marks)
        result[f"{domain}_error"] = round(right, 5)
        result[f"{domain}_wrong_text_percent"] = round(100 * (error(text.roll(1, 0), marks) / right - 1), 1)
        result[f"{domain}_wrong_landmarks_percent"] = round(100 * (error(text, marks.roll(1, 0)) / right - 1), 1)
    return result


LANDMARK_GUIDANCE_FROM = 0.6
"""Guidance by the landmarks begins at this noise level, as a share of the schedule. Before it, it would cost what the
text asks for; after it, eyes and mouth find their places (limited intervals: Kynkäänniemi et al. 2024)."""


@torch.no_grad()
def sample(
    prior: StableDiffusionPrior,
    texts: list[str],
    marks: Tensor,
    *,
    cfg_scale: float = 3.0,
    landmark_scale: float = 1.0,
    steps: int = 25,
    seed: int = 0,
) -> Tensor:
    """Pictures in [0, 1] for texts and landmark maps (one each), by deterministic DDIM from one shared noise.

    A `landmark_scale` above 1 guides by the landmarks too, once the noise is below `LANDMARK_GUIDANCE_FROM`: away from
    what the text alone would give.
    """
    negative = prior.embed((", ".join(NEGATIVE_WORDS),)).expand(len(texts), -1, -1)
    cond, uncond = Query(prior.embed(tuple(texts)), marks), Query(negative, marks)
    text = Guided(cond, uncond, cfg_scale)
    both = replace(
        text, cond_no_landmarks=cond._replace(landmark_map=torch.zeros_like(marks)), landmark_scale=landmark_scale
    )
    shape = (1, *prior.latent_shape)
    z = torch.randn(shape, generator=torch.Generator().manual_seed(seed)).repeat(len(texts), 1, 1, 1)
    # The last step has no signal left under zero terminal SNR, where noise and picture cannot be told apart.
    times = torch.linspace(len(prior.alpha_bar) - 2, 0, steps + 1).long()
    for now, then in itertools.pairwise(times):
        t = now.expand(len(texts))
        by_landmarks = landmark_scale != 1 and now <= LANDMARK_GUIDANCE_FROM * len(prior.alpha_bar)
        (noise,) = predict(prior, z, t, both if by_landmarks else text)
        signal, goal = prior.alpha_bar[now], prior.alpha_bar[then]
        x0 = x0_estimate(z, noise, t, prior.alpha_bar).clamp(-12, 12)
        noise = (z - signal.sqrt() * x0) / (1 - signal).sqrt()
        z = goal.sqrt() * x0 + (1 - goal).sqrt() * noise
    return prior.decode(x0).clamp(0, 1)


def sample_sheet(prior: StableDiffusionPrior, path: Path, *, cfg_scale: float = 3.0) -> None:
    """Every subject from every pose, in colour and as normals, under the landmark maps they were given."""
    azimuth, elevation = (torch.tensor(column) for column in zip(*POSES, strict=True))
    views = look(azimuth, elevation, 40.0)
    marks = landmark_map(load_template("open"), views, prior.landmark_size)
    size = (prior.picture_size, prior.picture_size)
    top = F.interpolate(marks, size=size, mode="area")
    rows = [torch.cat([*top, *top], dim=2)]
    for subject in SUBJECTS:
        texts = [f"{prefix} {subject}" for prefix in ("a DSLR portrait of", NORMAL_PREFIX) for _ in POSES]
        rows.append(torch.cat(list(sample(prior, texts, torch.cat([marks, marks]), cfg_scale=cfg_scale)), dim=2))
    sheet = torch.cat(rows, dim=1).permute(1, 2, 0)
    Image.fromarray((sheet * 255).round().byte().numpy()).save(path)
