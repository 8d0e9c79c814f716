"""The objectives a stage may have, with their knobs. Nothing here needs torch."""

from dataclasses import dataclass
from typing import Annotated, Literal

from headartist.config.bounds import Within, check_settings

_Scale = Annotated[float, Within(0, 10_000)]
Features = Literal["prior", "lpips"]


@dataclass(frozen=True)
class Ssd:
    """Self Score Distillation (Eq. 6), with `anchor * (e_plain - noise)` added: 0 is the paper's SSD and 1 is SDS."""

    cfg_scale: _Scale = 7.5
    anchor: Annotated[float, Within(0, 100)] = 0.0

    def __post_init__(self) -> None:
        check_settings(self, "objective.")


@dataclass(frozen=True)
class Sds:
    """Score Distillation Sampling (Eq. 1)."""

    cfg_scale: _Scale = 100.0

    def __post_init__(self) -> None:
        check_settings(self, "objective.")


@dataclass(frozen=True)
class Vsd:
    """Variational Score Distillation (Eq. 3), for a prior of which a trainable copy can be had.

    Attributes:
        cfg_scale: W.
        rank: of what the copy learns beside the frozen weights.
        rate: the copy's learning rate.
    """

    cfg_scale: _Scale = 7.5
    rank: Annotated[int, Within(1, 1_024)] = 4
    rate: Annotated[float, Within(0, 1)] = 1e-4

    def __post_init__(self) -> None:
        check_settings(self, "objective.")


@dataclass(frozen=True)
class Refine:
    """Image-space refinement (supplement D, after HiFA): the picture is compared with the decoded clean estimate.

    Attributes:
        cfg_scale: W of the estimate.
        perceptual: weight of the distance between features, beside that of pixels.
        ddim_steps: denoising steps that the estimate takes.
        residual: compare with the picture plus what the estimate decodes to and the picture's own latent does not, so
            that a small decoder's error moves nothing; costs one decoding more.
        features: of the prior's own encoder, or "lpips": of VGG-16, where the user has the package and its weights.
        landmark_scale: how much the landmarks guide the estimate, as W says of the text. 1 leaves it out; other values
            take one more prediction, without landmarks; a prior without landmarks has nothing to guide by.
        facing_power: pixels count by the cosine between the surface's normal and the camera's axis to this power, so
            that every place is colored by the views that see it best; 0 counts all alike, the background too.
        inner_steps: optimizer steps towards the estimates of one step, which cost far more.
        views_per_inner_step: how many of the step's views each of those takes, drawn at random; 0 is all. A few of many
            are cheap, and what the estimates of many views agree on stays.
    """

    cfg_scale: _Scale = 7.5
    perceptual: Annotated[float, Within(0, 1_000_000)] = 0.01
    ddim_steps: Annotated[int, Within(1, 1_000)] = 1
    residual: bool = False
    features: Features = "prior"
    landmark_scale: _Scale = 1.0
    facing_power: Annotated[float, Within(0, 100)] = 0.0
    inner_steps: Annotated[int, Within(1, 100_000)] = 1
    views_per_inner_step: Annotated[int, Within(0, 1_024)] = 0

    def __post_init__(self) -> None:
        check_settings(self, "objective.")


ObjectiveConfig = Ssd | Sds | Vsd | Refine
