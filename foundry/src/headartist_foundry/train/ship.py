"""Shipping: what is trained so far becomes a prior folder.

It is judged and has its card.
"""

import json
from pathlib import Path
from typing import Any

from torch import nn

from headartist.config.words.vocabulary import WORDS
from headartist.priors import load_prior
from headartist_foundry.data.captions import vocabulary
from headartist_foundry.judge.card import model_card
from headartist_foundry.judge.gate import gate
from headartist_foundry.judge.samples import sample_sheet
from headartist_foundry.train.loop import Evaluation, TrainingPlan
from headartist_foundry.train.stages import train_denoiser
from headartist_foundry.train.training_context import TrainingContext

RECORD = "training.json"
"""Beside the weights: how many samples they have seen in which runs, so that a later training can go on counting."""


def evaluation(context: TrainingContext, out: Path, start: Path | None = None) -> Evaluation:
    """Build what training calls now and then.

    It writes the prior to `out`, judges it, draws a sample sheet and writes its card.

    Args:
        context: of the training.
        out: folder of the prior, replaced each time.
        start: the prior folder that training started from, whose samples count too. Its pictures may be the same
            again, so that the larger number of both is the one known to have been seen.
    """
    words = {WORDS.name: "".join(f"{word}\n" for word in vocabulary())}
    before = json.loads((start / RECORD).read_text(encoding="utf-8")) if start else {}

    def evaluate(samples: int, seconds: float, average: nn.Module) -> dict[str, Any]:
        """Write, judge and document what is trained so far."""
        assert isinstance(average, nn.ModuleDict)
        total = before.get("samples", 0) + samples
        pictures = max(before.get("pictures", 0), len(context.pictures))
        run = {"samples": samples, "minutes": round(seconds / 60, 1), **context.machine}
        runs = before.get("runs", []) + ([run] if samples else [])
        context.save(out, average, words | {RECORD: json.dumps({"samples": total, "runs": runs}) + "\n"})
        prior = load_prior(out, device="cpu")
        figures = gate(prior, context.held_out)
        sample_sheet(prior, context.folder / f"samples_{total:08d}.png")
        documents = words | {
            RECORD: json.dumps({"samples": total, "pictures": pictures, "runs": runs, **figures}, indent=1) + "\n",
            "README.md": model_card(total, pictures, runs, figures, context.size.picture),
        }
        context.save(out, average, documents)
        return figures

    return evaluate


def train_and_ship(
    context: TrainingContext, plan: TrainingPlan, out: Path, start: Path | None, every_steps: int
) -> None:
    """Train the denoiser and write the prior every so often.

    A plan of no steps ships the denoiser as it is.
    """
    evaluate = evaluation(context, out, start)
    if plan.steps:
        train_denoiser(context, plan, evaluate, every_steps)
    elif context.leads:
        print(evaluate(0, 0.0, context.models.denoiser()))
