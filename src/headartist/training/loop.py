"""The one loop: step after step, stage after stage.

Every random draw comes from one generator, whose state the checkpoint keeps: a run that is stopped at any step and
resumed equals the unbroken run, bit for bit on the CPU.
"""

import time
from collections.abc import Generator
from dataclasses import replace

import torch

from headartist.avatars.avatar import TrainableAvatar
from headartist.avatars.build import begin_avatar, empty_avatar
from headartist.export.pictures import preview, save_png
from headartist.objectives.build import build_objective
from headartist.training.checkpoint import Checkpoint, Position, load_checkpoint, save_checkpoint, save_head
from headartist.training.folder import HeadFolder
from headartist.training.optimizer import make_optimizer
from headartist.training.problem import Problem
from headartist.training.progress import Progress, WorkLeft
from headartist.training.step import Work, train_step


def train(problem: Problem, folder: HeadFolder, generator: torch.Generator) -> Generator[Progress, None, None]:
    """Optimise the avatar through all stages, from the folder's checkpoint where there is one.

    Yields after every step. Closing the iterator, or an exception thrown at it, saves first: the same call goes on
    from there. The finished head is saved before the iterator ends.

    Args:
        problem: who takes part.
        folder: where checkpoints, metrics and previews go.
        generator: all random draws, on the CPU.

    Raises:
        HeadArtistError: when the surface vanishes or a gradient is not finite; the last checkpoint stays.
    """
    config, stages, avatar = problem.config, problem.config.stages, problem.avatar
    checkpoint = load_checkpoint(folder, config)
    position = checkpoint.position if checkpoint else Position()
    names = [stage.name for stage in stages]
    folder.trim_metrics(lambda row: (names.index(row["stage"]), row["step"]) < (position.stage, position.step))
    if checkpoint:
        if any(stage.avatar for stage in stages[: position.stage + 1]):
            avatar = empty_avatar(config.avatar_at(position.stage)).to(problem.device)
        checkpoint.restore_avatar(avatar)
        checkpoint.restore_generator(generator)
    left = WorkLeft(stages, position)
    for index in range(position.stage, len(stages)):
        resumed = checkpoint if checkpoint and index == checkpoint.position.stage else None
        if (other := stages[index].avatar) and not resumed:
            avatar = begin_avatar(other, problem.template, generator=generator, device=problem.device, before=avatar)
        work = _begin(problem, index, avatar, generator, resumed)
        position = replace(position, stage=index, step=position.step if resumed else 0)
        position = yield from _train_stage(problem, work, folder, generator, position, left)
    save_head(folder, replace(position, stage=len(stages), step=0), avatar, generator)


def _begin(
    problem: Problem, index: int, avatar: TrainableAvatar, generator: torch.Generator, checkpoint: Checkpoint | None
) -> Work:
    """Return a stage's optimizer and objectives, as the checkpoint left them where there is one."""
    stage, judges = problem.config.stages[index], problem.judges[index]
    optimizer = make_optimizer(avatar, stage)
    given = problem.objectives.get(stage.name)
    pairs = zip(stage.terms, judges, strict=True)
    objectives = tuple(given or build_objective(term.objective, judge.prior, generator) for term, judge in pairs)
    if checkpoint:
        checkpoint.restore_optimizer(optimizer)
        for number, objective in enumerate(objectives):
            objective.load_state_dict(checkpoint.objective(number))
        checkpoint.restore_generator(generator)  # last: an objective that begins may draw
    return Work(stage, avatar, optimizer, judges, objectives)


def _train_stage(
    problem: Problem,
    work: Work,
    folder: HeadFolder,
    generator: torch.Generator,
    position: Position,
    left: WorkLeft,
) -> Generator[Progress, None, Position]:
    """Carry out what is left of the stage that `position` stands in; returns how far that has come."""
    stage, run = work.stage, problem.config.run

    def save() -> None:
        learned = [objective.state_dict() for objective in work.objectives]
        save_checkpoint(folder, position, work.avatar, work.optimizer, generator, learned)

    for step in range(position.step, stage.steps):
        started = time.perf_counter()
        row = train_step(problem, work, step, generator)
        seconds = time.perf_counter() - started
        position = Position(position.stage, step + 1, position.seconds + seconds)

        if step % run.log_every == 0:
            folder.append_metrics({"stage": stage.name, "step": step, **row, "seconds": position.seconds})
        if run.preview_every and position.step % run.preview_every == 0:
            name = f"{position.stage}-{stage.name}-{position.step:05d}.png"
            save_png(folder.previews / name, preview(work.avatar))
        saved = position.step % run.checkpoint_every == 0 or position.step == stage.steps
        if saved:
            save()
        try:
            yield left.after(position, seconds, row, work.avatar)
        except BaseException:
            if not saved:
                save()
            raise
    return position
