"""Watching a run on the terminal: a bar, and Ctrl-C that waits for the end of a step."""

from collections.abc import Generator
from contextlib import closing

from tqdm import tqdm

from headartist.training.interrupts import deferred_interrupts
from headartist.training.progress import Progress


def watch(steps: Generator[Progress, None, None], *, progress: bool) -> float:
    """Carry a run out to its end, with a bar on the terminal; returns the seconds of all its steps.

    Args:
        steps: the run, from `training.loop.train`.
        progress: whether to show the bar.

    Raises:
        KeyboardInterrupt: when the user asked to stop: at the end of a step, after saving.
    """
    seconds = 0.0
    with deferred_interrupts() as interrupt, closing(steps), tqdm(unit="step", disable=not progress) as bar:
        stage = ""
        for done in steps:
            seconds = done.seconds
            if done.stage != stage:
                stage = done.stage
                bar.reset(done.steps)
                bar.set_description(stage, refresh=False)
            bar.set_postfix(loss=f"{done.metrics['loss']:.3g}", refresh=False)
            bar.update(done.step - bar.n)
            if interrupt.asked:
                break
    if interrupt.asked:
        raise KeyboardInterrupt(interrupt.number)
    return seconds
