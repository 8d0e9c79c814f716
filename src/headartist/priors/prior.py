"""ScorePrior: a frozen diffusion model as a judge of pictures, and the values it speaks in."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import interpolate

from headartist.errors import HeadArtistError


def resized(image: Float[Tensor, "b c h w"], size: int) -> Float[Tensor, "b c y x"]:
    """Pictures at `size` pixels a side, differentiably, without aliasing; those that have it are handed back as is."""
    if image.shape[-2:] == (size, size):
        return image
    shrinks = image.shape[-1] > size
    return interpolate(image, (size, size), mode="bilinear", align_corners=False, antialias=shrinks)


@dataclass(frozen=True)
class OtherViews:
    """Texts of views that a picture is to be kept from, `n` for each of `b` views (Perp-Neg).

    Attributes:
        text: their features, from `ScorePrior.embed`.
        weight: how strongly; 0 or below.
    """

    text: Float[Tensor, "n b k d"]
    weight: Float[Tensor, "n b"]


@dataclass(frozen=True)
class Conditions:
    """What a prediction is conditioned on, apart from the noised latent and its time.

    Text features come from `ScorePrior.embed`, one per view: `b` views, `k` tokens, `d` features.

    Attributes:
        text: the text the picture is pulled towards (y, with its view words).
        negative: the negative text (y_neg), the empty text where there is none.
        plain: the text without view words, for the second prediction of Eq. 6; None where it equals `text` or is
            not wanted, and then it costs nothing.
        landmark_map: the landmark picture c_L in [0, 1]; None for a prior without landmarks.
        others: texts of other views, whose predictions are wanted too.
        blind: whether the text's prediction without landmarks is wanted too, to guide by them.
    """

    text: Float[Tensor, "b k d"]
    negative: Float[Tensor, "b k d"]
    plain: Float[Tensor, "b k d"] | None
    landmark_map: Float[Tensor, "b 3 h w"] | None
    others: OtherViews | None = None
    blind: bool = False

    def __getitem__(self, rows: slice) -> "Conditions":
        """Those of some of the views."""
        return Conditions(
            self.text[rows],
            self.negative[rows],
            None if self.plain is None else self.plain[rows],
            None if self.landmark_map is None else self.landmark_map[rows],
            self.others and OtherViews(self.others.text[:, rows], self.others.weight[:, rows]),
            self.blind,
        )


@dataclass(frozen=True)
class Noise:
    """The noise predictions for one noised latent: under the text, the negative, the plain and the others' texts.

    `blind` is that under the text without landmarks.
    """

    cond: Float[Tensor, "b c h w"]
    uncond: Float[Tensor, "b c h w"]
    plain: Float[Tensor, "b c h w"]
    others: Float[Tensor, "n b c h w"] | None = None
    blind: Float[Tensor, "b c h w"] | None = None

    def guided(self, cfg_scale: float, landmark_scale: float = 1.0) -> Float[Tensor, "b c h w"]:
        """Classifier-free guidance by the text, `uncond + cfg_scale (cond - uncond)`; 1 is `cond` and 0 is `uncond`.

        Other than 1, `landmark_scale` guides by the landmarks too: it adds `(landmark_scale - 1) (cond - blind)`.

        Raises:
            HeadArtistError: guidance by landmarks, but it is not known what the prior would say without them.
        """
        guided = self._guided_by_text(cfg_scale)
        if landmark_scale == 1:
            return guided
        if self.blind is None:
            raise HeadArtistError(
                "Guidance by landmarks wants `Conditions.blind`: ask for it, or use landmark_scale=1."
            )
        return guided + (landmark_scale - 1) * (self.cond - self.blind)

    def _guided_by_text(self, cfg_scale: float) -> Float[Tensor, "b c h w"]:
        if cfg_scale == 1:
            return self.cond
        if cfg_scale == 0:
            return self.uncond
        return self.uncond + cfg_scale * (self.cond - self.uncond)


@runtime_checkable
class ScorePrior(Protocol):
    """A frozen diffusion model: it knows pictures, text and Conditions, and nothing of cameras or meshes.

    All its tensors, `alpha_bar` and what `embed` returns among them, live on one device, and the tensors it is given
    are on that device too.

    Attributes:
        alpha_bar: the diffusion clock, one value per training step, falling.
        picture_size: pixels of the square pictures it was trained on.
        landmark_size: pixels of the square landmark map it wants; 0 for none.
        latent_shape: channels, height and width of its latent.
    """

    alpha_bar: Float[Tensor, "steps"]
    picture_size: int
    landmark_size: int
    latent_shape: tuple[int, int, int]

    def encode(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b c y x"]:
        """Pictures in [0, 1] to latents, differentiably; resized to `picture_size` when needed."""
        ...

    def decode(self, latent: Float[Tensor, "b c y x"]) -> Float[Tensor, "b 3 h w"]:
        """Latents to pictures in [0, 1], differentiably."""
        ...

    def embed(self, texts: tuple[str, ...]) -> Float[Tensor, "n k d"]:
        """Texts to token features, one row each; every text is computed once and remembered."""
        ...

    def predict_noise(self, z_t: Float[Tensor, "b c y x"], t: Int[Tensor, "b"], conditions: Conditions) -> Noise:
        """The predicted noise under each text of `conditions`, in one batched call and without gradient."""
        ...


@runtime_checkable
class PerceptivePrior(ScorePrior, Protocol):
    """A prior that can also say what it sees in a picture; image-space refinement compares pictures by that."""

    def features(self, image: Float[Tensor, "b 3 h w"]) -> tuple[Float[Tensor, "b c y x"], ...]:
        """Features of pictures in [0, 1], fine to coarse, differentiably; resized to `picture_size` when needed."""
        ...
