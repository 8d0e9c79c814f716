"""The stages: text encoder, VAE, then UNet and ControlNet."""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from headartist_foundry.data.pictures import Pictures
from headartist_foundry.train.caption_probe import CaptionProbe, probe_accuracy, probe_loss
from headartist_foundry.train.face_weight import face_weight
from headartist_foundry.train.linear_encoder import encode_as_installed, install, is_installed, principal_components
from headartist_foundry.train.loop import Evaluation, TrainingPlan, train
from headartist_foundry.train.models import SCHEDULER
from headartist_foundry.train.training_context import TrainingContext

PROBE_STATE = "reader"
"""What the caption probe's files are called in a folder of training state."""

CAPTION_PROBE_PLAN = TrainingPlan(steps=2500, batch=64, rate=1e-3)
VAE_PLAN = TrainingPlan(steps=3000, batch=16, rate=2e-3, ema=0.99)
DENOISER_PLAN = TrainingPlan(steps=12_000, batch=32, rate=1e-3)

LATENT_NOISE = 0.03
"""Standard deviation added to latents while the VAE learns, so that near-by latents decode alike."""

LINEAR_PICTURES = 1024
"""Pictures whose principal components make the linear encoder."""

DECODED_WEIGHT = 6.0
"""As `face_weight.FACE_WEIGHT`, of the VAE's decoder and in pixels: eyes, brows and lips are a hundredth of a picture,
and what a detector finds a face by.
"""


def train_groundwork(context: TrainingContext, probe: TrainingPlan, vae: TrainingPlan) -> None:
    """Train what the denoiser stands on.

    That is the text encoder and the VAE, where they are not taken from elsewhere.
    """
    if context.must_train("text_encoder"):
        train_caption_probe(context, probe)
    if context.must_train("vae"):
        train_vae(context, vae)


def train_caption_probe(context: TrainingContext, plan: TrainingPlan = CAPTION_PROBE_PLAN) -> None:
    """Teach the text encoder to read captions, and freeze it."""
    models = context.models
    probe = CaptionProbe(models).to(context.device)

    def loss_of(rng: np.random.Generator, _generator: torch.Generator) -> Tensor:
        """Ask about fresh captions."""
        captions, right = probe.lesson(rng, plan.batch)
        return probe_loss(probe(models.tokens(captions).to(context.device)), right)

    average = train(context, PROBE_STATE, probe, plan, loss_of)
    probe.load_state_dict(average.state_dict())
    models.text_encoder.eval().requires_grad_(False)
    if context.leads:
        print("caption probe", probe_accuracy(probe, models), flush=True)


def train_vae(context: TrainingContext, plan: TrainingPlan = VAE_PLAN) -> None:
    """Make the VAE's encoder linear, and fit its decoder.

    It learns from clean and spoiled pictures of both domains. At the end its scale is set to unit variance. An encoder
    that is linear already stays as it is, with its scale, so that what was learned from its latents still holds.
    """
    vae, size = context.models.vae, context.size
    begins = not is_installed(vae)
    if begins:
        pictures = _vae_pictures(context, context.pictures, np.random.default_rng(0), LINEAR_PICTURES)
        install(vae, *principal_components(pictures, size.picture // size.latent, size.latent_channels))
    vae.encoder.requires_grad_(False)
    vae.quant_conv.requires_grad_(False)

    def loss_of(rng: np.random.Generator, generator: torch.Generator) -> Tensor:
        """Compare decoded pictures with the originals."""
        batch = context.draw(rng, generator, plan.batch)
        pictures = batch.pictures * 2 - 1
        with torch.no_grad():
            mean = encode_as_installed(vae, pictures)
        noise = torch.randn(mean.shape, generator=generator, device=mean.device)
        with context.fast():
            decoded = vae.decode(mean + LATENT_NOISE * noise).sample
        weight = face_weight(batch.landmark_map, size.picture, DECODED_WEIGHT, DECODED_WEIGHT)
        loss: Tensor = ((decoded.float() - pictures).abs() * weight).mean() / weight.mean()
        return loss

    # The encoder is part of the state: shards that come later shall not change what latents mean.
    vae.load_state_dict(train(context, "vae", vae, plan, loss_of).state_dict())
    vae.eval().requires_grad_(False)
    _settle_vae(context, scale=begins)


def _vae_pictures(context: TrainingContext, source: Pictures, rng: np.random.Generator, count: int) -> Tensor:
    """Sample clean and spoiled pictures in [-1, 1]."""
    return source.batch(rng, count, context.size.landmark).pictures.to(context.device) * 2 - 1


def _settle_vae(context: TrainingContext, *, scale: bool) -> None:
    """Scale the latents to unit variance.

    The posterior's own variance is set to nearly nothing, and how well pictures come back is told.
    """
    vae = context.models.vae
    pictures = _vae_pictures(context, context.held_out, np.random.default_rng(0), 128)
    with torch.no_grad():
        mean = vae.encode(pictures).latent_dist.mean
        error = F.mse_loss(vae.decode(mean).sample.clamp(-1, 1), pictures) / 4
        # The posterior's variance was never trained; samplers that draw from it shall get the mean.
        vae.quant_conv.weight[vae.config.latent_channels :].zero_()
        vae.quant_conv.bias[vae.config.latent_channels :].fill_(-12.0)
    if scale:
        vae.register_to_config(scaling_factor=round(1 / float(mean.std()), 4))
    if context.leads:
        print(f"vae psnr {-10 * float(error.log10()):.2f} dB, scaling {vae.config.scaling_factor}", flush=True)


def spread_times(count: int, steps: int, generator: torch.Generator) -> Tensor:
    """Sample a batch's timesteps at even distances, b.

    They are `count` rising integers below `steps`, from one draw. A batch has noise of every strength, so the gradient
    varies less from step to step than with independent draws (Kingma et al. 2021, "Variational Diffusion Models"). A
    picture meets all of them in time: batches come in random order.
    """
    first = torch.rand((), generator=generator, device=generator.device)
    places = (torch.arange(count, device=generator.device) + first) / count
    return (places * steps).long().clamp(max=steps - 1)


def train_denoiser(
    context: TrainingContext,
    plan: TrainingPlan = DENOISER_PLAN,
    every: Evaluation | None = None,
    every_steps: int = 1000,
    save_steps: int = 200,
) -> nn.ModuleDict:
    """Train UNet and ControlNet together to predict velocity.

    Returns their average.
    """
    from diffusers import DDIMScheduler

    models = context.models
    scheduler: Any = DDIMScheduler(**SCHEDULER)

    def loss_of(rng: np.random.Generator, generator: torch.Generator) -> Tensor:
        """Compare predicted with true velocity."""
        batch = context.draw(rng, generator, plan.batch)
        z = context.latents(batch.pictures)
        noise = torch.randn(z.shape, generator=generator, device=z.device)
        t = spread_times(len(z), scheduler.config.num_train_timesteps, generator)
        z_t = scheduler.add_noise(z, noise, t).contiguous(memory_format=context.memory_format)
        with context.fast():
            predicted = models.predict(z_t, t, batch.tokens, batch.landmark_map)
        error = (predicted.float() - scheduler.get_velocity(z, noise, t)).square()
        weight = face_weight(batch.landmark_map, z.shape[-1])
        loss: Tensor = (error * weight).mean() / weight.mean()
        return loss

    average = train(context, "denoiser", models.denoiser(), plan, loss_of, every, every_steps, save_steps)
    assert isinstance(average, nn.ModuleDict)
    return average
