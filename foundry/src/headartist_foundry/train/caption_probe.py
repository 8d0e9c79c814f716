"""The caption probe: the text encoder learns to read first.

Before anything is drawn, it learns to tell from a caption what is in the picture. Captions are free and reading them
costs next to nothing, while a denoiser that has to invent reading from the error of its pictures learns it very late.
The encoder stays as it is afterwards, like the one of a large prior.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from headartist.config.prompts import VIEW_WORDS
from headartist_foundry.data.answers import DOMAIN, NOTHING, possible_answers, visible
from headartist_foundry.data.captions import caption
from headartist_foundry.data.traits import sample_traits
from headartist_foundry.train.models import PriorModels

VIEW = "view"


class CaptionProbe(nn.Module):
    """Classify each trait from the mean of the encoder's features."""

    def __init__(self, models: PriorModels) -> None:
        super().__init__()
        self.text_encoder = models.text_encoder
        self.answers = possible_answers() | {VIEW: [NOTHING, *VIEW_WORDS]}
        width = models.text_encoder.config.hidden_size
        self.questions = nn.ModuleDict({name: nn.Linear(width, len(words)) for name, words in self.answers.items()})

    def forward(self, tokens: Tensor) -> dict[str, Tensor]:
        """Score every answer, by trait."""
        features = self.text_encoder(tokens)[0].mean(dim=1)
        return {name: question(features) for name, question in self.questions.items()}

    def lesson(self, rng: np.random.Generator, count: int) -> tuple[list[str], dict[str, Tensor]]:
        """Sample captions and their right answers."""
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


def probe_loss(scores: dict[str, Tensor], right: dict[str, Tensor]) -> Tensor:
    """Average the cross-entropy over all questions."""
    losses = [F.cross_entropy(scores[name], right[name].to(scores[name].device)) for name in right]
    return torch.stack(losses).mean()


@torch.no_grad()
def probe_accuracy(probe: CaptionProbe, models: PriorModels, count: int = 512) -> dict[str, float]:
    """Measure right answers by trait, on fresh captions.

    Dropped words keep the share below 1.
    """
    captions, right = probe.lesson(np.random.default_rng(99), count)
    device = next(probe.parameters()).device
    scores = probe(models.tokens(captions).to(device))
    return {name: round(float((scores[name].argmax(1).cpu() == right[name]).float().mean()), 3) for name in right}
