"""How far a run has come, and how long the rest will take."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import assert_never

from jaxtyping import Float
from torch import Tensor

from headartist.avatars.avatar import Avatar
from headartist.config.objectives import ObjectiveConfig, Refine, Sds, Ssd, Vsd
from headartist.config.stage import Stage
from headartist.export.pictures import preview
from headartist.training.checkpoint import Position


@dataclass(frozen=True)
class Progress:
    """One step is done.

    Attributes:
        stage: the stage's name.
        stage_number: 1 for the first.
        stage_count: how many there are.
        step: steps of the stage that are done.
        steps: how many it has.
        seconds: wall time of all steps so far, those before a stop among them.
        seconds_left: an estimate for all steps to come, of this stage and the others.
        metrics: what the step measured: "loss", "grad_norm" and the avatar's energies.
        preview: draws the head as it is now: face, left side, back and right side over their normals.
    """

    stage: str
    stage_number: int
    stage_count: int
    step: int
    steps: int
    seconds: float
    seconds_left: float
    metrics: Mapping[str, float]
    preview: Callable[[], Float[Tensor, "3 h w"]]


class WorkLeft:
    """Estimates the time left: what remains of this stage at its own pace, the others in proportion to their work."""

    def __init__(self, stages: Sequence[Stage], position: Position) -> None:
        self._stages = stages
        self._seconds, self._work = 0.0, 0.0
        self._stage, self._stage_seconds, self._stage_steps = position.stage, 0.0, 0

    def after(self, position: Position, seconds: float, metrics: Mapping[str, float], avatar: Avatar) -> Progress:
        """Take a step's time into account and say how far the run has come."""
        stage = self._stages[position.stage]
        if position.stage != self._stage:
            self._stage, self._stage_seconds, self._stage_steps = position.stage, 0.0, 0
        self._stage_seconds, self._stage_steps = self._stage_seconds + seconds, self._stage_steps + 1
        self._seconds, self._work = self._seconds + seconds, self._work + work_of_a_step(stage)
        here = (stage.steps - position.step) * self._stage_seconds / self._stage_steps
        later = sum(other.steps * work_of_a_step(other) for other in self._stages[position.stage + 1 :])
        return Progress(
            stage=stage.name,
            stage_number=position.stage + 1,
            stage_count=len(self._stages),
            step=position.step,
            steps=stage.steps,
            seconds=position.seconds,
            seconds_left=here + later * self._seconds / self._work,
            metrics=metrics,
            preview=lambda: preview(avatar),
        )


def work_of_a_step(stage: Stage) -> float:
    """Estimate how much a step costs, in predictions of the prior for one view under one text."""
    return sum(_work_of(term.objective, stage.views) for term in stage.terms)


def _work_of(objective: ObjectiveConfig, views: int) -> float:
    match objective:
        case Sds():
            return 2.5 * views
        case Ssd():
            return 3.5 * views
        case Vsd():
            return 7.5 * views
        case Refine() as refine:
            texts = 2 if refine.landmark_scale == 1 else 3
            return views * texts * refine.ddim_steps + 0.5 * refine.inner_steps * (refine.views_per_inner_step or views)
        case _:
            assert_never(objective)
