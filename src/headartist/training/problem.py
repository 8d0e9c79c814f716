"""Problem: what stays from step to step of a run."""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import torch

from headartist.avatars.avatar import TrainableAvatar
from headartist.config.config import Config
from headartist.config.priors import PriorConfig
from headartist.config.prompts import PromptWarning, negative_text, plain_text
from headartist.config.stage import Term
from headartist.guidance import StageTexts
from headartist.heads.template import HeadTemplate
from headartist.objectives.objective import Objective
from headartist.priors.prior import ScorePrior
from headartist.priors.stable_diffusion import TextCutOff
from headartist.system.errors import HeadArtistError

NORMAL_AND_OPACITY = 4  # channels


class Judge(NamedTuple):
    """Who judges a stage, and the stage's texts as it reads them."""

    prior: ScorePrior
    texts: StageTexts


@dataclass(frozen=True)
class Problem:
    """What stays from step to step: what is asked, the head it begins with, the template, and the judges.

    Attributes:
        config: what is asked.
        avatar: the head that the first stage begins with.
        template: the head it began as, whose landmarks are drawn.
        judges: for each stage of the config, one for each of its terms.
        device: where all of them live.
        objectives: what stages minimize in the place of their config's loss, by the stage's name.
    """

    config: Config
    avatar: TrainableAvatar
    template: HeadTemplate
    judges: tuple[tuple[Judge, ...], ...]
    device: torch.device
    objectives: Mapping[str, Objective] = field(default_factory=dict)


def judges(config: Config, prior_of: Callable[[PriorConfig], ScorePrior]) -> tuple[tuple[Judge, ...], ...]:
    """Let priors read the texts of every term, so that their text encoders are not needed again.

    A prompt that is too long is so in every text: one warning names what is lost of all that are cut off.

    Raises:
        HeadArtistError: a stage draws what the prior's latent cannot hold.
    """
    asked = [
        list(zip(stage.terms, map(prior_of, config.priors_at(index)), strict=True))
        for index, stage in enumerate(config.stages)
    ]
    for stage, pairs in zip(config.stages, asked, strict=True):
        for number, (term, prior) in enumerate(pairs):
            channels = prior.latent_shape[0]
            if term.draws == "normal_opacity_latent" and channels != NORMAL_AND_OPACITY:
                place = stage.name if len(pairs) == 1 else f"{stage.name}.terms.{number}"
                raise HeadArtistError(
                    f"Stage {stage.name} draws four channels but the prior's latent has {channels}: "
                    f"use --set {place}.draws=normal."
                )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = tuple(tuple(Judge(prior, _texts(config, term, prior)) for term, prior in pairs) for pairs in asked)
    said: set[tuple[type[Warning], str]] = set()
    for warning in caught:
        words = warning.category, str(warning.message)
        if not isinstance(warning.message, TextCutOff) and words not in said:
            said.add(words)
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    cut = [warning.message for warning in caught if isinstance(warning.message, TextCutOff)]
    if cut:
        alone = all(any(_lose_the_same(before, after) for before in cut[:k]) for k, after in enumerate(cut) if k)
        warnings.warn(cut[0] if alone else PromptWarning(f"{cut[0]}, and so are other texts"), stacklevel=2)
    return found


def _texts(config: Config, term: Term, prior: ScorePrior) -> StageTexts:
    text = plain_text(term.text, config.prompt)
    return StageTexts.embed(prior, text, negative_text(term.negative, config.prompt), config.view_text)


def _lose_the_same(before: TextCutOff, after: TextCutOff) -> bool:
    """Tell whether the later text only adds words, such as the view's, to the earlier one, or their ends are one."""
    return after.text.startswith(before.text) or after.lost in before.lost or before.lost in after.lost
