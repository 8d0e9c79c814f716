"""Priors a config may ask for. Nothing here needs torch."""

from dataclasses import dataclass
from typing import Literal

from headartist.config.bounds import check_settings


@dataclass(frozen=True)
class StableDiffusion:
    """The prior: a Stable Diffusion folder or id with a landmark ControlNet.

    Attributes:
        model: "embedded" (ships with the package), "sd21", "sd15", a diffusers folder, or an id of the hub.
        controlnet: folder or id of the landmark ControlNet; "own" is the one that belongs to `model`, and "none" judges
            without landmarks.
        dtype: the precision of its networks; "auto" is float16 on CUDA and float32 elsewhere.
    """

    model: str = "embedded"
    controlnet: str = "own"
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"

    def __post_init__(self) -> None:
        check_settings(self, "prior.")


PriorConfig = StableDiffusion
