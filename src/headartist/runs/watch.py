"""Watch a run: a bar on a terminal, lines in a log, or whatever a caller makes of it; Ctrl-C waits for a step's end."""

import logging
import sys
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager

import torch
from tqdm import tqdm

from headartist.export.pictures import PREVIEW_SIZE, row
from headartist.geometry.cameras import turntable
from headartist.heads.template import HeadTemplate
from headartist.render.draw import render_mesh
from headartist.system.loading import LOADING
from headartist.training.interrupts import deferred_interrupts
from headartist.training.progress import Progress

Tell = Callable[[Progress], object]
FIRST_SHAPE = "first shape"
EVERY = 0.05  # of the work lies between two lines of a log
_LOG = logging.getLogger("headartist")


def watch(steps: Generator[Progress, None, None], tell: Tell) -> float:
    """Carry a run out to its end, in any thread.

    Args:
        steps: the run, from `training.loop.train`.
        tell: is told of every step; what it raises stops the run after saving, and is raised again.

    Returns:
        The seconds of all its steps.

    Raises:
        KeyboardInterrupt: when the user asked to stop: at the end of a step, after saving.
    """
    seconds, stage = 0.0, 0
    with deferred_interrupts() as interrupt, closing(steps):
        while done := _next(steps):
            seconds = done.seconds
            if done.stage_number != stage:
                stage = done.stage_number
                _LOG.info("stage %d of %d (%s), %d steps", stage, done.stage_count, done.stage, done.steps)
            tell(done)
            if interrupt.asked:
                break
    if interrupt.asked:
        raise KeyboardInterrupt(interrupt.number)
    return seconds


def _next(steps: Generator[Progress, None, None]) -> Progress | None:
    """Take a step, while no other thread loads; None at the end."""
    with LOADING.working():
        return next(steps, None)


@contextmanager
def reporting(progress: bool | Tell) -> Iterator[Tell]:
    """Lend who is told of every step.

    Args:
        progress: True shows a bar where stderr is a terminal and writes a line every few per cent where it is none,
            False shows nothing, and a callable is lent itself.
    """
    if callable(progress):
        yield progress
    elif not progress:
        yield lambda _: None
    elif on_terminal():
        with tqdm(total=1.0, miniters=0, bar_format="{percentage:3.0f}%|{bar}| {desc}") as bar:
            yield _Bar(bar)
    else:
        yield _Lines()


def on_terminal() -> bool:
    """Tell whether somebody watches stderr, rather than a file or a pipe."""
    return sys.stderr is not None and sys.stderr.isatty()


def first_shape(tell: Tell, stage_count: int, template: HeadTemplate) -> Callable[[int, int], object]:
    """Make a listener of the first shape's fit, which tells of it as of a stage before the first.

    Args:
        tell: is told.
        stage_count: of the stages after it.
        template: what is fitted, whose normals are the preview.
    """
    started = time.perf_counter()

    def preview() -> torch.Tensor:
        return row(render_mesh(template.mesh(), turntable(4), PREVIEW_SIZE, torch.ones(3)).normal_picture)

    def listen(step: int, steps: int) -> object:
        seconds = time.perf_counter() - started
        left = seconds / step * (steps - step)
        return tell(Progress(FIRST_SHAPE, 0, stage_count, step, steps, seconds, left, {}, preview))

    return listen


class _Bar:
    """One bar for the whole run, as long as the time that has gone is of all the time it will take."""

    def __init__(self, bar: "tqdm[None]") -> None:
        self._bar, self._stage = bar, 0

    def __call__(self, done: Progress) -> None:
        so_far = 0.0 if self._stage == 0 else self._bar.n  # the first shape has a bar of its own
        self._stage = done.stage_number
        self._bar.n = max(so_far, _share(done))  # an estimate that has grown takes nothing back
        self._bar.set_description_str(words(done), refresh=False)
        self._bar.update(0)


class _Lines:
    """A line at the start of every stage and every few per cent of the run, for a log."""

    def __init__(self) -> None:
        self._stage, self._next = -1, 0.0

    def __call__(self, done: Progress) -> None:
        share = _share(done)
        if done.stage_number != self._stage or share >= min(self._next, 1.0):
            self._stage, self._next = done.stage_number, share + EVERY
            sys.stderr.write(f"{share:4.0%} {words(done)}\n")
            sys.stderr.flush()


def _share(done: Progress) -> float:
    whole = done.seconds + done.seconds_left
    return done.seconds / whole if whole > 0 else 1.0


def words(done: Progress) -> str:
    """Say how far a run is: "stage 1 of 3 (geometry), step 12 of 220, about 6 min left, loss 0.12"."""
    place = f"stage {done.stage_number} of {done.stage_count} ({done.stage})" if done.stage_number else done.stage
    loss = f", loss {done.metrics['loss']:.3g}" if "loss" in done.metrics else ""
    return f"{place}, step {done.step} of {done.steps}, {time_left(done.seconds_left)} left{loss}"


def time_left(seconds: float) -> str:
    """Round a time to what an estimate is worth: "about 40 s", "about 6 min", "about 2 h 10 min"."""
    if seconds < 55:
        return f"about {round(seconds / 5) * 5 or round(seconds)} s"
    minutes = max(round(seconds / 60), 1)
    if minutes < 60:
        return f"about {minutes} min"
    minutes = round(minutes / 10) * 10
    return f"about {minutes // 60} h" + (f" {minutes % 60} min" if minutes % 60 else "")
