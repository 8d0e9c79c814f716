"""ScorePrior: a frozen diffusion model as a judge of pictures, and the values it speaks in."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import interpolate


def resized(image: Float[Tensor, "b c h w"], size: int) -> Float[Tensor, "b c y x"]:
    """Pictures at `size` pixels a side, differentiably, without aliasing; those that have it are handed back as is."""
    if image.shape[-2:] == (size, size):
        return image
    shrinks = image.shape[-1] > size
    return interpolate(image, (size, size), mode="bilinear", align_corners=False, antialias=shrinks)


class Query(NamedTuple):
    """One thing a prior is asked of `b` noised latents.

    Attributes:
        text: token features of each view's text, from `ScorePrior.embed`.
        landmark_map: the landmark picture c_L of each view in [0, 1]. None asks without landmarks, and a black map is
            what a ControlNet that was trained with maps left out takes for "none known".
        image: a picture of each view in [0, 1], for a prior that is conditioned on pictures.
    """

    text: Float[Tensor, "b k d"]
    landmark_map: Float[Tensor, "b 3 h w"] | None = None
    image: Float[Tensor, "b 3 h w"] | None = None


@runtime_checkable
class ScorePrior(Protocol):
    """A frozen diffusion model that answers queries; it knows pictures, texts and landmark maps, no cameras or meshes.

    All its tensors, `alpha_bar` and what `embed` returns among them, live on one device, and the tensors it is given
    are on that device too.

    Attributes:
        alpha_bar: the diffusion clock, one value per training step, falling.
        picture_size: pixels of the square pictures it was trained on.
        landmark_size: pixels of the square landmark map it wants; 0 for none.
        latent_shape: channels, height and width of its latent.
        views_at_once: how many views of one head it judges together: 1, or 4 for a multi-view model, whose batches are
            multiples of that.
    """

    alpha_bar: Float[Tensor, "steps"]
    picture_size: int
    landmark_size: int
    latent_shape: tuple[int, int, int]
    views_at_once: int

    def encode(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b c y x"]:
        """Pictures in [0, 1] to latents, differentiably; resized to `picture_size` when needed."""
        ...

    def decode(self, latent: Float[Tensor, "b c y x"]) -> Float[Tensor, "b 3 h w"]:
        """Latents to pictures in [0, 1], differentiably."""
        ...

    def embed(self, texts: tuple[str, ...]) -> Float[Tensor, "n k d"]:
        """Texts to token features, one row each; every text is computed once and remembered."""
        ...

    def predict_noise(
        self,
        z_t: Float[Tensor, "b c y x"],
        t: Int[Tensor, "b"],
        queries: Sequence[Query],
        pose: Float[Tensor, "b 4 4"] | None = None,
    ) -> tuple[Float[Tensor, "b c y x"], ...]:
        """Predict the noise under each query, in one batched call and without gradient.

        Args:
            z_t: noised latents.
            t: the diffusion step of each.
            queries: what is asked of them all; a landmark map or a picture that one query has another may lack.
            pose: `T_camera_world` of each view, for a prior that knows where cameras stand.

        Raises:
            HeadArtistError: a landmark map or a picture for a prior that takes none.
        """
        ...


@runtime_checkable
class Trainable(Protocol):
    """A prior of which a trainable copy can be had, as variational score distillation wants it."""

    def trainable_copy(self, rank: int, *, posed: bool, generator: torch.Generator) -> nn.Module:
        """A model that predicts the noise in pictures and can learn; before it has, it answers as the prior does.

        Called as `copy(z_t, t, query, pose)`, it answers one query, with gradient to its parameters alone.

        Args:
            rank: of what is learned beside the frozen weights.
            posed: whether it is told where cameras stand.
            generator: draws its first parameters, on the CPU.
        """
        ...


@runtime_checkable
class PerceptivePrior(ScorePrior, Protocol):
    """A prior that can also say what it sees in a picture; image-space refinement compares pictures by that."""

    def features(self, image: Float[Tensor, "b 3 h w"]) -> tuple[Float[Tensor, "b c y x"], ...]:
        """Features of pictures in [0, 1], fine to coarse, differentiably; resized to `picture_size` when needed."""
        ...
