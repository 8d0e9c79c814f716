"""Reading: before anything is drawn, the text encoder learns to tell from a caption what is in the picture.

Captions are free and reading them costs next to nothing, while a denoiser that has to invent reading from the error of
its pictures learns it very late. The encoder stays as it is afterwards, like the one of a large prior.
"""

from dataclasses import asdict
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from headartist.config.prompts import VIEW_WORDS
from headartist_foundry.captions import caption
from headartist_foundry.models import PriorModels
from headartist_foundry.traits import Traits, sample_traits

NOTHING = ""
DOMAIN, VIEW = "domain", "view"


def hidden(traits: Traits) -> set[str]:
    """The traits that do not show in a colour picture of this character, or that no caption names."""
    names = set()
    if traits.hair == "bald" or traits.is_stone:
        names.add("hair_colour")
    if not traits.beard or traits.is_stone:
        names.add("beard_colour")
    if not traits.hat or traits.is_stone:
        names.add("hat_colour")
    if traits.is_stone:
        names.add("origin")
    if traits.paint not in ("face paint", "war paint"):
        names.add("paint_colour")
    if traits.kind != "human" or traits.glasses == "sunglasses" or traits.expression == "eyes closed":
        names.add("eye_colour")
    if traits.paint in ("clown", "skull"):
        names |= {"skin", "freckles"}
    return names | ({"age", "build", "origin", "sex"} if traits.kind == "alien" else {"alien_colour"})


def visible(traits: Traits) -> dict[str, str]:
    """The traits that show in a colour picture and that its caption may name; the others are `NOTHING`."""
    names = hidden(traits)
    return {name: NOTHING if name in names else value for name, value in asdict(traits).items()}


@cache
def possible_answers() -> dict[str, list[str]]:
    """Every value that each trait can have, `NOTHING` included, and the two domains."""
    rng = np.random.default_rng(0)
    seen = [visible(sample_traits(rng)) for _ in range(4000)]
    answers = {name: sorted({row[name] for row in seen} | {NOTHING}) for name in seen[0]}
    return answers | {DOMAIN: ["colour", "normals"]}


class Reader(nn.Module):
    """The text encoder with one classifier for each trait, on the mean of its features."""

    def __init__(self, models: PriorModels) -> None:
        super().__init__()
        self.text_encoder = models.text_encoder
        self.answers = possible_answers() | {VIEW: [NOTHING, *VIEW_WORDS]}
        width = models.text_encoder.config.hidden_size
        self.questions = nn.ModuleDict({name: nn.Linear(width, len(words)) for name, words in self.answers.items()})

    def forward(self, tokens: Tensor) -> dict[str, Tensor]:
        """Scores of every answer, by trait."""
        features = self.text_encoder(tokens)[0].mean(dim=1)
        return {name: question(features) for name, question in self.questions.items()}

    def lesson(self, rng: np.random.Generator, count: int) -> tuple[list[str], dict[str, Tensor]]:
        """Captions and the right answers."""
        captions: list[str] = []
        right: dict[str, list[int]] = {name: [] for name in self.answers}
        for _ in range(count):
            traits, normals = sample_traits(rng), bool(rng.random() < 0.5)
            view = str(rng.choice(VIEW_WORDS)) if rng.random() < 0.6 else NOTHING
            captions.append(caption(traits, rng, normals=normals, view_words=view))
            truth = visible(traits) | {DOMAIN: "normals" if normals else "colour", VIEW: view}
            for name, words in self.answers.items():
                right[name].append(words.index(truth[name]))
        return captions, {name: torch.tensor(numbers) for name, numbers in right.items()}


def reading_loss(scores: dict[str, Tensor], right: dict[str, Tensor]) -> Tensor:
    """Mean cross-entropy over all questions."""
    losses = [F.cross_entropy(scores[name], right[name].to(scores[name].device)) for name in right]
    return torch.stack(losses).mean()


@torch.no_grad()
def reading_accuracy(reader: Reader, models: PriorModels, count: int = 512) -> dict[str, float]:
    """The share of right answers by trait, on fresh captions; dropped words keep it below 1."""
    captions, right = reader.lesson(np.random.default_rng(99), count)
    device = next(reader.parameters()).device
    scores = reader(models.tokens(captions).to(device))
    return {name: round(float((scores[name].argmax(1).cpu() == right[name]).float().mean()), 3) for name in right}
