"""A run that is killed and started again, over and over, ends in the head of the unbroken run, bit for bit."""

import json
import multiprocessing
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.context import ForkProcess
from pathlib import Path

import pytest

from headartist import cli, door, generate
from headartist.config.text import to_json
from headartist.training.folder import HeadFolder
from small_run import PROMPT, small_config

KILLS = 40
SEED = 7
STEPS = 8
SIGNALS = ("SIGKILL", "SIGINT", "SIGTERM", "SIGHUP")
MINE = ("head.blend", ".profile.part1", "previews/mine.png", "checkpoint/mine.bin", "notes.txt")

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="forks a run that has torch imported already")


def command(line: list[str], said: Path, ready: int) -> None:
    """Be the `headartist` command, in a process whose torch is imported already; a byte tells that it has begun."""
    run = cli.run
    cli.run = lambda arguments: run(arguments) if os.write(ready, b".") else 1
    sink = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(sink, 1)
    os.dup2(sink, 2)
    sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
    sys.argv = ["headartist", *line]
    door.main()


def start(line: list[str], said: Path) -> ForkProcess:
    heard, ready = os.pipe()
    process = multiprocessing.get_context("fork").Process(target=command, args=(line, said, ready), daemon=True)
    process.start()
    os.close(ready)
    os.read(heard, 1)
    os.close(heard)
    return process


def kept_files(folder: Path) -> dict[str, bytes]:
    """What a user keeps in a Head folder."""
    return {name: (folder / name).read_bytes() for name in MINE}


def steps(folder: HeadFolder) -> list[tuple[str, int]]:
    rows = map(json.loads, folder.metrics.read_text(encoding="utf-8").splitlines())
    return [(row["stage"], row["step"]) for row in rows]


def names(folder: HeadFolder) -> set[str]:
    return {path.relative_to(folder.path).as_posix() for path in folder.path.rglob("*")}


def test_forty_kills_change_nothing(tmp_path: Path, tiny_prior_folder: Callable[[str], Path]):
    draw, said, ended = random.Random(SEED), tmp_path / "said", Counter[tuple[str, int]]()
    config = small_config(tiny_prior_folder("sd21"), steps=STEPS, checkpoint_every=3)
    config = replace(config, run=replace(config.run, preview_every=4))
    (tmp_path / "config.json").write_text(to_json(config), encoding="utf-8")
    line = ["generate", PROMPT, "--config", str(tmp_path / "config.json"), "--quiet", "--out"]
    unbroken = HeadFolder(generate(PROMPT, config, out=tmp_path / "unbroken", progress=False).folder)
    # Now that this process has imported and compiled everything, a child of it is quick.
    started = time.monotonic()
    start([*line, str(tmp_path / "timed")], said).join()
    lasts, broken, kept = time.monotonic() - started, None, 0
    still = [SIGNALS[k % len(SIGNALS)] for k in range(KILLS)]
    draw.shuffle(still)

    while still or broken is not None:
        if broken is None:
            broken = HeadFolder(tmp_path / f"broken-{len(still)}")
        process = start([*line, str(broken.path)], said)
        name = still[-1] if still else ""
        if name:
            process.join(draw.uniform(0.0, 0.6 * lasts))
            if process.is_alive():
                os.kill(process.pid or 0, getattr(signal, name))
        process.join(60)
        assert process.exitcode is not None, "a request to stop was not heard"
        if process.exitcode:
            asked = getattr(signal, name)
            # Who was about to end by itself is ended by the signal.
            assert process.exitcode in (-asked, 128 + asked), said.read_text()
            ended[still.pop(), process.exitcode] += 1
            if broken.config.exists() and not (broken.path / MINE[0]).exists():
                for mine in MINE:
                    (broken.path / mine).parent.mkdir(exist_ok=True)
                    (broken.path / mine).write_text(mine)
            continue
        for name in ("head.safetensors", "head.glb", "contact.png"):
            assert (broken.path / name).read_bytes() == (unbroken.path / name).read_bytes(), name
        assert steps(broken) == steps(unbroken)
        assert names(broken) - set(MINE) == names(unbroken)
        if names(broken) & set(MINE):
            kept += 1
            assert kept_files(broken.path) == {mine: mine.encode() for mine in MINE}
        broken = None

    assert kept
    assert sum(ended.values()) == KILLS
    told = said.read_text(encoding="utf-8")
    assert "Traceback" not in told
    answered = sum(count for (_, status), count in ended.items() if status > 0)
    assert told.count("headartist: interrupted\nresume: headartist generate ") == answered >= KILLS // 2
