"""Runs that are watched and stopped: by a bar, a log, or a callable, in any thread."""

import io
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from headartist import Head, HeadArtistError, Progress, Shot, generate, load_head
from headartist.runs.watch import FIRST_SHAPE, reporting, time_left, words
from small_run import FIELD, PROMPT, small_config


class Terminal(io.StringIO):
    """A stderr that somebody watches."""

    def isatty(self) -> bool:
        return True


class Bright:
    """Wants everything white; counts its losses in what the checkpoint keeps."""

    inner_steps = 1

    def __init__(self) -> None:
        self.count = 0

    def losses(self, shot: Shot) -> Iterator[Tensor]:
        self.count += 1
        yield (1 - shot.look().picture).square().mean()

    def state_dict(self) -> dict[str, Tensor]:
        return {"count": torch.tensor(self.count)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self.count = int(state["count"])


class Stop(Exception):
    """Asked for by a callable."""


def progress(*, stage: int = 1, step: int = 1, seconds: float = 1.0, left: float = 99.0) -> Progress:
    return Progress("geometry", stage, 3, step, 220, seconds, left, {"loss": 0.0123}, lambda: torch.zeros(3, 2, 8))


@pytest.fixture(scope="module")
def prior(tiny_prior_folder) -> Path:
    return tiny_prior_folder("sd21")


def test_a_callable_is_told_of_every_step_and_nothing_is_shown(tmp_path: Path, prior: Path, capfd):
    told: list[Progress] = []
    generate(PROMPT, small_config(prior, steps=2), out=tmp_path / "head", progress=told.append)
    assert [(one.stage, one.stage_number, one.stage_count, one.step) for one in told] == [
        ("geometry", 1, 2, 1),
        ("geometry", 1, 2, 2),
        ("texture", 2, 2, 1),
        ("texture", 2, 2, 2),
    ]
    assert told[-1].seconds_left == 0
    assert told[-1].preview().shape == (3, 256, 512)
    assert capfd.readouterr().err == ""


def test_what_a_callable_raises_stops_the_run_after_saving_and_the_same_call_goes_on(tmp_path: Path, prior: Path):
    config = small_config(prior, steps=3)

    def stop(done: Progress) -> None:
        if done.stage_number == 2 and done.step == 1:
            raise Stop

    with pytest.raises(Stop):
        generate(PROMPT, config, out=tmp_path / "head", progress=stop)
    told: list[Progress] = []
    stopped = generate(PROMPT, config, out=tmp_path / "head", progress=told.append)
    assert [(one.stage_number, one.step) for one in told] == [(2, 2), (2, 3)]
    whole = generate(PROMPT, config, out=tmp_path / "whole", progress=False)
    assert (stopped.folder / "head.safetensors").read_bytes() == (whole.folder / "head.safetensors").read_bytes()


def test_a_first_shape_is_watched_and_stopped_too(tmp_path: Path, prior: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HEADARTIST_CACHE", str(tmp_path / "cache"))
    config = small_config(prior, steps=1)
    config = replace(config, avatar=replace(config.avatar, shape=FIELD, sdf_base="fit", fit_steps=4))

    def stop(done: Progress) -> None:
        assert (done.stage, done.stage_number, done.steps) == (FIRST_SHAPE, 0, 4)
        assert done.preview().shape == (3, 128, 512)
        if done.step == 2:
            raise Stop

    with pytest.raises(Stop):
        generate(PROMPT, config, out=tmp_path / "head", progress=stop)
    assert not (tmp_path / "head").exists()
    told: list[Progress] = []
    generate(PROMPT, config, out=tmp_path / "head", progress=told.append)
    assert [(one.stage_number, one.step) for one in told] == [(0, 1), (0, 2), (0, 3), (0, 4), (1, 1), (2, 1)]
    again: list[Progress] = []
    generate(PROMPT, config, out=tmp_path / "another", progress=again.append)
    assert [one.stage_number for one in again] == [1, 2]  # the shape is in the cache


def test_two_threads_make_two_heads_at_once(tmp_path: Path, prior: Path):
    """In a process of their own, where nothing is imported yet."""
    code = f"""
import sys, threading
sys.path[:0] = {[str(Path(__file__).parent)]!r}
from pathlib import Path
from small_run import PROMPT, small_config
from headartist import generate
def make(name):
    made[name] = generate(PROMPT, small_config(Path({str(prior)!r}), steps=3), out=Path({str(tmp_path)!r}) / name,
                          progress=False)
made = {{}}
threads = [threading.Thread(target=make, args=(name,)) for name in ("one", "two")]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(sorted(made))
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.stdout.strip() == "['one', 'two']", ended.stderr
    one, two = ((tmp_path / name / "head.safetensors").read_bytes() for name in ("one", "two"))
    assert one == two


def test_a_run_in_another_thread_is_stopped_from_this_one(tmp_path: Path, prior: Path):
    asked, begun, ends = threading.Event(), threading.Event(), []

    def tell(_: Progress) -> None:
        begun.set()
        if asked.is_set():
            raise Stop

    def run() -> None:
        try:
            generate(PROMPT, small_config(prior, steps=1_000), out=tmp_path / "head", progress=tell)
        except Stop as stop:
            ends.append(stop)

    thread = threading.Thread(target=run)
    thread.start()
    assert begun.wait(120)
    asked.set()
    thread.join(120)
    assert len(ends) == 1
    assert isinstance(load_head(tmp_path / "head"), Head)


def test_an_objective_is_passed_as_an_object_and_goes_on_with_its_state(tmp_path: Path, prior: Path):
    config, mine = small_config(prior, steps=3), Bright()

    def stop(done: Progress) -> None:
        if done.stage_number == 2 and done.step == 2:
            raise Stop

    with pytest.raises(Stop):
        generate(PROMPT, config, out=tmp_path / "head", objectives={"texture": mine}, progress=stop)
    with pytest.raises(HeadArtistError, match="begun with other objectives"):
        generate(PROMPT, config, out=tmp_path / "head", progress=False)
    resumed = Bright()
    head = generate(PROMPT, config, out=tmp_path / "head", objectives={"texture": resumed}, progress=False)
    assert (mine.count, resumed.count) == (2, 3)
    assert head.provenance["objectives"] == {"texture": "Bright"}
    whole = generate(PROMPT, config, out=tmp_path / "whole", objectives={"texture": Bright()}, progress=False)
    assert (head.folder / "head.safetensors").read_bytes() == (whole.folder / "head.safetensors").read_bytes()


def test_an_objective_of_no_stage_is_refused(tmp_path: Path, prior: Path):
    with pytest.raises(HeadArtistError, match=r"There is no stage 'textur'.*did you mean 'texture'"):
        generate(PROMPT, small_config(prior), out=tmp_path / "head", objectives={"textur": Bright()})
    assert not (tmp_path / "head").exists()


def test_a_log_gets_a_line_for_every_stage_and_every_few_per_cent(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "stderr", log := io.StringIO())
    with reporting(True) as tell:
        for stage in (1, 2):
            for step in range(1, 101):
                done = 100.0 * (stage - 1) + step
                tell(progress(stage=stage, step=step, seconds=done, left=200 - done))
    lines = log.getvalue().splitlines()
    assert "\r" not in log.getvalue()
    assert lines[0] == "  0% stage 1 of 3 (geometry), step 1 of 220, about 3 min left, loss 0.0123"
    assert 20 <= len(lines) <= 23
    assert [line for line in lines if line.startswith("100%")] == [lines[-1]]


def test_a_terminal_gets_one_bar_that_never_goes_back(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    with reporting(True) as tell:
        tell(progress(stage=0, step=1, seconds=9.0, left=1.0))
        tell(progress(seconds=1.0, left=99.0))
        tell(progress(seconds=50.0, left=50.0))
        tell(progress(seconds=51.0, left=400.0))
        shown = tell._bar.n
    assert shown == 0.5
    assert "stage 1 of 3 (geometry), step 1 of 220, about 7 min left" in terminal.getvalue()


def test_nothing_is_shown_where_nothing_is_asked_for(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    with reporting(False) as tell:
        tell(progress())
    assert terminal.getvalue() == ""


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0.0, "about 0 s"),
        (1.4, "about 1 s"),
        (38.0, "about 40 s"),
        (58.0, "about 1 min"),
        (359.0, "about 6 min"),
        (3_599.0, "about 1 h"),
        (7_790.0, "about 2 h 10 min"),
        (86_400.0, "about 24 h"),
    ],
)
def test_a_time_is_told_as_well_as_it_is_known(seconds, told):
    assert time_left(seconds) == told
    assert f", {told} left" in words(progress(left=seconds))


def test_a_log_of_the_programs_own_hears_of_stages(tmp_path: Path, prior: Path, caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.INFO, logger="headartist"):
        head = generate(PROMPT, small_config(prior, steps=1), out=tmp_path / "head", progress=False)
    assert [record.getMessage() for record in caplog.records if record.name == "headartist"] == [
        "stage 1 of 2 (geometry), 1 steps",
        "stage 2 of 2 (texture), 1 steps",
        f"writing the files of {head.folder}",
    ]
