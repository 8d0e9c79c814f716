"""The objectives a stage may have, with their knobs. Nothing here needs torch."""

from dataclasses import dataclass
from typing import Literal

from headartist.errors import HeadArtistError

Features = Literal["prior", "lpips"]


@dataclass(frozen=True)
class Ssd:
    """Self Score Distillation (Eq. 6), with `anchor * (e_plain - noise)` added: 0 is the paper's SSD and 1 is SDS."""

    cfg_scale: float = 7.5
    anchor: float = 0.0


@dataclass(frozen=True)
class Sds:
    """Score Distillation Sampling (Eq. 1)."""

    cfg_scale: float = 100.0


@dataclass(frozen=True)
class Vsd:
    """Variational Score Distillation (Eq. 3), for a prior of which a trainable copy can be had.

    Attributes:
        cfg_scale: W.
        rank: of what the copy learns beside the frozen weights.
        rate: the copy's learning rate.
    """

    cfg_scale: float = 7.5
    rank: int = 4
    rate: float = 1e-4

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise HeadArtistError(f"The rank of a trainable copy must be at least 1 (got {self.rank}).")
        if not self.rate >= 0:
            raise HeadArtistError(f"The learning rate of a trainable copy must not be negative (got {self.rate:g}).")


@dataclass(frozen=True)
class Refine:
    """Image-space refinement (supplement D, after HiFA): the picture is compared with the decoded clean estimate.

    Attributes:
        cfg_scale: W of the estimate.
        perceptual: weight of the distance between features, beside that of pixels.
        x0_steps: denoising steps that the estimate takes.
        relative: compare with the picture plus what the estimate decodes to and the picture's own latent does not, so
            that a small decoder's error moves nothing; costs one decoding more.
        features: of the prior's own encoder, or "lpips": of VGG-16, where the user has the package and its weights.
        landmark_scale: how much the landmarks guide the estimate, as W says of the text. 1 leaves it out; other values
            take one more prediction, without landmarks; a prior without landmarks has nothing to guide by.
        facing: pixels count by the cosine between the surface's normal and the camera's axis to this power, so that
            every place is coloured by the views that see it best; 0 counts all alike, the background too.
        fits: optimiser steps towards the estimates of one step, which cost far more.
        fit_views: how many of the step's views each of those takes, drawn at random; 0 is all. A few of many are
            cheap, and what the estimates of many views agree on stays.
    """

    cfg_scale: float = 7.5
    perceptual: float = 0.01
    x0_steps: int = 1
    relative: bool = False
    features: Features = "prior"
    landmark_scale: float = 1.0
    facing: float = 0.0
    fits: int = 1
    fit_views: int = 0

    def __post_init__(self) -> None:
        if not self.perceptual >= 0:
            raise HeadArtistError(f"The weight perceptual must not be negative (got {self.perceptual:g}).")
        if not self.facing >= 0:
            raise HeadArtistError(f"The power facing must not be negative (got {self.facing:g}).")
        for name, least in (("x0_steps", 1), ("fits", 1), ("fit_views", 0)):
            if getattr(self, name) < least:
                raise HeadArtistError(f"{name} must be at least {least} (got {getattr(self, name)}).")


Loss = Ssd | Sds | Vsd | Refine
