"""Shipping: what is trained so far becomes a prior folder, judged and with its card."""

import json
from pathlib import Path
from typing import Any

from torch import nn

from headartist.config.words.vocabulary import WORDS
from headartist.priors import load_prior
from headartist_foundry.captions import vocabulary
from headartist_foundry.card import model_card
from headartist_foundry.judge import gate, sample_sheet
from headartist_foundry.train import Evaluation, TrainingPlan, train_denoiser
from headartist_foundry.workshop import Workshop

RECORD = "training.json"
"""Beside the weights: how many samples they have seen in which runs, so that a later training can go on counting."""


def evaluation(workshop: Workshop, out: Path, start: Path | None = None) -> Evaluation:
    """What training calls now and then: write the prior to `out`, judge it, draw a sample sheet, write its card.

    Args:
        workshop: where it is trained.
        out: folder of the prior, replaced each time.
        start: the prior folder that training started from, whose samples count too. Its pictures may be the same
            again, so that the larger number of both is the one known to have been seen.
    """
    words = {WORDS.name: "".join(f"{word}\n" for word in vocabulary())}
    before = json.loads((start / RECORD).read_text(encoding="utf-8")) if start else {}

    def evaluate(samples: int, seconds: float, average: nn.Module) -> dict[str, Any]:
        assert isinstance(average, nn.ModuleDict)
        total = before.get("samples", 0) + samples
        pictures = max(before.get("pictures", 0), len(workshop.pictures))
        run = {"samples": samples, "minutes": round(seconds / 60, 1), **workshop.machine}
        runs = before.get("runs", []) + ([run] if samples else [])
        workshop.save(out, average, words | {RECORD: json.dumps({"samples": total, "runs": runs}) + "\n"})
        prior = load_prior(out, device="cpu")
        figures = gate(prior, workshop.held_out)
        sample_sheet(prior, workshop.folder / f"samples_{total:08d}.png")
        documents = words | {
            RECORD: json.dumps({"samples": total, "pictures": pictures, "runs": runs, **figures}, indent=1) + "\n",
            "README.md": model_card(total, pictures, runs, figures, workshop.size.picture),
        }
        workshop.save(out, average, documents)
        return figures

    return evaluate


def train_and_ship(workshop: Workshop, plan: TrainingPlan, out: Path, start: Path | None, every_steps: int) -> None:
    """Train the denoiser and write the prior every so often; a plan of no steps ships the denoiser as it is."""
    evaluate = evaluation(workshop, out, start)
    if plan.steps:
        train_denoiser(workshop, plan, evaluate, every_steps)
    elif workshop.leads:
        print(evaluate(0, 0.0, workshop.models.denoiser()))
