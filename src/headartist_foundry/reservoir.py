"""Reservoir: samples that are ready on the device, kept fresh by processes that draw them.

A GPU learns from a sample faster than a process can word its caption and draw its landmarks. Here each sample is shown
a few times, with other noise, until a fresh one takes its place. Which are drawn when depends on the processes' luck,
so two such trainings are alike but not equal.
"""

import queue
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.multiprocessing as processes
from torch import Tensor

from headartist_foundry.data import Pictures
from headartist_foundry.models import load_tokenizer
from headartist_foundry.tokens import tokenize

PORTION = 64
"""Samples that a process draws before it hands them over."""

SHOWN = 2
"""Times that a sample is shown at least, before fresh ones may have taken the place of all."""

BERTHS = 4
"""Portions that each process may be ahead."""


@dataclass(frozen=True)
class Ready:
    """Pictures and landmark maps in [0, 1] and token ids, on the device."""

    pictures: Tensor  # b 3 h w
    landmark_map: Tensor  # b 3 y x
    tokens: Tensor  # b k


class Reservoir:
    """A ring of samples on the device.

    Args:
        paths: shards.
        tokenizer_folder: for the captions.
        landmark_size: pixels of the landmark maps.
        device: where the samples are kept.
        drawers: processes that draw them.
        capacity: samples kept.
    """

    def __init__(
        self,
        paths: list[Path],
        tokenizer_folder: Path,
        landmark_size: int,
        device: torch.device,
        drawers: int,
        capacity: int = 65_536,
    ) -> None:
        context: Any = processes.get_context("spawn")
        self.capacity, self.drawn = capacity, 0
        self._ring: tuple[Tensor, ...] | None = None
        self._device = device
        # Portions lie in memory that all share, and only their numbers travel.
        self._berths, self._free, self._full = _berths(
            paths, tokenizer_folder, landmark_size, BERTHS * drawers, context
        )
        # Daemons: they end with the training, however it ends.
        self._hands = [
            context.Process(
                target=_draw,
                args=(self._berths, self._free, self._full, paths, tokenizer_folder, landmark_size, number),
                daemon=True,
            )
            for number in range(drawers)
        ]
        for hand in self._hands:
            hand.start()

    def draw(self, generator: torch.Generator, count: int) -> Ready:
        """Some of the samples kept; takes in fresh ones first, and waits until there are four times `count`."""
        while self.drawn < min(4 * count, self.capacity):
            self._take(self._next())
        with suppress(queue.Empty):
            for _ in range(max(1, count // (SHOWN * PORTION))):
                self._take(self._full.get_nowait())
        assert self._ring is not None
        kept = min(self.drawn, self.capacity)
        rows = torch.randint(kept, (count,), generator=generator, device=self._device)
        pictures, marks, tokens = (part[rows] for part in self._ring)
        return Ready(pictures.float() / 255, marks.float() / 255, tokens.long())

    def _next(self) -> int:
        """The berth of a fresh portion, however long it takes; an error when nobody draws any more."""
        while True:
            try:
                return int(self._full.get(timeout=5))
            except queue.Empty:
                if not any(hand.is_alive() for hand in self._hands):
                    raise RuntimeError("every process that draws samples has died; its error stands above") from None

    def _take(self, berth: int) -> None:
        if self._ring is None:
            self._ring = tuple(part.new_empty(self.capacity, *part.shape[2:]).to(self._device) for part in self._berths)
        rows = (torch.arange(PORTION, device=self._device) + self.drawn) % self.capacity
        for ring, parts in zip(self._ring, self._berths, strict=True):
            ring[rows] = parts[berth].to(self._device)
        self._free.put(berth)
        self.drawn += PORTION


def _portion(
    pictures: Pictures, tokenizer: Any, rng: np.random.Generator, count: int, landmark_size: int
) -> tuple[Tensor, ...]:
    """Pictures and landmark maps as bytes, and token ids."""
    batch = pictures.batch(rng, count, landmark_size)
    shown = [(part * 255).round().to(torch.uint8) for part in (batch.pictures, batch.landmark_map)]
    return (*shown, tokenize(tokenizer, batch.captions).to(torch.int16))


def _berths(
    paths: list[Path], tokenizer_folder: Path, landmark_size: int, count: int, context: Any
) -> tuple[tuple[Tensor, ...], Any, Any]:
    """Room for `count` portions in memory that all processes share, and queues of the free and the full ones."""
    like = _portion(Pictures(paths), load_tokenizer(tokenizer_folder), np.random.default_rng(0), 1, landmark_size)
    room = tuple(part.new_zeros(count, PORTION, *part.shape[1:]).share_memory_() for part in like)
    free, full = context.Queue(), context.Queue()
    for berth in range(count):
        free.put(berth)
    return room, free, full


def _draw(
    berths: tuple[Tensor, ...], free: Any, full: Any, paths: list[Path], tokenizer_folder: Path, size: int, number: int
) -> None:
    """Draw samples for ever."""
    torch.set_num_threads(1)
    pictures, tokenizer = Pictures(paths), load_tokenizer(tokenizer_folder)
    rng = np.random.default_rng((2, number))
    while True:
        portion = _portion(pictures, tokenizer, rng, PORTION, size)
        berth = free.get()
        for parts, part in zip(berths, portion, strict=True):
            parts[berth].copy_(part)
        full.put(berth)
