"""The sample pool: samples on the device, kept fresh by workers.

A GPU learns from a sample faster than a process can word its caption and draw its landmarks. Here each sample is shown
some ten times, with other noise, until a fresh one takes its place. Which are drawn when depends on luck, so two such
trainings are alike but not equal.
"""

import itertools
import multiprocessing
import os
import queue
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.multiprocessing as processes
from torch import Tensor

from headartist_foundry.data.pictures import Pictures
from headartist_foundry.data.shards import training_shards
from headartist_foundry.train.models import load_tokenizer
from headartist_foundry.train.tokens import tokenize

PORTION = 64
"""Samples that a process draws before it hands them over."""

REST = 2
"""Draws between two portions taken in: to copy one takes a third as long as to learn from 256 samples on an H100."""

LOOK = 16
"""Portions of one process between its looks for new shards."""


@dataclass(frozen=True)
class Samples:
    """Hold samples on the device.

    Pictures and landmark maps are in [0, 1], with token ids.
    """

    pictures: Tensor  # b 3 h w
    landmark_map: Tensor  # b 3 y x
    tokens: Tensor  # b k


class SamplePool:
    """Keep a ring of samples on the device.

    Args:
        data: folder of shards; those that are rendered meanwhile are drawn from too.
        tokenizer_folder: for the captions.
        landmark_size: pixels of the landmark maps.
        device: where the samples are kept.
        workers: processes that draw them.
        capacity: samples kept.
    """

    def __init__(
        self,
        data: Path,
        tokenizer_folder: Path,
        landmark_size: int,
        device: torch.device,
        workers: int,
        capacity: int = 65_536,
    ) -> None:
        context: Any = processes.get_context("spawn")
        self._fresh = context.Queue(maxsize=4 * workers)
        self.capacity, self.drawn, self._draws = capacity, 0, 0
        self._ring: tuple[Tensor, ...] | None = None
        self._device = device
        # Daemons end with a training that stops or fails; of one that is killed they take notice themselves.
        self._workers = [
            context.Process(
                target=_draw, args=(self._fresh, data, tokenizer_folder, landmark_size, number), daemon=True
            )
            for number in range(workers)
        ]
        for worker in self._workers:
            worker.start()

    def draw(self, generator: torch.Generator, count: int) -> Samples:
        """Sample from the pool.

        It takes in the fresh ones first, and waits until there are four times `count`.
        """
        while self.drawn < min(4 * count, self.capacity):
            self._take(self._next())
        self._draws += 1
        if self._draws % REST == 0:
            try:
                self._take(self._fresh.get_nowait())
            except queue.Empty:
                self._require_workers()
        assert self._ring is not None
        kept = min(self.drawn, self.capacity)
        rows = torch.randint(kept, (count,), generator=generator, device=self._device)
        pictures, marks, tokens = (part[rows] for part in self._ring)
        return Samples(pictures.float() / 255, marks.float() / 255, tokens.long())

    def _next(self) -> tuple[Tensor, ...]:
        """Wait for fresh samples, however long they take.

        It is an error when a worker has died.
        """
        while True:
            try:
                portion: tuple[Tensor, ...] = self._fresh.get(timeout=5)
                return portion
            except queue.Empty:
                self._require_workers()

    def _require_workers(self) -> None:
        """Raise when a worker has ended: none does so by itself."""
        if not all(worker.is_alive() for worker in self._workers):
            raise RuntimeError("a process that draws samples has died; its error stands above")

    def _take(self, portion: tuple[Tensor, ...]) -> None:
        """Put fresh samples in the place of the oldest."""
        if self._ring is None:
            self._ring = tuple(part.new_empty(self.capacity, *part.shape[1:]).to(self._device) for part in portion)
        rows = (torch.arange(len(portion[0]), device=self._device) + self.drawn) % self.capacity
        for ring, part in zip(self._ring, portion, strict=True):
            ring[rows] = part.to(self._device)
        self.drawn += len(portion[0])


def end_with_parent() -> None:
    """End this process when the one that started it is gone, even by a kill; return at once."""
    parent = multiprocessing.parent_process()
    assert parent is not None, "only a started process has a parent"

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _draw(fresh: Any, data: Path, tokenizer_folder: Path, landmark_size: int, number: int) -> None:
    """Draw samples for as long as the training lives."""
    end_with_parent()
    torch.set_num_threads(1)
    paths = training_shards(data)
    pictures, tokenizer = Pictures(paths), load_tokenizer(tokenizer_folder)
    rng = np.random.default_rng((2, number))
    for turn in itertools.count(1):
        if turn % LOOK == 0 and (found := training_shards(data)) != paths:
            paths, pictures = found, Pictures(found)
        batch = pictures.batch(rng, PORTION, landmark_size)
        shown = [(part * 255).round().to(torch.uint8) for part in (batch.pictures, batch.landmark_map)]
        fresh.put((*shown, tokenize(tokenizer, batch.captions).to(torch.int16)))
