"""Guidance: which queries a prior is asked, and how its answers become one prediction.

Classifier-free guidance by the text, Perp-Neg against other views and guidance by landmarks all live here: a prior
answers queries, in one batched call, and knows nothing of how they are combined.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import assert_never

import torch
from jaxtyping import Float, Int
from torch import Tensor

from headartist.config.config import ViewText
from headartist.config.prompts import VIEW_WORDS, view_mix, view_text, view_word
from headartist.priors.prior import Query, ScorePrior


@dataclass(frozen=True)
class StageTexts:
    """Every text a stage can ask of its prior, embedded once.

    Attributes:
        plain: features of the text without view words.
        negative: features of the negative text.
        views: features of the text with each view word; empty where the prior is not told of the camera.
        view_text: how it is told.
    """

    plain: Float[Tensor, "k d"]
    negative: Float[Tensor, "k d"]
    views: Mapping[str, Float[Tensor, "k d"]]
    view_text: ViewText

    @classmethod
    def embed(cls, prior: ScorePrior, text: str, negative: str, view: ViewText) -> "StageTexts":
        """Let the prior read them all."""
        words = () if view == "none" else VIEW_WORDS
        plain, other, *views = prior.embed((text, negative, *(view_text(text, word) for word in words)))
        return cls(plain, other, dict(zip(words, views, strict=True)), view)

    def of_views(
        self, azimuth_deg: Float[Tensor, "b"], elevation_deg: Float[Tensor, "b"]
    ) -> tuple[Float[Tensor, "b k d"], Float[Tensor, "n b k d"], Float[Tensor, "n b"]]:
        """The text of each view, and with Perp-Neg the texts to move away from, with their weights (0 or below)."""
        angles = list(zip(azimuth_deg.tolist(), elevation_deg.tolist(), strict=True))
        match self.view_text:
            case "none":
                return _without_others(torch.stack([self.plain for _ in angles]))
            case "append":
                return _without_others(torch.stack([self.views[view_word(*angle)] for angle in angles]))
            case "perp_neg":
                mixes = [view_mix(*angle) for angle in angles]
                text = [torch.stack([share * self.views[w] for w, share in mix.towards]).sum(0) for mix in mixes]
                away = [torch.stack([self.views[word] for word, _ in mix.away]) for mix in mixes]
                weight = torch.tensor([[weight for _, weight in mix.away] for mix in mixes], device=self.plain.device)
                return torch.stack(text), torch.stack(away, dim=1), weight.T
            case _:
                assert_never(self.view_text)


def _without_others(
    text: Float[Tensor, "b k d"],
) -> tuple[Float[Tensor, "b k d"], Float[Tensor, "0 b k d"], Float[Tensor, "0 b"]]:
    return text, text.new_zeros(0, *text.shape), text.new_zeros(0, len(text))


@dataclass(frozen=True)
class Guided:
    """A guided prediction: what is asked of a prior, and how its answers become one.

    `uncond + cfg_scale (cond - uncond) + (landmark_scale - 1) (cond - cond_no_landmarks)`, with `cond` first moved away
    from other views by Perp-Neg (Armandpour et al. 2023):
    `cond + sum over i of w_i perp(other_view_i - uncond; cond - uncond)`. `perp(a; b)` is what of `a` stands at right
    angles to `b`, so that moving away from another view (w_i < 0) takes nothing from the text.

    Attributes:
        cond: the text the picture is pulled towards.
        uncond: the negative text, the empty text where there is none.
        cfg_scale: W; 1 is `cond` itself and 0 is `uncond`.
        other_views: texts of views that a picture is kept from.
        other_weights: how strongly, for each of them and each picture.
        cond_no_landmarks: the text before a black landmark map; None where landmarks do not guide.
        landmark_scale: how much the landmarks guide; 1 leaves it out.
    """

    cond: Query
    uncond: Query
    cfg_scale: float
    other_views: tuple[Query, ...] = ()
    other_weights: Float[Tensor, "n b"] | None = None
    cond_no_landmarks: Query | None = None
    landmark_scale: float = 1.0

    @property
    def queries(self) -> tuple[Query, ...]:
        """What is asked, in the order `combined` takes the answers."""
        blind = () if self.cond_no_landmarks is None else (self.cond_no_landmarks,)
        return (self.cond, self.uncond, *self.other_views, *blind)

    def of(self, rows: slice | Tensor) -> "Guided":
        """Index the views."""
        indexed: dict[int, Tensor] = {}

        def of(query: Query) -> Query:  # a tensor that several queries share stays one
            parts = (None if p is None else indexed.setdefault(id(p), p[rows]) for p in query)
            return Query._make(parts)

        return replace(
            self,
            cond=of(self.cond),
            uncond=of(self.uncond),
            other_views=tuple(map(of, self.other_views)),
            other_weights=None if self.other_weights is None else self.other_weights[:, rows],
            cond_no_landmarks=None if self.cond_no_landmarks is None else of(self.cond_no_landmarks),
        )

    def combined(self, predictions: Sequence[Float[Tensor, "b c y x"]]) -> Float[Tensor, "b c y x"]:
        """Make one prediction of the prior's answers to `queries`."""
        cond, uncond, *rest = predictions
        no_landmarks = rest.pop() if self.cond_no_landmarks is not None else None
        shift = perp_neg(cond, uncond, rest, self.other_weights) if rest and self.other_weights is not None else 0.0
        text = cond + shift
        guided = classifier_free(text, uncond, self.cfg_scale)
        if no_landmarks is None or self.landmark_scale == 1:
            return guided
        # What tells the landmarks' part from the text's stays the difference it was before Perp-Neg.
        return guided + (self.landmark_scale - 1) * (text - (no_landmarks + shift))


def classifier_free(
    cond: Float[Tensor, "b c y x"], uncond: Float[Tensor, "b c y x"], cfg_scale: float
) -> Float[Tensor, "b c y x"]:
    """Classifier-free guidance, `uncond + cfg_scale (cond - uncond)`; 1 is `cond` and 0 is `uncond`, exactly."""
    if cfg_scale == 1:
        return cond
    if cfg_scale == 0:
        return uncond
    return uncond + cfg_scale * (cond - uncond)


def perp_neg(
    cond: Float[Tensor, "b c y x"],
    uncond: Float[Tensor, "b c y x"],
    other_views: Sequence[Float[Tensor, "b c y x"]],
    weights: Float[Tensor, "n b"],
) -> Float[Tensor, "b c y x"]:
    """Return what Perp-Neg adds to `cond`; all weights 0 add nothing."""
    # An entry that is not finite must not spoil the inner products, and with them every other entry.
    text = (cond - uncond).nan_to_num(0.0, 0.0, 0.0)
    away = (torch.stack(list(other_views)) - uncond).nan_to_num(0.0, 0.0, 0.0)
    everywhere = (-3, -2, -1)
    length = text.square().sum(everywhere, keepdim=True).clamp(min=torch.finfo(text.dtype).tiny)
    away = away - (away * text).sum(everywhere, keepdim=True) / length * text
    return (weights[..., None, None, None] * away).sum(0)


def predict(
    prior: ScorePrior,
    z_t: Float[Tensor, "b c y x"],
    t: Int[Tensor, "b"],
    guided: Guided,
    *others: Query,
    pose: Float[Tensor, "b 4 4"] | None = None,
) -> tuple[Float[Tensor, "b c y x"], ...]:
    """Return the guided prediction, then the plain answers to `others`, in one batched call.

    A query that occurs more than once is asked once.
    """
    asked = (*guided.queries[:2], *others, *guided.queries[2:])
    once = list({id(query): query for query in asked}.values())
    answers = dict(zip(map(id, once), prior.predict_noise(z_t, t, once, pose), strict=True))
    return (
        guided.combined([answers[id(query)] for query in guided.queries]),
        *(answers[id(query)] for query in others),
    )
