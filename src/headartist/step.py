"""One step of a stage: cameras -> frame -> picture -> conditions -> loss -> the optimiser's step, or many of those."""

from functools import partial
from math import isfinite
from typing import assert_never

import torch
from jaxtyping import Float
from torch import Tensor

from headartist.avatars.avatar import TrainableAvatar
from headartist.cameras import Cameras
from headartist.conditions import Scene, conditions_of, draw_cameras, latent_of, picture_of
from headartist.config import Stage
from headartist.distillation import sds, ssd
from headartist.errors import HeadArtistError
from headartist.geometry.mesh import laplacian_energy, normal_consistency
from headartist.loss_config import Refine, Sds, Ssd
from headartist.priors.prior import Conditions, ScorePrior
from headartist.refinement import clean_picture, difference
from headartist.render.frame import Frame
from headartist.render.light import Lamps, draw_lamps, lit


def train_step(
    scene: Scene, stage: Stage, step: int, optimiser: torch.optim.Optimizer, generator: torch.Generator
) -> dict[str, float]:
    """One step of a stage; returns what is worth writing down.

    Raises:
        HeadArtistError: when there is no surface left, or a gradient is not finite.
    """
    _require_surface(scene, stage, step)
    prior = scene.prior
    # Draws, in this order always: views, noise levels, noise, lamps, then the views of each fit.
    cameras = draw_cameras(scene.config.views, stage.views, generator)
    clock = len(prior.alpha_bar)
    t_min, t_max = stage.t_min(step), stage.t_max(step)
    levels = t_min + (t_max - t_min) * torch.rand(stage.views, generator=generator)
    t = (levels * clock).long().clamp(max=clock - 1).to(scene.device)
    noise = torch.randn(stage.views, *prior.latent_shape, generator=generator).to(scene.device)
    lamps = draw_lamps(stage.views, generator) if stage.lit else None

    draw = partial(_draw, scene, stage, cameras, lamps)
    descend = partial(_descend, scene, stage, optimiser)
    conditions = conditions_of(scene, stage, cameras)
    match stage.loss:
        case Ssd(cfg_scale, anchor):
            z = latent_of(stage, draw(), prior)
            return descend(step, ssd(prior, z, conditions, t, noise, cfg_scale=cfg_scale, anchor=anchor))
        case Sds(cfg_scale):
            z = latent_of(stage, draw(), prior)
            return descend(step, sds(prior, z, conditions, t, noise, cfg_scale=cfg_scale))
        case Refine() as loss:
            with torch.no_grad():
                target = _target(scene, stage, loss, draw(), conditions, t, noise)
            for fit in range(loss.fits):
                _require_surface(scene, stage, step)
                rows = torch.randperm(stage.views, generator=generator)[: loss.fit_views or stage.views]
                row = descend(step + fit / loss.fits, _shortfall(prior, stage, loss, draw(rows), target[rows]))
            return row
        case _:
            assert_never(stage.loss)


def _draw(
    scene: Scene, stage: Stage, cameras: Cameras, lamps: Lamps | None, rows: Tensor | slice = slice(None)
) -> Frame:
    """The avatar as the stage sees it, from all cameras or from those of some rows."""
    cameras, lamps = cameras[rows], lamps and lamps[rows]
    background = torch.tensor(stage.background, device=scene.device)
    frame = scene.avatar.render(cameras.to(scene.device), stage.render_size, background, colour=stage.draws == "rgb")
    return lit(frame, lamps, background) if lamps else frame


def _target(
    scene: Scene, stage: Stage, loss: Refine, frame: Frame, conditions: Conditions, t: Tensor, noise: Tensor
) -> Float[Tensor, "b 3 n n"]:
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


def _shortfall(
    prior: ScorePrior, stage: Stage, loss: Refine, frame: Frame, target: Float[Tensor, "b 3 n n"]
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
    shaping = next((each for each in (stage, *reversed(scene.config.stages)) if each.shapes), stage)
    raise HeadArtistError(
        f"Step {step} of {stage.name} finds no surface left: start again with --overwrite and another --seed, or "
        f"smaller learning rates such as --set {shaping.name}.rates.mlp={shaping.rates.mlp(step) / 2:g}."
    )
