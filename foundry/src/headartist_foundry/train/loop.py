"""One module's training: steps, learning rate, average, log and state; resumable.

Started by `torchrun`, several processes share the work: each takes its own batches and gradients are averaged. On a CPU
this is how to use its cores, since networks this small gain nothing from threads.
"""

import copy
import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from headartist.system.errors import HeadArtistError
from headartist_foundry.train.state import load_state, save_state
from headartist_foundry.train.training_context import TrainingContext

LOG_STEPS = 50
WARM_UP = 100
MOST_LEFT_OUT = 20
"""Steps in a row whose gradient may be out of range."""

LossOf = Callable[[np.random.Generator, torch.Generator], Tensor]
"""A loss on a batch that it draws itself."""
Evaluation = Callable[[int, float, nn.Module], dict[str, Any]]
"""Called with samples seen, seconds taken and the module's average; returns numbers to log."""


@dataclass(frozen=True)
class TrainingPlan:
    """Say how long and how fast to train.

    The learning rate falls linearly at the end.

    Attributes:
        steps: at most.
        batch: samples a step, of each process.
        rate: learning rate.
        ema: decay of the average.
        seconds: at most; then the run takes as many steps as it has time for.
        fall: the share of the training over which the rate falls.
    """

    steps: int
    batch: int
    rate: float
    ema: float = 0.999
    seconds: float = math.inf
    fall: float = 0.2

    def left_at(self, step: int, seconds: float = 0.0) -> float:
        """Compute the share of the training still ahead."""
        return min((self.steps - step) / self.steps, 1 - seconds / self.seconds)

    def rate_at(self, step: int, seconds: float = 0.0) -> float:
        """Compute the learning rate: warm-up, constant, fall to a fiftieth."""
        fall = min(1.0, self.left_at(step, seconds) / self.fall)
        return self.rate * min(1.0, (step + 1) / WARM_UP) * max(0.02, fall)


class Training:
    """Train one module.

    It holds the average, the optimiser, random draws and how far it has come.
    """

    def __init__(self, context: TrainingContext, name: str, module: nn.Module, plan: TrainingPlan) -> None:
        self.context, self.name, self.module, self.plan = context, name, module.train(), plan
        self.average = copy.deepcopy(module).eval().requires_grad_(False)
        self.optimizer = torch.optim.AdamW(
            module.parameters(), lr=plan.rate, betas=(0.9, 0.99), weight_decay=0.01, fused=True
        )
        if math.isfinite(plan.seconds) and context.team > 1:
            raise HeadArtistError("--minutes is for one process: with several, give --steps")
        self.step, self.samples = 0, 0
        self.seconds = 0.0
        numbers = load_state(self.path, self._modules, self.optimizer) if self.path.exists() else None
        if numbers:
            self.step, self.samples = numbers["step"], numbers["samples"]
            self.seconds = numbers.get("seconds", 0.0)
        self._began = time.monotonic() - self.seconds
        self._left_out = 0
        # The state keeps the leader's draws; the others begin new ones.
        self.rng = np.random.default_rng((1, context.rank, self.step))
        self.generator = torch.Generator(context.device).manual_seed(int(self.rng.integers(2**62)))
        if numbers and context.leads:
            self.rng.bit_generator.state = numbers["rng"]
            draws = torch.frombuffer(bytearray.fromhex(numbers["generator"]), dtype=torch.uint8)
            self.generator.set_state(draws.clone())

    @property
    def path(self) -> Path:
        """Where the state is kept."""
        return self.context.folder / f"{self.name}.safetensors"

    @property
    def _modules(self) -> dict[str, nn.Module]:
        """What the state keeps."""
        return {"live": self.module, "average": self.average}

    def save(self) -> None:
        """Write all that going on needs."""
        numbers = {
            "step": self.step,
            "samples": self.samples,
            "seconds": self.seconds,
            "rng": self.rng.bit_generator.state,
            "generator": bytes(self.generator.get_state().numpy()).hex(),
        }
        save_state(self.path, self._modules, self.optimizer, numbers)

    @property
    def finished(self) -> bool:
        """Whether its steps or its time are over."""
        return self.plan.left_at(self.step, self.seconds) <= 0

    def advance(self, loss_of: LossOf) -> Tensor:
        """Take one step and return its loss.

        A GPU may still be at work on it.
        """
        loss = loss_of(self.rng, self.generator)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if self.context.team > 1:
            _average_gradients(self.module, self.context.team)
        norm = nn.utils.clip_grad_norm_(self.module.parameters(), 1.0)
        if self._sound(norm):
            for group in self.optimizer.param_groups:
                group["lr"] = self.plan.rate_at(self.step, self.seconds)
            self.optimizer.step()
            decay = min(self.plan.ema, (2 + self.step) / (11 + self.step))
            with torch.no_grad():
                torch._foreach_lerp_(list(self.average.parameters()), list(self.module.parameters()), 1 - decay)
        self.step += 1
        self.samples += self.plan.batch * self.context.team
        self.seconds = time.monotonic() - self._began
        return loss.detach()

    def _sound(self, norm: Tensor) -> bool:
        """Tell whether a gradient is finite.

        One that is not is left out, but it is an error when that goes on.
        """
        self._left_out = 0 if bool(torch.isfinite(norm)) else self._left_out + 1
        if self._left_out == MOST_LEFT_OUT:
            raise HeadArtistError(
                f"The gradients of {self.name} have not been finite for {MOST_LEFT_OUT} steps: "
                f"go on from {self.path} with a lower rate, or with --bfloat16 False."
            )
        return self._left_out == 0

    def log(self, entry: dict[str, Any]) -> None:
        """Add a line to the log."""
        print(self.name, entry, flush=True)
        with self.path.with_suffix(".jsonl").open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(entry) + "\n")


def train(
    context: TrainingContext,
    name: str,
    module: nn.Module,
    plan: TrainingPlan,
    loss_of: LossOf,
    every: Evaluation | None = None,
    every_steps: int = 1000,
    save_steps: int = 200,
) -> nn.Module:
    """Minimise `loss_of` and return the module's moving average.

    Goes on from the context's state when there is one. `every` is called now and then with the number of samples seen,
    the seconds and the average, before that step is saved, so that no evaluation is ever lost; its numbers are logged.
    """
    training = Training(context, name, module, plan)
    losses: list[Tensor] = []
    while not training.finished:
        losses.append(training.advance(loss_of))
        step, last = training.step, training.finished
        if context.leads and (step % LOG_STEPS == 0 or last):
            entry = {"step": step, "samples": training.samples, "loss": round(float(torch.stack(losses).nanmean()), 5)}
            training.log(entry | {"seconds": round(training.seconds, 1)})
            losses.clear()
        if every and context.leads and (step % every_steps == 0 or last):
            training.log({"step": step, **every(training.samples, training.seconds, training.average)})
        if step % save_steps == 0 or last:
            if context.leads:
                training.save()
            context.refresh()
    return training.average


def _average_gradients(module: nn.Module, team: int) -> None:
    """Average the gradients of all processes."""
    gradients = [p.grad for p in module.parameters() if p.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    parts = (flat / team).split([gradient.numel() for gradient in gradients])
    for gradient, part in zip(gradients, parts, strict=True):
        gradient.copy_(part.view_as(gradient))
