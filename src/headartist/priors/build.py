"""The one choice of a prior, by its config's type."""

from typing import assert_never

import torch

from headartist.config.priors import PriorConfig, StableDiffusion
from headartist.priors.load import load_prior
from headartist.priors.stable_diffusion import StableDiffusionPrior


def build_prior(config: PriorConfig, device: torch.device, *, progress: bool) -> StableDiffusionPrior:
    """Load the prior of a config.

    Args:
        config: which, and its settings.
        device: where it shall live.
        progress: whether to show bars on the terminal.

    Raises:
        HeadArtistError: it cannot be had.
    """
    match config:
        case StableDiffusion():
            return load_prior(
                config.model,
                device=device,
                dtype=None if config.dtype == "auto" else getattr(torch, config.dtype),
                controlnet=None if config.controlnet == "own" else config.controlnet,
                progress=progress,
            )
        case _:
            assert_never(config)
