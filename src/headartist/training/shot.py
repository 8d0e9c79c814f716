"""Draw a shot: cameras, noise levels, noise and lamps, and what follows from them."""

from collections.abc import Sequence
from dataclasses import replace
from typing import assert_never

import torch
from jaxtyping import Float
from torch import Tensor

from headartist.avatars.avatar import TrainableAvatar
from headartist.config.config import Views
from headartist.config.stage import Drawing as Drawn
from headartist.config.stage import Stage, Term
from headartist.geometry.cameras import Cameras, sample_cameras
from headartist.heads.landmarks import landmark_map
from headartist.objectives.objective import Shot, Sight
from headartist.render.frame import Frame
from headartist.render.shading import Lamps, Shading, sample_lamps
from headartist.training.problem import Judge, Problem


class NoSurface(Exception):
    """The avatar has no surface left."""


class Drawing:
    """One shot's views of an avatar; draws them as a `Look`, and keeps the last frame that was drawn."""

    def __init__(
        self, avatar: TrainableAvatar, stage: Stage, draws: Drawn, cameras: Cameras, lamps: Lamps | None
    ) -> None:
        self._avatar, self._stage, self._draws, self._cameras, self._lamps = avatar, stage, draws, cameras, lamps
        self._background = torch.tensor(stage.background, device=cameras.azimuth_deg.device)
        self.frame: Frame | None = None

    def __call__(self, rows: Tensor | None = None) -> Sight:
        """Draw all views, or those of some rows.

        Raises:
            NoSurface: there is nothing to draw; without a surface no gradient ever brings one back.
        """
        some = slice(None) if rows is None else rows
        cameras, stage = self._cameras[some], self._stage
        shading = Shading(color=self._draws == "color", lamps=self._lamps and self._lamps[some])
        self.frame = frame = self._avatar.render(cameras, stage.render_size, shading, self._background)
        if frame.surface is not None and not len(frame.surface.faces):
            raise NoSurface
        return Sight(
            picture=picture_of(self._draws, frame),
            latent=latent_of(self._draws, frame),
            opacity=frame.opacity,
            facing=frame.normal[:, 2:],
        )


def draw_shots(
    problem: Problem,
    avatar: TrainableAvatar,
    stage: Stage,
    judges: Sequence[Judge],
    progress: int | float,
    generator: torch.Generator,
) -> list[tuple[Shot, Drawing]]:
    """Draw all that is random in a step, in this order always: views, noise levels, each term's noise, lamps.

    Returns one shot for each term of the stage: they share all but the noise and what is drawn.
    """
    device, views = problem.device, stage.views
    cameras = sample_views(problem.config.views, views, generator)
    t_min, t_max = stage.t_min(progress), stage.t_max(progress)
    levels = t_min + (t_max - t_min) * torch.rand(views, generator=generator)
    noises = [torch.randn(views, *judge.prior.latent_shape, generator=generator).to(device) for judge in judges]
    lamps = sample_lamps(views, generator) if stage.lit else None

    def shot(term: Term, judge: Judge, noise: Tensor) -> tuple[Shot, Drawing]:
        clock = len(judge.prior.alpha_bar)
        drawing = Drawing(avatar, stage, term.draws, cameras.to(device), lamps)
        told = Shot(
            texts=judge.texts,
            t=(levels * clock).long().clamp(max=clock - 1).to(device),
            noise=noise,
            azimuth_deg=cameras.azimuth_deg,
            elevation_deg=cameras.elevation_deg,
            pose=cameras.T_camera_world.to(device),
            landmark_map=_landmark_map(problem, avatar, judge.prior.landmark_size, cameras),
            look=drawing,
            generator=generator,
        )
        return told, drawing

    return [shot(*each) for each in zip(stage.terms, judges, noises, strict=True)]


def sample_views(views: Views, count: int, generator: torch.Generator) -> Cameras:
    """Random cameras within the config's ranges; a share of them keeps to a third of the azimuths, towards the face."""
    cameras = sample_cameras(count, generator, views.azimuth_deg, views.elevation_deg, views.fov_y_deg, views.radius)
    frontal = torch.rand(count, generator=generator) < views.front_share
    return replace(cameras, azimuth_deg=torch.where(frontal, cameras.azimuth_deg / 3, cameras.azimuth_deg))


def picture_of(draws: Drawn, frame: Frame) -> Float[Tensor, "b 3 h w"]:
    """Return what a term draws as a picture in [0, 1]."""
    match draws:
        case "color":
            return frame.color
        case "normal" | "normal_opacity_latent":
            return frame.normal_picture
        case _:
            assert_never(draws)


def latent_of(draws: Drawn, frame: Frame) -> Float[Tensor, "b c y x"] | None:
    """What is judged in the place of the encoded picture: normals and opacity (4.2.1), or the frame's own latent."""
    if draws == "normal_opacity_latent":
        return torch.cat([frame.normal, frame.opacity], dim=1)
    return frame.latent


def _landmark_map(
    problem: Problem, avatar: TrainableAvatar, size: int, cameras: Cameras
) -> Float[Tensor, "b 3 h w"] | None:
    """The landmark picture of every view: of the avatar's own sites where they move with it, else the template's."""
    if not size:
        return None
    head, landmarks = avatar.landmarks() or problem.template, problem.config.landmarks
    back, hide = landmarks.back_view_deg, landmarks.hide_occluded
    drawn = landmark_map(head, cameras, size, back_view_deg=back, hide_occluded=hide)
    return drawn.to(problem.device)
