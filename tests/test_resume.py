"""Killed at any moment and resumed, a run ends in the same head, bit for bit."""

import json
import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.context import ForkProcess
from pathlib import Path

import pytest

from headartist import generate
from headartist.config.config import Config
from headartist.config.objectives import Refine
from headartist.config.presets import EMBEDDED
from headartist.training.folder import HeadFolder
from small_run import PROMPT, small_config

STEPS = 12
STAGES = ("geometry", "texture", "refinement")

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="forks a run that has torch imported already")


def _start(config: Config, folder: HeadFolder) -> ForkProcess:
    process = multiprocessing.get_context("fork").Process(
        target=generate, args=(PROMPT, config), kwargs={"out": folder.path, "progress": False}
    )
    process.start()
    return process


def _refined(config: Config) -> Config:
    """The config with the embedded preset's refinement made small."""
    refinement = EMBEDDED.stages[2]
    assert isinstance(refinement.term.objective, Refine)
    loss = replace(refinement.term.objective, ddim_steps=1, inner_steps=2, views_per_inner_step=1)
    small = replace(refinement.with_term(objective=loss), steps=STEPS, render_size=32, views=2)
    return replace(config, stages=(*config.stages, small))


def _steps(folder: HeadFolder) -> list[tuple[str, int]]:
    lines = folder.metrics.read_text(encoding="utf-8").split("\n")[:-1]
    return [(row["stage"], row["step"]) for row in map(json.loads, lines)]


def _kill_after(process: ForkProcess, folder: HeadFolder, row: tuple[str, int]) -> None:
    while process.is_alive() and not (folder.metrics.exists() and row in _steps(folder)):
        time.sleep(0.002)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL, f"the run ended before {row}"


def test_a_run_killed_in_each_of_its_stages_ends_in_the_same_head(
    tmp_path: Path, tiny_prior_folder: Callable[[str], Path]
):
    config = _refined(small_config(tiny_prior_folder("sd21"), steps=STEPS, checkpoint_every=3))
    unbroken, broken = HeadFolder(tmp_path / "unbroken"), HeadFolder(tmp_path / "broken")
    generate(PROMPT, config, out=unbroken.path, progress=False)

    for stage in STAGES:
        _kill_after(_start(config, broken), broken, (stage, random.randrange(1, STEPS - 3)))
        assert not broken.weights.exists()
    generate(PROMPT, config, out=broken.path, progress=False)

    assert broken.weights.read_bytes() == unbroken.weights.read_bytes()
    assert _steps(broken) == [(stage, step) for stage in STAGES for step in range(STEPS)]
    assert (broken.path / "head.glb").read_bytes() == (unbroken.path / "head.glb").read_bytes()
