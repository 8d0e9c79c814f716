"""Samples of a prior, under captions and landmark maps."""

import itertools
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from headartist.geometry.cameras import look
from headartist.guidance import Guided, predict
from headartist.heads.landmarks import landmark_map
from headartist.heads.load import load_template
from headartist.objectives.distillation import x0_estimate
from headartist.priors.prior import Query
from headartist.priors.stable_diffusion import StableDiffusionPrior
from headartist_foundry.data.captions import NEGATIVE_WORDS, NORMAL_PREFIX

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
    """Sample pictures in [0, 1] by deterministic DDIM.

    Texts and landmark maps are one each; all start from one shared noise. A `landmark_scale` above 1 guides by the
    landmarks too, once the noise is below `LANDMARK_GUIDANCE_FROM`: away from what the text alone would give.
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
    """Write every subject from every pose as one picture.

    It shows them in colour and as normals, under the landmark maps they were given.
    """
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
