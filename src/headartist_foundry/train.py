"""Training the embedded prior: first the VAE, then text encoder, UNet and ControlNet together; resumable.

Started by `torchrun`, several processes share the work: each takes its own batches and gradients are averaged. On a CPU
this is how to use its cores, since networks this small gain nothing from threads.
"""

import copy
import json
import os
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

from headartist.errors import HeadArtistError
from headartist.priors.layout import save_prior
from headartist_foundry.captions import NEGATIVE_WORDS, caption
from headartist_foundry.data import Batch, Pictures
from headartist_foundry.models import SCHEDULER, PriorModels, PriorSize
from headartist_foundry.state import load_state, save_state
from headartist_foundry.tokens import write_tokenizer
from headartist_foundry.traits import sample_traits

HELD_OUT_SHARDS = 2
SAVE_EVERY = 200
WARM_UP = 100
LATENT_NOISE = 0.1
"""Standard deviation added to latents while the VAE learns, so that near-by latents decode alike."""


@dataclass(frozen=True)
class TrainingPlan:
    """How long and how fast; the learning rate falls linearly over the last fifth."""

    steps: int
    batch: int
    rate: float
    ema: float = 0.999

    def rate_at(self, step: int) -> float:
        """Learning rate: warm-up, constant, fall to a fiftieth."""
        fall = min(1.0, (self.steps - step) / (0.2 * self.steps))
        return self.rate * min(1.0, (step + 1) / WARM_UP) * max(0.02, fall)


VAE_PLAN = TrainingPlan(steps=1200, batch=16, rate=2e-3, ema=0.99)
DENOISER_PLAN = TrainingPlan(steps=12_000, batch=32, rate=5e-4)


class Workshop:
    """A run folder with its models, data and device; the models start from a prior folder where one is given."""

    def __init__(self, data: Path, run: Path, size: PriorSize, device: str = "cpu", start: Path | None = None) -> None:
        paths = sorted(data.glob("shard_*.npz"))
        if len(paths) <= HELD_OUT_SHARDS:
            raise HeadArtistError(f"{data} has {len(paths)} shards: render more than {HELD_OUT_SHARDS} first.")
        self.data, self.run, self.size = data, run, size
        self.device = torch.device(device)
        self.mixed = self.device.type == "cuda"
        run.mkdir(parents=True, exist_ok=True)
        self.held_out = Pictures(paths[:HELD_OUT_SHARDS])
        self._paths: list[Path] = []
        self.refresh()
        self.rank, self.team = _join_team(self.device)
        self.tokenizer_folder = run / "tokenizer" if start is None else start / "tokenizer"
        if self.rank == 0 and not self.tokenizer_folder.exists():
            write_tokenizer(caption_corpus(), self.tokenizer_folder, length=size.tokens)
        if self.team > 1:
            dist.barrier()
        self.models = PriorModels(size, self.tokenizer_folder, seed=0)
        if start is not None:
            self.models.start_from(start)
        self.models.to(self.device)
        for part in (self.models.unet, self.models.controlnet, self.models.vae):
            part.to(memory_format=torch.channels_last)

    def refresh(self) -> None:
        """Take in shards that were rendered since."""
        paths = sorted(self.data.glob("shard_*.npz"))[HELD_OUT_SHARDS:]
        if paths != self._paths:
            self._paths, self.pictures = paths, Pictures(paths)

    def autocast(self) -> torch.autocast:
        """Mixed precision where the device has it."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.mixed)

    def latents(self, pictures: Tensor) -> Tensor:
        """Scaled latents of pictures in [0, 1], without gradient."""
        with torch.no_grad():
            mean = self.models.vae.encode(pictures * 2 - 1).latent_dist.mean
        return mean.float() * self.models.vae.config.scaling_factor

    def save(self, folder: Path, denoiser: nn.ModuleDict, documents: dict[str, str] | None = None) -> None:
        """Write the prior in the diffusers layout, half precision."""
        save_prior(
            folder,
            unet=denoiser["unet"],
            controlnet=denoiser["controlnet"],
            text_encoder=denoiser["text_encoder"],
            vae=self.models.vae,
            tokenizer_folder=self.tokenizer_folder,
            scheduler_config=SCHEDULER,
            documents=documents,
        )


def caption_corpus(count: int = 20_000) -> list[str]:
    """Captions to learn the vocabulary from: every word of the grammar, the negative words and the view words."""
    rng = np.random.default_rng(0)
    lines = [caption(sample_traits(rng), rng, normals=bool(k % 2), view_words="side view") for k in range(count)]
    return lines + [", ".join(NEGATIVE_WORDS), "front view, back view, overhead view"] * 50


def train(
    workshop: Workshop,
    name: str,
    module: nn.Module,
    plan: TrainingPlan,
    loss_of: Callable[[Batch, torch.Generator], Tensor],
    every: Callable[[int, nn.Module], dict[str, Any]] | None = None,
    every_steps: int = 1000,
) -> nn.Module:
    """Minimise `loss_of` over `module`'s parameters and return the module's exponential moving average.

    Goes on from the run folder's state when there is one; `every` is called with the average now and then and its
    numbers are logged.
    """
    ema = copy.deepcopy(module).eval().requires_grad_(False)
    optimizer = torch.optim.AdamW(module.parameters(), lr=plan.rate, betas=(0.9, 0.99), weight_decay=0.01)
    path, step = workshop.run / f"{name}.safetensors", 0
    leads = workshop.rank == 0
    modules = {"live": module, "average": ema}
    if path.exists():
        numbers = load_state(path, modules, optimizer)
        step = numbers["step"]
    # The state keeps the leader's draws; the others begin new ones.
    rng = np.random.default_rng((1, workshop.rank, step))
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    if path.exists() and leads:
        rng.bit_generator.state = numbers["rng"]
        generator.set_state(torch.frombuffer(bytearray.fromhex(numbers["generator"]), dtype=torch.uint8).clone())
    module.train()
    losses: list[float] = []
    began = time.monotonic()
    while step < plan.steps:
        batch = workshop.pictures.batch(rng, plan.batch, workshop.size.landmark)
        loss = loss_of(batch, generator)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if workshop.team > 1:
            _average_gradients(module, workshop.team)
        nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        for group in optimizer.param_groups:
            group["lr"] = plan.rate_at(step)
        optimizer.step()
        step += 1
        decay = min(plan.ema, (1 + step) / (10 + step))
        with torch.no_grad():
            torch._foreach_lerp_(list(ema.parameters()), list(module.parameters()), 1 - decay)
        losses.append(float(loss.detach()))
        if step % SAVE_EVERY == 0 or step == plan.steps:
            if leads:
                state = bytes(generator.get_state().numpy()).hex()
                numbers = {"step": step, "rng": rng.bit_generator.state, "generator": state}
                save_state(path, modules, optimizer, numbers)
            workshop.refresh()
        if leads and step % 50 == 0:
            entry = {"step": step, "loss": round(float(np.mean(losses)), 5), "pictures": len(workshop.pictures)}
            _log(workshop.run / f"{name}.jsonl", entry | {"seconds": round(time.monotonic() - began, 1)})
            losses.clear()
        if leads and every and (step % every_steps == 0 or step == plan.steps):
            _log(workshop.run / f"{name}.jsonl", {"step": step, **every(step, ema)})
    return ema


def _join_team(device: torch.device) -> tuple[int, int]:
    """This process's number and how many there are; `torchrun` says so in the environment."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return 0, 1
    if not dist.is_initialized():
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return dist.get_rank(), dist.get_world_size()


def _average_gradients(module: nn.Module, team: int) -> None:
    gradients = [p.grad for p in module.parameters() if p.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    parts = (flat / team).split([gradient.numel() for gradient in gradients])
    for gradient, part in zip(gradients, parts, strict=True):
        gradient.copy_(part.view_as(gradient))


def _log(path: Path, entry: dict[str, Any]) -> None:
    print(entry, flush=True)
    with path.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(entry) + "\n")


def train_vae(workshop: Workshop, plan: TrainingPlan = VAE_PLAN) -> None:
    """Fit the VAE on clean and spoiled pictures of both domains, and set its scale to unit variance."""
    vae = workshop.models.vae

    def loss_of(batch: Batch, generator: torch.Generator) -> Tensor:
        pictures = batch.pictures.to(workshop.device) * 2 - 1
        with workshop.autocast():
            mean = vae.encode(pictures).latent_dist.mean
            noise = torch.randn(mean.shape, generator=generator).to(mean)
            decoded = vae.decode(mean + LATENT_NOISE * noise).sample
        return F.l1_loss(decoded.float(), pictures) + 1e-4 * mean.float().square().mean()

    average = train(workshop, "vae", vae, plan, loss_of)
    vae.load_state_dict(average.state_dict())
    vae.eval().requires_grad_(False)
    batch = workshop.held_out.batch(np.random.default_rng(0), 128, workshop.size.landmark)
    pictures = batch.pictures.to(workshop.device)
    with torch.no_grad():
        mean = vae.encode(pictures * 2 - 1).latent_dist.mean
        error = F.mse_loss(vae.decode(mean).sample.clamp(-1, 1), pictures * 2 - 1) / 4
    # The posterior's variance was never trained; samplers that draw from it shall get the mean.
    with torch.no_grad():
        vae.quant_conv.weight[4:].zero_()
        vae.quant_conv.bias[4:].fill_(-12.0)
    vae.register_to_config(scaling_factor=round(1 / float(mean.std()), 4))
    if workshop.rank == 0:
        _log(
            workshop.run / "vae.jsonl",
            {"psnr": round(-10 * float(error.log10()), 2), "scale": vae.config.scaling_factor},
        )


def train_denoiser(
    workshop: Workshop,
    plan: TrainingPlan = DENOISER_PLAN,
    every: Callable[[int, nn.Module], dict[str, Any]] | None = None,
    every_steps: int = 1000,
) -> nn.ModuleDict:
    """Train text encoder, UNet and ControlNet together to predict velocity; returns their average."""
    from diffusers import DDIMScheduler

    models = workshop.models
    scheduler: Any = DDIMScheduler(**SCHEDULER)

    def loss_of(batch: Batch, generator: torch.Generator) -> Tensor:
        z = workshop.latents(batch.pictures.to(workshop.device, memory_format=torch.channels_last))
        noise = torch.randn(z.shape, generator=generator).to(z)
        t = torch.randint(0, scheduler.config.num_train_timesteps, (len(z),), generator=generator).to(z.device)
        z_t = scheduler.add_noise(z, noise, t).contiguous(memory_format=torch.channels_last)
        tokens = models.tokens(batch.captions).to(z.device)
        marks = batch.landmark_map.to(z.device, memory_format=torch.channels_last)
        with workshop.autocast():
            predicted = models.predict(z_t, t, tokens, marks)
        return F.mse_loss(predicted.float(), scheduler.get_velocity(z, noise, t))

    average = train(workshop, "denoiser", models.denoiser(), plan, loss_of, every, every_steps)
    assert isinstance(average, nn.ModuleDict)
    return average
