"""`python -m headartist_foundry`: render the training set, train the prior, judge it."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch: spinning threads would starve a shared machine

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import tyro

app = tyro.extras.SubcommandApp()


@app.command
def render(
    out: Path,
    count: int = 4000,
    views: int = 6,
    size: int = 64,
    assets: Path | None = None,
    seed: int = 0,
    part: int = 0,
    parts: int = 1,
) -> None:
    """Render captioned heads into shards; goes on where it stopped.

    Args:
        out: folder for the shards.
        count: heads.
        views: pictures of each head.
        size: pixels.
        assets: folder of CC0 MakeHuman assets; without it hair, skins and eyes are made by formula.
        seed: another seed gives other heads.
        part: this process's share, counted from 0.
        parts: how many processes share the work.
    """
    from headartist_foundry.render import render as run

    run(out, count=count, views=views, size=size, assets=assets, seed=seed, part=part, parts=parts)


@app.command
def train(
    data: Path,
    state: Path,
    out: Path,
    reader_steps: int = 2500,
    vae_steps: int = 1200,
    steps: int = 12_000,
    batch: int = 32,
    device: str = "cpu",
    threads: Annotated[int, tyro.conf.arg(help="CPU threads")] = 1,
    every: int = 1000,
    start: Path | None = None,
) -> None:
    """Train the prior and write it to `out` every so often; goes on where it stopped.

    On several cores: `torchrun --nproc-per-node CORES -m headartist_foundry train ...`.

    Args:
        data: folder of shards.
        state: folder for the training state, log and sample sheets.
        out: folder the prior is written to, in the diffusers layout.
        reader_steps: steps of the text encoder, which learns to read captions.
        vae_steps: steps of the VAE.
        steps: steps of UNet and ControlNet.
        batch: pictures a step, of each process.
        device: cpu or cuda.
        threads: CPU threads.
        every: steps between two evaluations.
        start: a prior folder to start from, text encoder and VAE included; its optimiser state is not needed.
    """
    import torch

    from headartist_foundry.models import PriorSize
    from headartist_foundry.ship import evaluation
    from headartist_foundry.train import DENOISER_PLAN, READER_PLAN, VAE_PLAN, train_denoiser, train_reader, train_vae
    from headartist_foundry.workshop import Workshop

    torch.set_num_threads(threads)
    workshop = Workshop(data, state, PriorSize(), device, start)
    if start is None:
        train_reader(workshop, replace(READER_PLAN, steps=reader_steps))
        train_vae(workshop, replace(VAE_PLAN, steps=vae_steps))
    plan = replace(DENOISER_PLAN, steps=steps, batch=batch)
    train_denoiser(workshop, plan, evaluation(workshop, out, start), every)


@app.command
def judge(prior: Path, data: Path, sheet: Path) -> None:
    """Print the gate's figures for a prior folder on held-out shards, and draw its sample sheet.

    Args:
        prior: folder in the diffusers layout.
        data: folder of shards; the first ones were held out of training.
        sheet: picture to write.
    """
    from headartist.priors.stable_diffusion import load_prior
    from headartist_foundry import judge as judging
    from headartist_foundry.workshop import held_out_pictures

    loaded = load_prior(prior, device="cpu")
    print(judging.gate(loaded, held_out_pictures(data)))
    judging.sample_sheet(loaded, sheet)


if __name__ == "__main__":
    app.cli(prog="headartist_foundry")
