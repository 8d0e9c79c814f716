"""Training the embedded prior: the text encoder, the VAE, then UNet and ControlNet together; resumable.

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
import torch.nn.functional as F
from torch import Tensor, nn

from headartist.system.errors import HeadArtistError
from headartist_foundry.data import Pictures
from headartist_foundry.face_weight import face_weight
from headartist_foundry.linear_encoder import encode_as_installed, install, is_installed, principal_components
from headartist_foundry.models import SCHEDULER
from headartist_foundry.reading import Reader, reading_accuracy, reading_loss
from headartist_foundry.state import load_state, save_state
from headartist_foundry.workshop import Workshop

LOG_STEPS = 50
WARM_UP = 100
MOST_LEFT_OUT = 20
"""Steps in a row whose gradient may be out of range."""

LATENT_NOISE = 0.03
"""Standard deviation added to latents while the VAE learns, so that near-by latents decode alike."""

LINEAR_PICTURES = 1024
"""Pictures whose principal components make the linear encoder."""

DECODED_WEIGHT = 6.0
"""As `face_weight.FACE_WEIGHT`, of the VAE's decoder and in pixels: eyes, brows and lips are a hundredth of a picture,
and what a detector finds a face by.
"""

LossOf = Callable[[np.random.Generator, torch.Generator], Tensor]
"""A loss on a batch that it draws itself."""
Evaluation = Callable[[int, float, nn.Module], dict[str, Any]]
"""Called with samples seen, seconds taken and the module's average; returns numbers to log."""


@dataclass(frozen=True)
class TrainingPlan:
    """How long and how fast; the learning rate falls linearly at the end.

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
        """The share of the training still ahead."""
        return min((self.steps - step) / self.steps, 1 - seconds / self.seconds)

    def rate_at(self, step: int, seconds: float = 0.0) -> float:
        """Learning rate: warm-up, constant, fall to a fiftieth."""
        fall = min(1.0, self.left_at(step, seconds) / self.fall)
        return self.rate * min(1.0, (step + 1) / WARM_UP) * max(0.02, fall)


READER_PLAN = TrainingPlan(steps=2500, batch=64, rate=1e-3)
VAE_PLAN = TrainingPlan(steps=3000, batch=16, rate=2e-3, ema=0.99)
DENOISER_PLAN = TrainingPlan(steps=12_000, batch=32, rate=1e-3)


class Training:
    """One module on its way: its average, optimiser, random draws and how far it has come."""

    def __init__(self, workshop: Workshop, name: str, module: nn.Module, plan: TrainingPlan) -> None:
        self.workshop, self.name, self.module, self.plan = workshop, name, module.train(), plan
        self.average = copy.deepcopy(module).eval().requires_grad_(False)
        self.optimizer = torch.optim.AdamW(
            module.parameters(), lr=plan.rate, betas=(0.9, 0.99), weight_decay=0.01, fused=True
        )
        if math.isfinite(plan.seconds) and workshop.team > 1:
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
        self.rng = np.random.default_rng((1, workshop.rank, self.step))
        self.generator = torch.Generator(workshop.device).manual_seed(int(self.rng.integers(2**62)))
        if numbers and workshop.leads:
            self.rng.bit_generator.state = numbers["rng"]
            draws = torch.frombuffer(bytearray.fromhex(numbers["generator"]), dtype=torch.uint8)
            self.generator.set_state(draws.clone())

    @property
    def path(self) -> Path:
        """Where the state is kept."""
        return self.workshop.folder / f"{self.name}.safetensors"

    @property
    def _modules(self) -> dict[str, nn.Module]:
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
        """Take one step; returns its loss, which a GPU may still be at work on."""
        loss = loss_of(self.rng, self.generator)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if self.workshop.team > 1:
            _average_gradients(self.module, self.workshop.team)
        norm = nn.utils.clip_grad_norm_(self.module.parameters(), 1.0)
        if self._sound(norm):
            for group in self.optimizer.param_groups:
                group["lr"] = self.plan.rate_at(self.step, self.seconds)
            self.optimizer.step()
            decay = min(self.plan.ema, (2 + self.step) / (11 + self.step))
            with torch.no_grad():
                torch._foreach_lerp_(list(self.average.parameters()), list(self.module.parameters()), 1 - decay)
        self.step += 1
        self.samples += self.plan.batch * self.workshop.team
        self.seconds = time.monotonic() - self._began
        return loss.detach()

    def _sound(self, norm: Tensor) -> bool:
        """Whether a gradient is finite; one that is not is left out, but an error when that goes on."""
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
    workshop: Workshop,
    name: str,
    module: nn.Module,
    plan: TrainingPlan,
    loss_of: LossOf,
    every: Evaluation | None = None,
    every_steps: int = 1000,
    save_steps: int = 200,
) -> nn.Module:
    """Minimise `loss_of` over `module`'s parameters and return the module's exponential moving average.

    Goes on from the workshop's state when there is one. `every` is called now and then with the number of samples seen,
    the seconds and the average, before that step is saved, so that no evaluation is ever lost; its numbers are logged.
    """
    training = Training(workshop, name, module, plan)
    losses: list[Tensor] = []
    while not training.finished:
        losses.append(training.advance(loss_of))
        step, last = training.step, training.finished
        if workshop.leads and (step % LOG_STEPS == 0 or last):
            entry = {"step": step, "samples": training.samples, "loss": round(float(torch.stack(losses).nanmean()), 5)}
            training.log(entry | {"seconds": round(training.seconds, 1)})
            losses.clear()
        if every and workshop.leads and (step % every_steps == 0 or last):
            training.log({"step": step, **every(training.samples, training.seconds, training.average)})
        if step % save_steps == 0 or last:
            if workshop.leads:
                training.save()
            workshop.refresh()
    return training.average


def _average_gradients(module: nn.Module, team: int) -> None:
    gradients = [p.grad for p in module.parameters() if p.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    parts = (flat / team).split([gradient.numel() for gradient in gradients])
    for gradient, part in zip(gradients, parts, strict=True):
        gradient.copy_(part.view_as(gradient))


def train_groundwork(workshop: Workshop, reader: TrainingPlan, vae: TrainingPlan) -> None:
    """Train what the denoiser stands on, the text encoder and the VAE, where they are not taken from elsewhere."""
    if workshop.must_train("text_encoder"):
        train_reader(workshop, reader)
    if workshop.must_train("vae"):
        train_vae(workshop, vae)


def train_reader(workshop: Workshop, plan: TrainingPlan = READER_PLAN) -> None:
    """Teach the text encoder to read captions, and freeze it."""
    models = workshop.models
    reader = Reader(models).to(workshop.device)

    def loss_of(rng: np.random.Generator, _generator: torch.Generator) -> Tensor:
        captions, right = reader.lesson(rng, plan.batch)
        return reading_loss(reader(models.tokens(captions).to(workshop.device)), right)

    average = train(workshop, "reader", reader, plan, loss_of)
    reader.load_state_dict(average.state_dict())
    models.text_encoder.eval().requires_grad_(False)
    if workshop.leads:
        print("reading", reading_accuracy(reader, models), flush=True)


def train_vae(workshop: Workshop, plan: TrainingPlan = VAE_PLAN) -> None:
    """Make the VAE's encoder linear, and fit its decoder on clean and spoiled pictures of both domains.

    At the end its scale is set to unit variance. An encoder that is linear already stays as it is, with its scale, so
    that what was learned from its latents still holds.
    """
    vae, size = workshop.models.vae, workshop.size
    begins = not is_installed(vae)
    if begins:
        pictures = _vae_pictures(workshop, workshop.pictures, np.random.default_rng(0), LINEAR_PICTURES)
        install(vae, *principal_components(pictures, size.picture // size.latent, size.latent_channels))
    vae.encoder.requires_grad_(False)
    vae.quant_conv.requires_grad_(False)

    def loss_of(rng: np.random.Generator, generator: torch.Generator) -> Tensor:
        batch = workshop.draw(rng, generator, plan.batch)
        pictures = batch.pictures * 2 - 1
        with torch.no_grad():
            mean = encode_as_installed(vae, pictures)
        noise = torch.randn(mean.shape, generator=generator, device=mean.device)
        with workshop.fast():
            decoded = vae.decode(mean + LATENT_NOISE * noise).sample
        weight = face_weight(batch.landmark_map, size.picture, DECODED_WEIGHT, DECODED_WEIGHT)
        return ((decoded.float() - pictures).abs() * weight).mean() / weight.mean()

    # The encoder is part of the state: shards that come later shall not change what latents mean.
    vae.load_state_dict(train(workshop, "vae", vae, plan, loss_of).state_dict())
    vae.eval().requires_grad_(False)
    _settle_vae(workshop, scale=begins)


def _vae_pictures(workshop: Workshop, source: Pictures, rng: np.random.Generator, count: int) -> Tensor:
    """Clean and spoiled pictures in [-1, 1]."""
    return source.batch(rng, count, workshop.size.landmark).pictures.to(workshop.device) * 2 - 1


def _settle_vae(workshop: Workshop, *, scale: bool) -> None:
    """Scale the latents to unit variance, silence the posterior's own, and say how well pictures come back."""
    vae = workshop.models.vae
    pictures = _vae_pictures(workshop, workshop.held_out, np.random.default_rng(0), 128)
    with torch.no_grad():
        mean = vae.encode(pictures).latent_dist.mean
        error = F.mse_loss(vae.decode(mean).sample.clamp(-1, 1), pictures) / 4
        # The posterior's variance was never trained; samplers that draw from it shall get the mean.
        vae.quant_conv.weight[vae.config.latent_channels :].zero_()
        vae.quant_conv.bias[vae.config.latent_channels :].fill_(-12.0)
    if scale:
        vae.register_to_config(scaling_factor=round(1 / float(mean.std()), 4))
    if workshop.leads:
        print(f"vae psnr {-10 * float(error.log10()):.2f} dB, scaling {vae.config.scaling_factor}", flush=True)


def spread_times(count: int, steps: int, generator: torch.Generator) -> Tensor:
    """Timesteps of a batch, `count` rising integers below `steps`, at even distances from one draw.

    A batch has noise of every strength, so the gradient varies less from step to step than with independent draws
    (Kingma et al. 2021, "Variational Diffusion Models"). A picture meets all of them in time: batches come in random
    order.
    """
    first = torch.rand((), generator=generator, device=generator.device)
    places = (torch.arange(count, device=generator.device) + first) / count
    return (places * steps).long().clamp(max=steps - 1)


def train_denoiser(
    workshop: Workshop,
    plan: TrainingPlan = DENOISER_PLAN,
    every: Evaluation | None = None,
    every_steps: int = 1000,
    save_steps: int = 200,
) -> nn.ModuleDict:
    """Train UNet and ControlNet together to predict velocity; returns their average."""
    from diffusers import DDIMScheduler

    models = workshop.models
    scheduler: Any = DDIMScheduler(**SCHEDULER)

    def loss_of(rng: np.random.Generator, generator: torch.Generator) -> Tensor:
        batch = workshop.draw(rng, generator, plan.batch)
        z = workshop.latents(batch.pictures)
        noise = torch.randn(z.shape, generator=generator, device=z.device)
        t = spread_times(len(z), scheduler.config.num_train_timesteps, generator)
        z_t = scheduler.add_noise(z, noise, t).contiguous(memory_format=workshop.memory_format)
        with workshop.fast():
            predicted = models.predict(z_t, t, batch.tokens, batch.landmark_map)
        error = (predicted.float() - scheduler.get_velocity(z, noise, t)).square()
        weight = face_weight(batch.landmark_map, z.shape[-1])
        return (error * weight).mean() / weight.mean()

    average = train(workshop, "denoiser", models.denoiser(), plan, loss_of, every, every_steps, save_steps)
    assert isinstance(average, nn.ModuleDict)
    return average
