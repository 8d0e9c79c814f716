"""One step of a stage: shots are drawn, objectives say which way, and the optimizer goes, once or many times."""

from dataclasses import dataclass
from itertools import zip_longest
from math import isfinite

import torch
from torch import Tensor

from headartist.avatars.avatar import TrainableAvatar
from headartist.config.stage import Stage
from headartist.objectives.objective import Objective, Shot
from headartist.render.frame import Frame
from headartist.system.errors import HeadArtistError
from headartist.training.optimizer import gradient_norm, set_rates
from headartist.training.problem import Judge, Problem
from headartist.training.shot import NoSurface, draw_shots


@dataclass(frozen=True)
class Work:
    """A stage under way.

    Attributes:
        stage: what is asked.
        avatar: what learns.
        optimizer: of the parts that the stage trains.
        judges: who judges each term, with its texts.
        objectives: what is minimised, by term.
    """

    stage: Stage
    avatar: TrainableAvatar
    optimizer: torch.optim.Optimizer
    judges: tuple[Judge, ...]
    objectives: tuple[Objective, ...]


def train_step(problem: Problem, work: Work, step: int, generator: torch.Generator) -> dict[str, float]:
    """Take one step of a stage; returns what is worth writing down.

    Raises:
        HeadArtistError: when there is no surface left, or a gradient is not finite.
    """
    stage, inner_steps = work.stage, max(objective.inner_steps for objective in work.objectives)
    shots = draw_shots(problem, work.avatar, stage, work.judges, step / stage.steps, generator)
    by_term = [objective.losses(shot) for objective, (shot, _) in zip(work.objectives, shots, strict=True)]
    row: dict[str, float] = {}
    try:
        for index, losses in enumerate(zip_longest(*by_term)):  # a term with fewer losses than another ends earlier
            told = [k for k, loss in enumerate(losses) if loss is not None]
            loss = torch.stack([stage.terms[k].weight * losses[k] for k in told]).sum()
            frame = shots[told[0]][1].frame
            assert frame is not None
            row = _descend(work, step, (step + index / inner_steps) / stage.steps, loss, frame)
    except NoSurface:
        # Where this stage is not the one that moves the surface, a stage before it was.
        stages = (stage, *reversed(problem.config.stages))
        shaping = next((each for each in stages if "shape" in problem.config.learned(each)), stage)
        rate = shaping.rates.mlp(step / stage.steps)
        raise HeadArtistError(
            f"Step {step} of {stage.name} finds no surface left: start again with --overwrite and another --seed, "
            f"or smaller learning rates such as --set {shaping.name}.rates.mlp={rate / 2:g}."
        ) from None
    return row | _told(work, shots[0][0])


def _told(work: Work, shot: Shot) -> dict[str, float]:
    """Say at which noise levels the step judged, how strongly it was guided, and on CUDA the memory it took."""
    clock = len(work.judges[0].prior.alpha_bar)
    told = {"t": float(shot.t.float().mean()) / clock, "cfg_scale": work.stage.term.objective.cfg_scale}
    if shot.t.device.type == "cuda":
        told["memory_gib"] = torch.cuda.max_memory_allocated(shot.t.device) / 2**30
    return told


def _descend(work: Work, step: int, progress: int | float, loss: Tensor, frame: Frame) -> dict[str, float]:
    """Take one optimizer step down a loss and the avatar's energies; returns what is worth writing down.

    Raises:
        HeadArtistError: a gradient is not finite.
    """
    stage = work.stage
    roughness, energies = weighted_energies(work.avatar, stage, progress, frame)
    work.optimizer.zero_grad(set_to_none=True)
    (loss + roughness).backward()
    norm = gradient_norm(work.optimizer)
    if not isfinite(norm):
        scale = f"{stage.name}{'' if len(stage.terms) == 1 else '.terms.0'}.objective.cfg_scale"
        raise HeadArtistError(
            f"Step {step} of {stage.name} gave a gradient that is not finite: start again with --overwrite --set "
            f"{scale}={stage.term.objective.cfg_scale / 2:g}, or with smaller {stage.name}.rates."
        )
    set_rates(work.optimizer, progress)
    work.optimizer.step()
    return {"loss": float(loss.detach()), "grad_norm": norm, **energies}


def weighted_energies(
    avatar: TrainableAvatar, stage: Stage, progress: int | float, frame: Frame
) -> tuple[Tensor | float, dict[str, float]]:
    """Return the weighted sum of the avatar's energies (supplement D), and each energy without its weight."""
    weights = stage.regularizers.at(progress)
    if not any(weights.values()):
        return 0.0, {}
    energies = avatar.energies(frame)
    total = sum(weight * energies[name] for name, weight in weights.items() if name in energies)
    return total, {name: float(energy.detach()) for name, energy in energies.items()}
