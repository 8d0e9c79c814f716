"""Objective: what a stage minimises, and the values it is told of one step."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import interpolate

from headartist.guidance import Guided, StageTexts
from headartist.priors.prior import Query, ScorePrior


class Sight(NamedTuple):
    """What a stage draws of the avatar, with gradient to it.

    Attributes:
        picture: in [0, 1].
        latent: what is judged in the place of the encoded picture (4.2.1), at any size; None to encode the picture.
        opacity: coverage in [0, 1].
        facing: cosine between the surface's normal and the camera's axis, 0 where nothing is.
    """

    picture: Float[Tensor, "b 3 h w"]
    latent: Float[Tensor, "b c y x"] | None
    opacity: Float[Tensor, "b 1 h w"]
    facing: Float[Tensor, "b 1 h w"]


@runtime_checkable
class Look(Protocol):
    """Draws the avatar as it is now, from all views of a shot or from those of some rows."""

    def __call__(self, rows: Tensor | None = None, /) -> Sight:
        """Draw all views, or those of some rows."""
        ...


@dataclass(frozen=True)
class Shot:
    """All random draws of one step, and what follows from them.

    Attributes:
        texts: the stage's texts.
        t: the diffusion step of each view.
        noise: the standard normal draw that noises each view's latent.
        azimuth_deg: where the camera stands; 0 sees the face, +90 the head's left side.
        elevation_deg: positive looks down.
        pose: `T_camera_world` of each view.
        landmark_map: the landmark picture c_L; None for a prior that is not shown landmarks.
        look: draws the avatar.
        generator: further draws of an objective, on the CPU; the checkpoint keeps it.
    """

    texts: StageTexts
    t: Int[Tensor, "b"]
    noise: Float[Tensor, "b c y x"]
    azimuth_deg: Float[Tensor, "b"]
    elevation_deg: Float[Tensor, "b"]
    pose: Float[Tensor, "b 4 4"]
    landmark_map: Float[Tensor, "b 3 h w"] | None
    look: Look
    generator: torch.Generator

    def latent(self, prior: ScorePrior) -> Float[Tensor, "b c y x"]:
        """Return the latent z that is judged, with gradient to the avatar."""
        sight = self.look()
        if sight.latent is None:
            return prior.encode(sight.picture)
        return interpolate(sight.latent, prior.latent_shape[1:], mode="area")

    def target(self, cfg_scale: float, *, landmark_scale: float = 1.0) -> Guided:
        """Return the guided prediction that pulls at this shot's views."""
        text, away, weights = self.texts.of_views(self.azimuth_deg, self.elevation_deg)
        cond = Query(text, self.landmark_map)
        black = None
        if self.landmark_map is not None and landmark_scale != 1:
            black = Query(text, torch.zeros_like(self.landmark_map))
        return Guided(
            cond=cond,
            uncond=Query(self._each(self.texts.negative), self.landmark_map),
            cfg_scale=cfg_scale,
            other_views=tuple(Query(other, self.landmark_map) for other in away),
            other_weights=weights,
            cond_no_landmarks=black,
            landmark_scale=landmark_scale,
        )

    def cond_no_view(self, target: Guided) -> Query:
        """Return the text without view words; the target's own where it has none."""
        if self.texts.view_text == "none":
            return target.cond
        return Query(self._each(self.texts.plain), self.landmark_map)

    def _each(self, features: Float[Tensor, "k d"]) -> Float[Tensor, "b k d"]:
        return features.expand(len(self.t), -1, -1)


@runtime_checkable
class Objective(Protocol):
    """What a stage minimises; it may own parameters, an optimizer and random draws.

    Attributes:
        inner_steps: optimizer steps of one shot.
    """

    inner_steps: int

    def losses(self, shot: Shot) -> Iterator[Tensor]:
        """Yield one loss for each optimizer step; code after a yield runs after that step."""
        ...

    def state_dict(self) -> dict[str, Tensor]:
        """Return all that it has learned and drawn, as flat tensors."""
        ...

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a `state_dict`."""
        ...


class Stateless:
    """An objective that learns nothing."""

    inner_steps = 1

    def state_dict(self) -> dict[str, Tensor]:
        """Nothing."""
        return {}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take nothing over."""
