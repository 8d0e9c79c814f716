"""The one loop: step after step, stage after stage.

Every random draw comes from one generator, whose state the checkpoint keeps: a run that is stopped at any step and
resumed equals the unbroken run, bit for bit on the CPU.
"""

import time
from dataclasses import replace

import torch
from torch import Tensor
from tqdm import tqdm

from headartist.avatars.avatar import TrainableAvatar
from headartist.checkpoint import Progress, load_checkpoint, save_checkpoint, save_head
from headartist.conditions import Scene
from headartist.config import Stage
from headartist.errors import HeadArtistError
from headartist.export.pictures import preview, save_png
from headartist.folder import HeadFolder
from headartist.interrupts import Interrupt, deferred_interrupts
from headartist.step import train_step

BETAS, EPS = (0.9, 0.99), 1e-15  # of the released code


def train(scene: Scene, folder: HeadFolder, generator: torch.Generator, *, progress: bool = True) -> Progress:
    """Optimise the avatar through all stages, from the folder's checkpoint where there is one.

    Args:
        scene: who takes part.
        folder: where checkpoints, metrics and previews go.
        generator: all random draws, on the CPU.
        progress: whether to show a bar on the terminal.

    Raises:
        HeadArtistError: when the surface vanishes or a gradient is not finite; the last checkpoint stays.
        KeyboardInterrupt: at the end of a step, after saving, when the user asked to stop.
    """
    config = scene.config
    checkpoint = load_checkpoint(folder, config)
    done = checkpoint.progress if checkpoint else Progress()
    if checkpoint:
        checkpoint.restore(scene.avatar, generator)
    names = [stage.name for stage in config.stages]
    folder.trim_metrics(lambda row: (names.index(row["stage"]), row["step"]) < (done.stage, done.step))

    # From here on a request to stop waits for the end of a step.
    with deferred_interrupts() as interrupt:
        for index in range(done.stage, len(config.stages)):
            optimiser = make_optimiser(scene.avatar, config.stages[index])
            if checkpoint and index == checkpoint.progress.stage:
                checkpoint.restore_optimiser(optimiser)
            done = replace(done, stage=index, step=done.step if index == done.stage else 0)
            done = _train_stage(scene, folder, optimiser, generator, done, interrupt, progress=progress)
        done = replace(done, stage=len(config.stages), step=0)
        save_head(folder, done, scene.avatar, generator)
        if interrupt.asked:
            raise KeyboardInterrupt(interrupt.number)
    return done


def _train_stage(
    scene: Scene,
    folder: HeadFolder,
    optimiser: torch.optim.Optimizer,
    generator: torch.Generator,
    done: Progress,
    interrupt: Interrupt,
    *,
    progress: bool,
) -> Progress:
    """Carry out what is left of the stage that `done` stands in; returns how far that has come."""
    stage, run = scene.config.stages[done.stage], scene.config.run
    with tqdm(total=stage.steps, initial=done.step, desc=stage.name, unit="step", disable=not progress) as bar:
        for step in range(done.step, stage.steps):
            started = time.perf_counter()
            row = train_step(scene, stage, step, optimiser, generator)
            done = Progress(done.stage, step + 1, done.seconds + time.perf_counter() - started)

            if step % run.log_every == 0:
                folder.append_metrics({"stage": stage.name, "step": step, **row, "seconds": done.seconds})
            if run.preview_every and done.step % run.preview_every == 0:
                save_png(folder.previews / f"{done.stage}-{stage.name}-{done.step:05d}.png", preview(scene.avatar))
            if done.step % run.checkpoint_every == 0 or done.step == stage.steps or interrupt.asked:
                save_checkpoint(folder, done, scene.avatar, optimiser, generator)
            if interrupt.asked:
                raise KeyboardInterrupt(interrupt.number)
            bar.update()
            bar.set_postfix(loss=f"{row['loss']:.3g}", refresh=False)
    return done


def make_optimiser(avatar: TrainableAvatar, stage: Stage) -> torch.optim.AdamW:
    """AdamW over the parts that the stage trains, hash tables and networks apart; every other part is frozen.

    Raises:
        HeadArtistError: when the avatar has none of the parts.
    """
    parts = {name: list(parameters) for name, parameters in avatar.parts().items()}
    for name, parameters in parts.items():
        for parameter in parameters:
            parameter.requires_grad_(name in stage.trains)
    trained = {id(p) for name in stage.trains for p in parts.get(name, ())}
    if not trained:
        raise HeadArtistError(
            f"Stage {stage.name} trains {', '.join(stage.trains)}, but the head has only {', '.join(parts)}."
        )
    groups: dict[str, list[Tensor]] = {"hash_grid": [], "mlp": []}
    for name, parameter in avatar.named_parameters():
        if id(parameter) in trained:
            groups["hash_grid" if name.endswith("encoding.table") else "mlp"].append(parameter)
    settings = [{"params": params, "rate": getattr(stage.rates, group)} for group, params in groups.items() if params]
    return torch.optim.AdamW(settings, lr=0.0, betas=BETAS, eps=EPS, weight_decay=stage.weight_decay, fused=True)
