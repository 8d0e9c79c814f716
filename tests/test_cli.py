"""The command line: what it says, when it says it, and how it stops."""

import os
import re
import shlex
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from headartist import cli, door
from headartist.commands import doctor
from headartist.commands.arguments import parse
from headartist.config import limits
from headartist.config.presets import EMBEDDED, PAPER, PRESETS
from headartist.config.text import from_json, to_json
from headartist.system.errors import HeadArtistError
from headartist.system.version import package_version
from headartist.training import loop
from headartist.training.folder import HeadFolder
from small_run import PROMPT, small_config

FIDELITY = {"landmark_shift": 0.0, "untouched": 1.0, "color_difference": 0.0}
SNAPSHOTS = Path(__file__).parent / "snapshots"
COMMANDS = ("generate", "edit", "export", "video", "view", "presets", "config", "doctor")
PriorFolder = Callable[[str], Path]


def _check_snapshot(name: str, text: str) -> None:
    """Compare with `snapshots/name`; with UPDATE_SNAPSHOTS=1 in the environment, write it instead."""
    path = SNAPSHOTS / name
    if os.environ.get("UPDATE_SNAPSHOTS"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8"), f"{name} changed: run with UPDATE_SNAPSHOTS=1 if that is wanted"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def config(place: Path, tiny_prior_folder: PriorFolder) -> Path:
    """A small run's config as a file."""
    path = place / "config.json"
    path.write_text(to_json(small_config(tiny_prior_folder("sd21"), steps=2)), encoding="utf-8")
    return path


@pytest.mark.parametrize("arguments", [(), *((name,) for name in COMMANDS)])
def test_help_says_what_it_said(arguments: tuple[str, ...], capsys, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NO_COLOR", "1")
    with pytest.raises(SystemExit) as ended:
        cli.run([*arguments, "--help"])
    assert ended.value.code == 0
    words = re.sub("[╭╮╰╯│─]+|-{3,}", " ", capsys.readouterr().out)  # how the boxes are laid out is not ours
    text = "\n".join(textwrap.wrap(" ".join(words.split()), 100, break_on_hyphens=False)) + "\n"
    _check_snapshot("-".join(["help", *arguments]) + ".txt", text)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        ["generate", "--help"],
        ["presets"],
        ["config", "quick"],
        ["generate", "", "--seed", "3"],
        ["view", "x.glb"],
    ],
)
def test_help_and_the_first_mistakes_need_no_heavy_library(arguments: list[str]):
    code = f"""
import sys
from headartist import cli
try:
    cli.run({arguments!r})
except SystemExit:
    pass
sys.exit(", ".join({{"torch", "warp", "diffusers", "transformers", "scipy", "numpy"}} & set(sys.modules)) or 0)
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


def _damaged_prior(place: Path, tiny_prior_folder: PriorFolder) -> None:
    import shutil

    shutil.copytree(tiny_prior_folder("sd21"), place / "prior")
    weights = place / "prior" / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])


def _half_a_prior(place: Path, tiny_prior_folder: PriorFolder) -> None:
    _damaged_prior(place, tiny_prior_folder)
    (place / "prior" / "unet" / "diffusion_pytorch_model.safetensors").unlink()


def _another_head(place: Path, tiny_prior_folder: PriorFolder) -> None:
    (place / "head").mkdir()
    HeadFolder(place / "head").write_config(replace(EMBEDDED, prompt="a clown", seed=4))


def _read_only(place: Path, tiny_prior_folder: PriorFolder) -> None:
    (place / "locked").mkdir()


def _a_file(place: Path, tiny_prior_folder: PriorFolder) -> None:
    (place / "head").write_text("")


def _bytes_for_a_config(place: Path, tiny_prior_folder: PriorFolder) -> None:
    (place / "head").mkdir()
    (place / "head" / "config.json").write_bytes(b"\xff\xfe")


def _nothing(place: Path, tiny_prior_folder: PriorFolder) -> None:
    pass


MISTAKES = {
    "empty prompt": (_nothing, "generate ' '"),
    "unknown preset": (_nothing, "generate clown --preset embeded"),
    "other settings": (_another_head, "generate 'a clown' --out head --seed 5 --negative ugly --prior ."),
    "a file in the way": (_a_file, "generate clown --out head --prior ."),
    "no permission": (_read_only, "generate clown --out locked/head --prior ."),
    "unknown prior": (_nothing, "generate clown --prior sd12"),
    "missing weights": (_half_a_prior, "generate clown --prior prior"),
    "truncated weights": (_damaged_prior, "generate clown --prior prior"),
    "no CUDA": (_nothing, "generate clown --prior . --device cuda:7"),
    "unknown device": (_nothing, "generate clown --prior . --device gpu"),
    "unknown template": (_nothing, "generate clown --prior . --template opne"),
    "unknown precision": (_nothing, "generate clown --dtype float61"),
    "unknown setting": (_nothing, "generate clown --set geometry.stepz=3"),
    "setting of a wrong kind": (_nothing, "generate clown --set geometry.steps=many"),
    "negative steps": (_nothing, "generate clown --set texture.steps=-5"),
    "unfinished override": (_nothing, "generate clown --set texture.steps"),
    "no config": (_nothing, "generate clown --config nowhere.json"),
    "preset and config": (_nothing, "generate clown --preset quick --config x.json"),
    "an odd video": (_another_head, "video head --size 33"),
    "a config that is no text": (_bytes_for_a_config, "export head"),
    "export of no head": (_nothing, "export nowhere"),
    "video of no head": (_nothing, "video ."),
    "view of no head": (_nothing, "view nowhere"),
    "view before the first mesh": (_another_head, "view head"),
    "export before the first checkpoint": (_another_head, "export head"),
    "unknown preset to print": (_nothing, "presets qick"),
    "unknown preset to explain": (_nothing, "config qick"),
    "unknown setting to explain": (_nothing, "config quick --set seeds=3"),
}


def test_the_commonest_mistakes_are_told_in_one_line(tmp_path_factory, tiny_prior_folder, capsys, monkeypatch):
    transcript = []
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "locked" and access(path, mode))
    for name, (prepare, command) in MISTAKES.items():
        place = tmp_path_factory.mktemp("place")
        monkeypatch.chdir(place)
        prepare(place, tiny_prior_folder)
        before = sorted(place.rglob("*"))
        assert cli.run(shlex.split(command)) == 2, name
        told = capsys.readouterr()
        assert told.out == ""
        assert told.err.count("\n") == 1, name
        assert sorted(place.rglob("*")) == before, f"{name} left something behind"
        told_here = told.err.replace(str(place), "<here>")
        for varies in (r"(?<=cut short \()[^)]*", r"(?<=devices found: )\d+"):
            told_here = re.sub(varies, "...", told_here)
        transcript.append(f"# {name}\n$ headartist {command}\n{told_here}")
    _check_snapshot("mistakes.txt", "\n".join(transcript))


def test_the_embedded_prior_says_when_it_is_not_there(place: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.setattr(Path, "is_file", lambda _: False)
    assert cli.run(["generate", "clown"]) == 2
    assert capsys.readouterr().err == (
        "headartist: The embedded prior's weights are not in this installation: install a release of headartist, or "
        "use --prior sd21, --prior sd15 or --prior DIR.\n"
    )


def test_what_the_system_refuses_is_told_in_one_line(place: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    def refuse(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(cli, "generate", refuse)
    error = OSError(28, "No space left on device", "head/config.json")
    assert cli.run(["generate", "clown"]) == 2
    assert capsys.readouterr().err == "headartist: head/config.json: No space left on device\n"
    error = BrokenPipeError(32, "Broken pipe")
    assert cli.run(["generate", "clown"]) == 2
    assert capsys.readouterr().err == "headartist: [Errno 32] Broken pipe\n"


def test_options_end_up_in_the_config(place: Path, monkeypatch: pytest.MonkeyPatch):
    asked = {}
    monkeypatch.setattr(cli, "generate", lambda _, config, **rest: asked.update(rest, config=config) or _Made())
    line = (
        "generate clown --preset paper --seed 3 --out x --prior sd15 --controlnet none --dtype bfloat16 --device cuda "
        "--threads 2 --negative 'ugly, bad' --template open --overwrite --quiet "
        "--set geometry.steps=30 --set 'texture.objective=Ssd(5, anchor=0.3)'"
    )
    assert cli.run(shlex.split(line)) == 0
    config = asked.pop("config")
    assert asked == {"out": Path("x"), "overwrite": True, "progress": False}
    assert (config.seed, config.template, config.run.device, config.run.threads) == (3, "open", "cuda", 2)
    assert (config.prior.model, config.prior.controlnet, config.prior.dtype) == ("sd15", "none", "bfloat16")
    assert [stage.term.negative for stage in config.stages] == ["", "", "ugly, bad", "ugly, bad"]
    assert config.stages[1].steps == 30
    assert config.stages[2].term.objective.anchor == 0.3
    assert config.stages[0] == PAPER.stages[0]


class _Made:
    folder = Path("x")


def test_presets_are_listed_and_printed(place: Path, capsys):
    assert cli.run(["presets"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(PRESETS)
    assert cli.run(["presets", "paper"]) == 0
    assert from_json(capsys.readouterr().out) == PAPER


def test_a_config_is_explained_with_a_star_at_what_was_changed(capsys):
    assert cli.run(["config", "quick", "--set", "geometry.steps=7", "--set", "seed=3"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert [line.partition("  # ")[0] for line in told if line.startswith("*")] == [
        "* geometry.steps = 7",
        "* seed = 3",
    ]
    assert "  geometry.steps = 120  # how many steps" not in told
    assert all(line.partition("  # ")[2] for line in told)


def test_the_release_is_told(capsys):
    assert cli.run(["--version"]) == 0
    assert capsys.readouterr().out == f"headartist {package_version()}\n"


def test_what_lies_on_stdout_is_the_path_alone_and_the_last_word_says_what_to_type_next(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys
):
    made = SimpleNamespace(folder=Path("my heads/one"), provenance={"edit_fidelity": FIDELITY})
    monkeypatch.setattr(cli, "generate", lambda *_, **__: made)
    monkeypatch.setattr(cli, "edit", lambda *_, **__: made)
    monkeypatch.setattr(cli, "edit_config", lambda *_, **__: replace(EMBEDDED, parent="0"))
    for line in (["generate", "a clown"], ["edit", "head", "with a beard"]):
        assert cli.run(line) == 0
        told = capsys.readouterr()
        assert told.out == "my heads/one\n"
        first, second = told.err.splitlines()[-1].removeprefix("next: ").split(", or ")
        for command in (first, second):
            parsed = parse(shlex.split(command)[1:])
            assert made.folder in (getattr(parsed, "head", None), *getattr(parsed, "heads", ()))
    assert cli.run(["generate", "a clown", "--quiet"]) == 0
    assert capsys.readouterr().err == ""


def test_several_seeds_are_shown_side_by_side_next(place: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    folders = [place / "my heads" / f"a-clown-{seed}" for seed in (0, 1, 10)]
    for folder in folders:
        folder.mkdir(parents=True)
    sheet = place / "my heads" / "a-clown-seeds.png"
    sheet.touch()
    monkeypatch.setattr(cli, "generate_seeds", lambda *_, **__: sheet)
    assert cli.run(["generate", "a clown", "--seeds", "3", "--out", "my heads"]) == 0
    told = capsys.readouterr()
    assert told.out == f"{sheet}\n"
    shown = told.err.removeprefix("next: headartist view ").split(" --out ")[0]
    ended = subprocess.run(["sh", "-c", f"printf '%s\\n' {shown}"], capture_output=True, text=True, check=True)
    assert {place / line for line in ended.stdout.splitlines()} == set(folders)


def test_the_doctor_finds_nothing_in_the_way_here_and_says_what_is(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys
):
    assert cli.run(["doctor"]) == 0
    told = capsys.readouterr().out
    assert told.endswith("Nothing is in the way of a run.\n")
    assert len(told.splitlines()) < 24
    assert not any(line.startswith("!") for line in told.splitlines())
    assert list(place.iterdir()) == []

    def refuse() -> None:
        raise HeadArtistError("Videos need ffmpeg: install it.")

    monkeypatch.setattr(doctor, "find_ffmpeg", refuse)
    monkeypatch.setattr(doctor, "machine_memory", lambda: 1 << 30)
    monkeypatch.setattr(limits, "machine_memory", lambda: 1 << 30)
    monkeypatch.setattr(doctor, "LIBRARIES", ("torch", "no-such-library"))
    assert cli.run(["doctor"]) == 2
    lines = capsys.readouterr().out.splitlines()
    hindered = [line.split()[1] for line in lines if line.startswith("!")]
    assert hindered == ["libraries", "memory", "videos"]
    assert any(line.strip() == "Install what is missing: pip install no-such-library" for line in lines)
    assert any(line.strip() == "Videos need ffmpeg: install it." for line in lines)


def test_what_usd_lacks_stops_no_run(place: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    def refuse() -> None:
        raise HeadArtistError("USD files need usd-core: install it.")

    monkeypatch.setattr(doctor, "find_usd", refuse)
    assert cli.run(["doctor"]) == 0
    assert [line.split()[1] for line in capsys.readouterr().out.splitlines() if line.startswith("!")] == ["USD"]


def test_an_interrupted_run_says_how_to_go_on_and_that_works(
    place: Path, config: Path, capsys, monkeypatch: pytest.MonkeyPatch
):
    line = ["generate", PROMPT, "--config", str(config), "--out", "my heads/one", "--overwrite", "--quiet"]
    step = loop.train_step

    def interrupted_step(*arguments):
        signal.raise_signal(signal.SIGTERM)
        return step(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(loop, "train_step", interrupted_step)
        assert door.run(line) == 128 + signal.SIGTERM
    told = capsys.readouterr().err.splitlines()[-1]
    assert told == f"resume: headartist generate '{PROMPT}' --config {config} --out 'my heads/one' --quiet"

    assert cli.run(shlex.split(told.removeprefix("resume: headartist "))) == 0
    assert capsys.readouterr().out == "my heads/one\n"
    assert HeadFolder(Path("my heads/one")).weights.exists()


def test_a_made_head_is_exported_and_filmed(place: Path, config: Path, capsys):
    assert cli.run(["generate", PROMPT, "--config", str(config), "--out", "head", "--quiet"]) == 0
    capsys.readouterr()
    assert cli.run(["export", "head", "--formats", "ply", "--texture-size", "64"]) == 0
    assert capsys.readouterr().out == "head/head.ply\n"
    assert cli.run(["video", "head", "--views", "2", "--size", "32"]) == 0
    assert capsys.readouterr().out == "head/turntable.mp4\n"
    assert cli.run(["video", "head", "--views", "0"]) == 2
    told = capsys.readouterr()
    assert (told.out, told.err.count("\n")) == ("", 1)
    assert told.err.startswith("headartist: A video of 0 views")
    # The Head folder is itself a config for the next head.
    again = ["generate", PROMPT, "--config", "head", "--out", "head", "--quiet"]
    assert cli.run(again) == 0


def test_a_prompt_that_is_too_long_is_a_warning(place: Path, config: Path, capsys):
    untrained = ["--set", "geometry.steps=0", "--set", "texture.steps=0", "--quiet", "--out", "head"]
    assert cli.run(["generate", "a very " + "old " * 80 + "man", "--config", str(config), *untrained]) == 0
    (told,) = capsys.readouterr().err.splitlines()
    assert told.startswith("headartist: warning: ")
    assert told.endswith("old man' is cut off")
