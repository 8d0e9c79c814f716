"""`python -m headartist_foundry`: render the training set, train the prior, judge it."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch: spinning threads would starve a shared machine

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import tyro

from headartist.system.errors import HeadArtistError
from headartist_foundry.train.sizes import PriorSize

FORMER_COMMANDS = {"examiner": "classifier"}
"""Commands that had another name, which still works."""

app = tyro.extras.SubcommandApp()


@app.command
def render(
    out: Path,
    count: int = 20_000,
    views: int = 6,
    size: int = 128,
    assets: Path | None = None,
    seed: int = 0,
    part: int = 0,
    parts: int = 1,
) -> None:
    """Render captioned heads into shards.

    What is there already stays, so that it goes on where it stopped.

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
    from headartist_foundry.data.render_shards import render as run

    run(out, count=count, views=views, size=size, assets=assets, seed=seed, part=part, parts=parts)


@app.command
def train(
    data: Path,
    state: Path,
    out: Path,
    probe_steps: Annotated[int, tyro.conf.arg(aliases=["--reader-steps"])] = 2500,
    vae_steps: int = 3000,
    steps: int = 12_000,
    batch: int = 32,
    rate: float = 1e-3,
    fall: float = 0.2,
    device: str = "cpu",
    threads: Annotated[int, tyro.conf.arg(help="CPU threads")] = 1,
    every: int = 1000,
    start: Path | None = None,
    new_words: bool = False,
    refit: bool = False,
    bfloat16: bool | None = None,
    minutes: float = float("inf"),
    workers: Annotated[int, tyro.conf.arg(aliases=["--drawers"])] = 0,
    compiled: bool = False,
    size: tyro.conf.OmitArgPrefixes[PriorSize] = PriorSize(),  # noqa: B008 - frozen
) -> None:
    """Train the prior, on from where it stopped; `torchrun` shares the work among cores.

    Args:
        data: folder of shards.
        state: folder for the training state, log and sample sheets.
        out: folder the prior is written to, in the diffusers layout.
        probe_steps: steps of the text encoder, which learns to read captions.
        vae_steps: steps of the VAE.
        steps: steps of UNet and ControlNet; 0 leaves those of `start` as they are.
        batch: pictures a step, of each process.
        rate: learning rate of UNet and ControlNet; a third of it suits a trained prior that goes on with small batches.
        fall: the last share of the steps, over which that rate falls to nothing; 1 lets it fall all along.
        device: cpu or cuda.
        threads: CPU threads.
        every: steps between two evaluations.
        start: a prior folder to start from; what fits is taken, the rest is named and learned anew.
        new_words: with `start`: learn today's vocabulary; words that both know keep their embeddings.
        refit: with `start`: fit the decoder of its VAE anew; nothing that was learned from its latents is lost.
        bfloat16: mixed precision; by default on CUDA alone. It pays on a CPU that multiplies bfloat16 itself.
        minutes: the denoiser's training ends by then at the latest, and its learning rate falls in time for it.
        workers: processes that draw samples for a GPU, one a CPU core; without them the training draws its own.
        compiled: let torch compile UNet and ControlNet first.
        size: of the networks.
    """
    if not steps and not start:
        raise HeadArtistError("--steps 0 ships the denoiser of a prior as it is: say with --start of which.")
    import torch

    from headartist_foundry.train.ship import train_and_ship
    from headartist_foundry.train.stages import CAPTION_PROBE_PLAN, DENOISER_PLAN, VAE_PLAN, train_groundwork
    from headartist_foundry.train.training_context import TrainingContext

    torch.set_num_threads(threads)
    how = {"new_words": new_words, "refit": refit, "compiled": compiled}
    context = TrainingContext(data, state, size, device, start, **how, bfloat16=bfloat16, workers=workers)
    train_groundwork(context, replace(CAPTION_PROBE_PLAN, steps=probe_steps), replace(VAE_PLAN, steps=vae_steps))
    plan = replace(DENOISER_PLAN, steps=steps, batch=batch, rate=rate, fall=fall, seconds=60 * minutes)
    train_and_ship(context, plan, out, start, every)


@app.command
def classifier(
    data: Path,
    out: Path,
    steps: int = 2000,
    batch: int = 64,
    device: str = "cpu",
    threads: int = 1,
    bfloat16: bool = False,
) -> None:
    """Train the classifier that `judge` asks about pictures and captions.

    Args:
        data: folder of shards rendered with another seed than the prior's; it must see nothing that the prior saw.
        out: file for its weights.
        steps: steps.
        batch: pictures a step.
        device: cpu or cuda.
        threads: CPU threads.
        bfloat16: mixed precision, which pays where the processor multiplies bfloat16 itself.
    """
    import torch

    from headartist_foundry.judge.attribute_classifier import save_attribute_classifier, train_attribute_classifier

    torch.set_num_threads(threads)
    paths = sorted(data.glob("shard_*.npz"))
    trained = train_attribute_classifier(paths, steps, batch, torch.device(device), bfloat16=bfloat16)
    save_attribute_classifier(trained, out, [path.name for path in paths])


@app.command
def judge(
    prior: Path,
    data: Path,
    sheet: Path,
    classifier: Annotated[Path | None, tyro.conf.arg(aliases=["--examiner"])] = None,
    detector: Path | None = None,
    heads: tuple[Path, ...] = (),
    count: int = 64,
    cfg_scale: float = 3.0,
    landmark_scale: float = 5.0,
    bfloat16: bool = False,
) -> None:
    """Judge a prior folder on held-out shards.

    The gate's figures are printed, its sample sheet is drawn, and the other judges are asked. What the other judges say
    is written into the prior folder: into its model card, and as `verdict.json`.

    Args:
        prior: folder in the diffusers layout.
        data: folder of shards; the first ones were held out of training.
        sheet: picture to write.
        classifier: file written by `classifier`, for attribute accuracy, R-precision and saturation.
        detector: a Python that has MediaPipe (an environment of its own with mediapipe==0.10.21), for faces.
        heads: Head folders made with the prior; the detector looks for faces on their backs.
        count: samples in colour that the judges see; a third as many are normals.
        cfg_scale: of the samples: how much they are guided by their text.
        landmark_scale: of the samples that the judges see: how much they are guided by their landmarks, in the later
            steps alone; 1 is not.
        bfloat16: draw in half precision: three times faster where the processor multiplies bfloat16 itself.
    """
    import torch

    from headartist.priors import load_prior
    from headartist_foundry.data.pictures import held_out_pictures
    from headartist_foundry.judge.attribute_classifier import load_attribute_classifier
    from headartist_foundry.judge.gate import gate
    from headartist_foundry.judge.samples import sample_sheet
    from headartist_foundry.judge.verdict import Judges, give_verdict, make_exhibit

    loaded = load_prior(prior, device="cpu", dtype=torch.bfloat16 if bfloat16 else None)
    pictures = held_out_pictures(data)
    print(gate(loaded, pictures))
    sample_sheet(loaded, sheet)
    if classifier:
        seen = [path.name for path in data.glob("shard_*.npz")]
        judges = Judges(load_attribute_classifier(classifier, seen), detector, heads)
        exhibit = make_exhibit(loaded, pictures, count, cfg_scale=cfg_scale, landmark_scale=landmark_scale)
        print(give_verdict(prior, exhibit, judges))


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out the command line and return its exit code.

    A mistake gets one sentence and exit code 2.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    words[:1] = [FORMER_COMMANDS.get(word, word) for word in words[:1]]
    try:
        app.cli(prog="headartist_foundry", args=words)
    except HeadArtistError as error:
        print(f"headartist_foundry: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
