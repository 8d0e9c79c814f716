"""What the prior is shown of one step: where the cameras stand, the picture of the frame, the words, the landmarks."""

import warnings
from dataclasses import dataclass, replace
from typing import assert_never

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import interpolate

from headartist.avatars.avatar import TrainableAvatar
from headartist.cameras import Cameras, sample_cameras
from headartist.config import Config, Stage, Views
from headartist.errors import HeadArtistError
from headartist.heads.landmarks import landmark_map
from headartist.heads.template import HeadTemplate
from headartist.loss_config import Loss, Refine, Sds, Ssd
from headartist.priors.prior import Conditions, OtherViews, ScorePrior
from headartist.priors.stable_diffusion import TextCutOff
from headartist.prompts import VIEW_WORDS, PromptWarning, negative_text, plain_text, view_mix, view_text, view_word
from headartist.render.frame import Frame


@dataclass(frozen=True)
class Scene:
    """What stays from step to step: what is asked, the head that learns, the head it began as, and the judge."""

    config: Config
    avatar: TrainableAvatar
    template: HeadTemplate
    prior: ScorePrior
    device: torch.device


def draw_cameras(views: Views, count: int, generator: torch.Generator) -> Cameras:
    """Random cameras within the config's ranges; a share of them keeps to a third of the azimuths, towards the face."""
    cameras = sample_cameras(count, generator, views.azimuth_deg, views.elevation_deg, views.fov_y_deg, views.radius)
    frontal = torch.rand(count, generator=generator) < views.front_share
    return replace(cameras, azimuth_deg=torch.where(frontal, cameras.azimuth_deg / 3, cameras.azimuth_deg))


def latent_of(stage: Stage, frame: Frame, prior: ScorePrior) -> Float[Tensor, "b c y x"]:
    """What the prior judges of a frame: an encoded picture, or normals and opacity in the latent's place (4.2.1).

    Raises:
        HeadArtistError: when the prior's latent has not the four channels that the latter takes.
    """
    if stage.draws == "normal_opacity_latent":
        return _normals_as_latent(stage, frame, prior)
    return prior.encode(picture_of(stage, frame))


def picture_of(stage: Stage, frame: Frame) -> Float[Tensor, "b 3 h w"]:
    """What the stage draws, as a picture in [0, 1]."""
    match stage.draws:
        case "rgb":
            return frame.rgb
        case "normal" | "normal_opacity_latent":
            return frame.normal_picture
        case _:
            assert_never(stage.draws)


def _normals_as_latent(stage: Stage, frame: Frame, prior: ScorePrior) -> Float[Tensor, "b c y x"]:
    picture = torch.cat([frame.normal, frame.opacity], dim=1)
    if prior.latent_shape[0] != picture.shape[1]:
        raise HeadArtistError(
            f"Stage {stage.name} draws four channels but the prior's latent has {prior.latent_shape[0]}: "
            f"use --set {stage.name}.draws=normal."
        )
    return interpolate(picture, prior.latent_shape[1:], mode="area")


def conditions_of(scene: Scene, stage: Stage, cameras: Cameras) -> Conditions:
    """Texts and landmark map of every view; the plain text is left out where it is the view's own, or not needed."""
    prior, config = scene.prior, scene.config
    plain = prior.embed((plain_text(stage.text, config.prompt),) * len(cameras))
    text, others = _view_features(scene, stage, cameras)
    wants_plain = config.view_text != "none" and _asks_for_plain(stage.loss)
    landmarks = None
    if prior.landmark_size:
        back, hide = config.landmarks.back_view_deg, config.landmarks.hide_occluded
        drawn = landmark_map(scene.template, cameras, prior.landmark_size, back_view_deg=back, hide_occluded=hide)
        landmarks = drawn.to(scene.device)
    return Conditions(
        text=text,
        negative=prior.embed((negative_text(stage.negative, config.prompt),) * len(cameras)),
        plain=plain if wants_plain else None,
        landmark_map=landmarks,
        others=others,
        blind=landmarks is not None and isinstance(stage.loss, Refine) and stage.loss.landmark_scale != 1,
    )


def _view_features(scene: Scene, stage: Stage, cameras: Cameras) -> tuple[Float[Tensor, "b k d"], OtherViews | None]:
    """Features of every view's text as `Config.view_text` wants it, and what Perp-Neg moves away from."""
    plain = plain_text(stage.text, scene.config.prompt)
    angles = list(zip(cameras.azimuth_deg.tolist(), cameras.elevation_deg.tolist(), strict=True))
    match scene.config.view_text:
        case "none":
            return scene.prior.embed((plain,) * len(angles)), None
        case "append":
            return scene.prior.embed(tuple(view_text(plain, view_word(*angle)) for angle in angles)), None
        case "perp_neg":
            embedded = dict(zip(VIEW_WORDS, scene.prior.embed(_view_texts(plain)), strict=True))
            mixes = [view_mix(*angle) for angle in angles]
            text = torch.stack([torch.stack([share * embedded[w] for w, share in mix.towards]).sum(0) for mix in mixes])
            away = [torch.stack([embedded[word] for word, _ in mix.away]) for mix in mixes]
            weight = torch.tensor([[weight for _, weight in mix.away] for mix in mixes], device=text.device)
            return text, OtherViews(torch.stack(away, dim=1), weight.T)
        case _:
            assert_never(scene.config.view_text)


def _view_texts(plain: str) -> tuple[str, ...]:
    return tuple(view_text(plain, word) for word in VIEW_WORDS)


def _asks_for_plain(loss: Loss) -> bool:
    match loss:
        case Ssd():
            return True
        case Sds() | Refine():
            return False
        case _:
            assert_never(loss)


def embed_texts(config: Config, prior: ScorePrior) -> None:
    """Let the prior embed every text that can occur in a run, so that its text encoder is not needed again.

    A prompt that is too long is so in every text: one warning names what is lost of all that are cut off.
    """
    texts: list[str] = []
    for stage in config.stages:
        plain = plain_text(stage.text, config.prompt)
        texts += [plain, negative_text(stage.negative, config.prompt)]
        if config.view_text != "none":
            texts += _view_texts(plain)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        prior.embed(tuple(dict.fromkeys(texts)))
    cut = [warning.message for warning in caught if isinstance(warning.message, TextCutOff)]
    for warning in caught:
        if not isinstance(warning.message, TextCutOff):
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    if cut:
        alone = all(any(_lose_the_same(before, after) for before in cut[:k]) for k, after in enumerate(cut) if k)
        warnings.warn(cut[0] if alone else PromptWarning(f"{cut[0]}, and so are other texts"), stacklevel=2)


def _lose_the_same(before: TextCutOff, after: TextCutOff) -> bool:
    """Whether the later text only adds words, such as the view's, to the earlier one, or their ends are one."""
    return after.text.startswith(before.text) or after.lost in before.lost or before.lost in after.lost
