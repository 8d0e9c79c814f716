"""The context of one training: folder, data, models and processes."""

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from headartist.priors.files.layout import save_prior
from headartist.system.errors import HeadArtistError
from headartist.system.files import write_text
from headartist_foundry.data.captions import NEGATIVE_WORDS, caption
from headartist_foundry.data.pictures import Pictures, held_out_pictures
from headartist_foundry.data.shards import HELD_OUT, held_out_shards, training_shards
from headartist_foundry.data.traits import sample_traits
from headartist_foundry.train.linear_encoder import encode_as_installed, is_installed
from headartist_foundry.train.models import SCHEDULER, PriorModels
from headartist_foundry.train.sample_pool import SamplePool, Samples
from headartist_foundry.train.sizes import PriorSize
from headartist_foundry.train.tokens import WORD_END, write_tokenizer


class TrainingContext:
    """Open a training's folder, data, models and device.

    The models start from a prior where one is given.

    Args:
        data: folder of shards.
        folder: for the training state.
        size: of the networks.
        device: cpu or cuda.
        start: a prior folder to take weights from, as far as they fit.
        new_words: learn the vocabulary from today's grammar rather than take that of `start`; words that both know
            keep their embeddings.
        refit: fit the decoder of the VAE of `start` anew; its latents keep their meaning.
        bfloat16: mixed precision; by default on CUDA alone. It pays on a CPU that multiplies bfloat16 itself.
        workers: processes that draw samples; without them each batch is drawn when it is wanted.
        compiled: let torch compile UNet and ControlNet.

    Raises:
        HeadArtistError: `refit` without `start`, `folder` was begun with other sizes, or `data` has too few shards or
            pictures of another size.
    """

    def __init__(
        self,
        data: Path,
        folder: Path,
        size: PriorSize,
        device: str = "cpu",
        start: Path | None = None,
        *,
        new_words: bool = False,
        refit: bool = False,
        bfloat16: bool | None = None,
        workers: int = 0,
        compiled: bool = False,
    ) -> None:
        if refit and not start:
            raise HeadArtistError("--refit fits the decoder of a prior anew: say with --start of which.")
        self.data, self.folder, self.size = data, folder, size
        self.device = torch.device(device)
        self.mixed = self.device.type == "cuda" if bfloat16 is None else bfloat16
        self.rank, self.team = _join_team(self.device)
        folder.mkdir(parents=True, exist_ok=True)
        _keep_to_one_size(folder / "size.json", size)
        self._paths: list[Path] = []
        self.refresh()
        self.held_out = held_out_pictures(data)
        self.tokenizer_folder = start / "tokenizer" if start and not new_words else folder / "tokenizer"
        if self.leads and not self.tokenizer_folder.exists():
            write_tokenizer(caption_corpus(), self.tokenizer_folder, length=size.tokens)
        if self.team > 1:
            dist.barrier()
        self.models = PriorModels(size, self.tokenizer_folder, seed=0)
        self.left = self.models.start_from(start) if start else None
        self._refit = refit
        if start and self.leads:
            self._tell_start(start)
        self.models.to(self.device)
        # On CPUs bfloat16 convolutions that learn are up to 2.5 times slower with channels last, others faster.
        plain = self.mixed and self.device.type == "cpu"
        self.memory_format = torch.contiguous_format if plain else torch.channels_last
        for part in (self.models.unet, self.models.controlnet, self.models.vae):
            part.to(memory_format=self.memory_format)
        if compiled:
            self.models.unet.compile()
            self.models.controlnet.compile()
        torch.backends.cudnn.benchmark = self.device.type == "cuda"  # sizes never change
        self._workers = workers
        self._pool: SamplePool | None = None

    @property
    def machine(self) -> dict[str, Any]:
        """What this training runs on, for its record."""
        on_gpu = self.device.type == "cuda"
        return {"device": torch.cuda.get_device_name(self.device) if on_gpu else "CPU core", "processes": self.team}

    @property
    def leads(self) -> bool:
        """Whether this process is the one that writes."""
        return self.rank == 0

    def must_train(self, part: str) -> bool:
        """Tell whether a part must learn before the denoiser can.

        All of it must, or what did not fit.
        """
        if self.left is None or self.left[part]:
            return True
        return part == "vae" and (self._refit or not is_installed(self.models.vae))

    def _tell_start(self, start: Path) -> None:
        """Say what was not taken from a prior folder.

        Also said is which words of the grammar it never learned.
        """
        for part, names in (self.left or {}).items():
            if names:
                print(
                    f"{start}: {len(names)} weights of {part} do not fit (first {names[0]}) and begin anew", flush=True
                )
        known = self.models.tokenizer.get_vocab()
        words = {word for line in caption_corpus(2000) for word in re.findall(r"[a-z]+", line.lower())}
        new = sorted(word for word in words if word + WORD_END not in known)
        if new:
            print(f"words that {start} never learned (--new-words learns them): {', '.join(new)}", flush=True)

    def refresh(self) -> None:
        """Take in shards that were rendered since.

        Raises:
            HeadArtistError: when there are too few to train on, or those to be held out are missing.
        """
        training, held_out = training_shards(self.data), held_out_shards(self.data)
        if not training or len(held_out) < len(HELD_OUT):
            count, fewest = len(training) + len(held_out), len(HELD_OUT) + 1
            raise HeadArtistError(f"{self.data} has {count} shards: render at least {fewest}, from the first on.")
        if training != self._paths:
            self._paths, self.pictures = training, Pictures(training)
        if self.pictures.size != self.size.picture:
            raise HeadArtistError(
                f"{self.data} holds pictures of {self.pictures.size} px, the prior's have {self.size.picture}: "
                "train with that --picture, or render with that --size"
            )

    def draw(self, rng: np.random.Generator, generator: torch.Generator, count: int) -> Samples:
        """Sample a training batch on the device.

        It is drawn now, or taken from the pool where there are workers to fill it.
        """
        if not self._workers:
            batch = self.pictures.batch(rng, count, self.size.landmark)
            pictures, marks = (
                part.to(self.device, memory_format=self.memory_format) for part in (batch.pictures, batch.landmark_map)
            )
            return Samples(pictures, marks, self.models.tokens(batch.captions).to(self.device))
        if self._pool is None:
            self._pool = SamplePool(self.data, self.tokenizer_folder, self.size.landmark, self.device, self._workers)
        return self._pool.draw(generator, count)

    @contextmanager
    def fast(self) -> Iterator[None]:
        """Compute in mixed precision where it is wanted.

        Attention is what this device does fastest. On a CPU the fused attention's way back takes a quarter of a step of
        networks this small; plain products, a tenth of that.
        """
        attention = nullcontext() if self.device.type == "cuda" else sdpa_kernel(SDPBackend.MATH)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.mixed), attention:
            yield

    def latents(self, pictures: Tensor) -> Tensor:
        """Encode pictures in [0, 1] to scaled latents, without gradient."""
        with torch.no_grad():
            mean = encode_as_installed(self.models.vae, pictures * 2 - 1)
        scale: float = self.models.vae.config.scaling_factor
        return mean.float() * scale

    def save(self, folder: Path, denoiser: nn.ModuleDict, documents: dict[str, str] | None = None) -> None:
        """Write the prior in the diffusers layout, half precision."""
        save_prior(
            folder,
            unet=denoiser["unet"],
            controlnet=denoiser["controlnet"],
            text_encoder=self.models.text_encoder,
            vae=self.models.vae,
            tokenizer_folder=self.tokenizer_folder,
            scheduler_config=SCHEDULER,
            documents=documents,
        )


def caption_corpus(count: int = 20_000) -> list[str]:
    """Sample captions to learn the vocabulary from.

    They have every word of the grammar, the negative words and the view words.
    """
    rng = np.random.default_rng(0)
    lines = [caption(sample_traits(rng), rng, normals=bool(k % 2), view_words="side view") for k in range(count)]
    return lines + [", ".join(NEGATIVE_WORDS), "front view, back view, overhead view"] * 50


def _keep_to_one_size(path: Path, size: PriorSize) -> None:
    """Remember a training's first sizes, and refuse others."""
    asked = json.loads(json.dumps(asdict(size)))
    if not path.exists():
        write_text(path, json.dumps(asked, indent=1) + "\n")
        return
    begun = json.loads(path.read_text(encoding="utf-8"))
    for name, value in asked.items():
        if begun.get(name) != value:
            raise HeadArtistError(
                f"{path.parent} was begun with {name} {begun.get(name)}, not {value}: "
                "keep to that, or use another --state"
            )


def _join_team(device: torch.device) -> tuple[int, int]:
    """Join the other processes: this one's number, and how many.

    `torchrun` says so in the environment.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return 0, 1
    if device.type == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    if not dist.is_initialized():
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return dist.get_rank(), dist.get_world_size()
