"""The one loop: cameras -> frame -> picture -> conditions -> loss -> step, stage after stage.

Every random draw comes from one generator, whose state the checkpoint keeps: a run that is stopped at any step and
resumed equals the unbroken run, bit for bit on the CPU.
"""

import time
from dataclasses import replace
from functools import partial
from math import isfinite
from typing import assert_never

import torch
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from headartist.avatars.avatar import TrainableAvatar
from headartist.cameras import Cameras
from headartist.checkpoint import Progress, load_checkpoint, save_checkpoint, save_head
from headartist.conditions import Scene, conditions_of, draw_cameras, latent_of, picture_of
from headartist.config import Stage
from headartist.distillation import sds, ssd
from headartist.errors import HeadArtistError
from headartist.export.pictures import preview, save_png
from headartist.folder import HeadFolder
from headartist.geometry.mesh import laplacian_energy, normal_consistency
from headartist.interrupts import Interrupt, deferred_interrupts
from headartist.loss_config import Refine, Sds, Ssd
from headartist.priors.prior import Conditions, ScorePrior
from headartist.refinement import clean_picture, difference
from headartist.render.frame import Frame
from headartist.render.light import Lamps, draw_lamps, lit

_SHAPE = frozenset({"sdf", "offset"})
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
    checkpoint = load_checkpoint(folder)
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
            raise KeyboardInterrupt
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
            if done.step % run.checkpoint_every == 0 or interrupt.asked:
                save_checkpoint(folder, done, scene.avatar, optimiser, generator)
            if interrupt.asked:
                raise KeyboardInterrupt
            bar.update()
            bar.set_postfix(loss=f"{row['loss']:.3g}", refresh=False)
    return done


def train_step(
    scene: Scene, stage: Stage, step: int, optimiser: torch.optim.Optimizer, generator: torch.Generator
) -> dict[str, float]:
    """One step of a stage; returns what is worth writing down.

    Raises:
        HeadArtistError: when there is no surface left, or a gradient is not finite.
    """
    _require_surface(scene, stage, step)
    prior = scene.prior
    # Draws, in this order always: views, noise levels, noise, lamps, and what a refinement fits first.
    cameras = draw_cameras(scene.config.views, stage.views, generator)
    clock = len(prior.alpha_bar)
    t_min, t_max = stage.t_min(step), stage.t_max(step)
    levels = t_min + (t_max - t_min) * torch.rand(stage.views, generator=generator)
    t = (levels * clock).long().clamp(max=clock - 1).to(scene.device)
    noise = torch.randn(stage.views, *prior.latent_shape, generator=generator).to(scene.device)
    lamps = draw_lamps(stage.views, generator) if stage.lit else None

    draw = partial(_draw, scene, stage, cameras.to(scene.device), lamps)
    descend = partial(_descend, scene, stage, optimiser)
    conditions = conditions_of(scene, stage, cameras)
    match stage.loss:
        case Ssd(cfg_scale, anchor):
            z = latent_of(stage, draw(), prior)
            return descend(step, ssd(prior, z, conditions, t, noise, cfg_scale=cfg_scale, anchor=anchor))
        case Sds(cfg_scale):
            z = latent_of(stage, draw(), prior)
            return descend(step, sds(prior, z, conditions, t, noise, cfg_scale=cfg_scale))
        case Refine(fits=1) as loss:
            frame = draw()
            target = _wanted(scene, stage, loss, frame, conditions, t, noise)
            return descend(step, _missing(prior, stage, loss, frame, target))
        case Refine() as loss:
            with torch.no_grad():
                target = _wanted(scene, stage, loss, draw(), conditions, t, noise)
            for fit in range(loss.fits):
                rows = torch.randperm(stage.views, generator=generator)[: loss.fit_views]
                row = descend(step + fit / loss.fits, _missing(prior, stage, loss, draw(rows), target[rows]))
            return row
        case _:
            assert_never(stage.loss)


def _draw(scene: Scene, stage: Stage, cameras: Cameras, lamps: Lamps | None, rows: Tensor | None = None) -> Frame:
    """The avatar as the stage sees it, from all cameras or from those of some rows."""
    if rows is not None:
        cameras, lamps = cameras[rows.to(scene.device)], lamps and lamps[rows]
    background = torch.tensor(stage.background, device=scene.device)
    frame = scene.avatar.render(cameras, stage.render_size, background, colour=stage.draws == "rgb")
    return lit(frame, lamps, background) if lamps else frame


def _wanted(
    scene: Scene, stage: Stage, loss: Refine, frame: Frame, conditions: Conditions, t: Tensor, noise: Tensor
) -> Float[Tensor, "b 3 size size"]:
    """What a refinement wants a frame to look like."""
    return clean_picture(
        scene.prior,
        picture_of(stage, frame),
        conditions,
        t,
        noise,
        cfg_scale=loss.cfg_scale,
        landmark_scale=loss.landmark_scale if conditions.blind else 1.0,
        x0_steps=loss.x0_steps,
        relative=loss.relative,
    )


def _missing(
    prior: ScorePrior, stage: Stage, loss: Refine, frame: Frame, target: Float[Tensor, "b 3 size size"]
) -> Float[Tensor, ""]:
    """How far a frame is from what a refinement wants."""
    weight = None
    if loss.facing:
        weight = (frame.opacity * frame.normal[:, 2:].clamp(min=0) ** loss.facing).detach()
    picture = picture_of(stage, frame)
    return difference(prior, picture, target, perceptual=loss.perceptual, features=loss.features, weight=weight)


def _descend(
    scene: Scene, stage: Stage, optimiser: torch.optim.Optimizer, step: int | float, distilled: Float[Tensor, ""]
) -> dict[str, float]:
    """Take one optimiser step down a loss and the surface's energies; returns what is worth writing down.

    Raises:
        HeadArtistError: a gradient is not finite.
    """
    roughness, energies = smoothness(scene.avatar, stage, step)
    optimiser.zero_grad(set_to_none=True)
    (distilled + roughness).backward()
    norm = _gradient_norm(optimiser)
    if not isfinite(norm):
        raise HeadArtistError(
            f"Step {int(step)} of {stage.name} gave a gradient that is not finite: start again with --overwrite --set "
            f"{stage.name}.loss.cfg_scale={stage.loss.cfg_scale / 2:g}, or with smaller {stage.name}.rates."
        )
    for group in optimiser.param_groups:
        group["lr"] = group["rate"](step)
    optimiser.step()
    return {"loss": float(distilled.detach()), "grad_norm": norm, **energies}


def smoothness(avatar: TrainableAvatar, stage: Stage, step: int | float) -> tuple[Tensor | float, dict[str, float]]:
    """The weighted sum of the surface's energies (supplement D), and each energy without its weight."""
    weights = stage.regularisers.normal_consistency(step), stage.regularisers.laplacian(step)
    if not any(weights):
        return 0.0, {}
    surface = avatar.surface()
    energies = {"normal_consistency": normal_consistency(surface), "laplacian": laplacian_energy(surface)}
    total = sum(weight * energy for weight, energy in zip(weights, energies.values(), strict=True))
    return total, {name: float(energy.detach()) for name, energy in energies.items()}


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


def _gradient_norm(optimiser: torch.optim.Optimizer) -> float:
    """The length of all gradients as one vector."""
    parameters = (parameter for group in optimiser.param_groups for parameter in group["params"])
    norms = [torch.linalg.vector_norm(parameter.grad) for parameter in parameters if parameter.grad is not None]
    return float(torch.linalg.vector_norm(torch.stack(norms)))


def _require_surface(scene: Scene, stage: Stage, step: int) -> None:
    """Refuse to draw nothing: without a surface no gradient ever brings one back."""
    if len(scene.avatar.surface().faces):
        return
    # Where this stage is not the one that moves the surface, a stage before it was.
    shaping = next((each for each in (stage, *reversed(scene.config.stages)) if _SHAPE & set(each.trains)), stage)
    raise HeadArtistError(
        f"Step {step} of {stage.name} finds no surface left: start again with --overwrite and another --seed, or "
        f"smaller learning rates such as --set {shaping.name}.rates.mlp={shaping.rates.mlp(step) / 2:g}."
    )
