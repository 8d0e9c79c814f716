"""Several seeds of one prompt: their folders, their sheet, and going on where one stopped."""

import shlex
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from headartist import cli, generate_seeds
from headartist.config.config import Config
from headartist.config.prompts import PromptWarning
from headartist.config.text import to_json
from headartist.priors.stable_diffusion import TextCutOff
from headartist.runs import sweep as seeds
from headartist.system.errors import HeadArtistError
from headartist.system.names import slug
from headartist.training import checkpoint, loop
from headartist.training.folder import HeadFolder, check_folder
from headartist.training.interrupts import Begun
from small_run import PROMPT, small_config


@pytest.fixture
def config(tiny_prior_folder: Callable[[str], Path]) -> Config:
    return replace(small_config(tiny_prior_folder("sd21"), steps=1), seed=3)


def test_every_seed_has_its_folder_and_a_row_of_the_sheet(tmp_path: Path, config: Config):
    sheet = generate_seeds(PROMPT, config, 2, out=tmp_path, progress=False)
    folders = [tmp_path / f"{slug(PROMPT)}-{seed}" for seed in (3, 4)]
    assert sorted(tmp_path.iterdir()) == sorted([*folders, sheet])
    assert [HeadFolder(folder).read_config().seed for folder in folders] == [3, 4]
    assert len({HeadFolder(folder).weights.read_bytes() for folder in folders}) == 2
    with Image.open(sheet) as picture:
        assert picture.size == (4 * 256, 2 * 2 * 256)


def test_heads_that_are_done_are_left_alone(tmp_path: Path, config: Config, monkeypatch: pytest.MonkeyPatch):
    made: list[int] = []
    generate = seeds.generate

    def counted(prompt: str, run: Config, **rest: object) -> object:
        made.append(run.seed)
        return generate(prompt, run, **rest)

    monkeypatch.setattr(seeds, "generate", counted)
    generate_seeds(PROMPT, config, 1, out=tmp_path, progress=False)
    first = HeadFolder(tmp_path / f"{slug(PROMPT)}-3")
    before = first.provenance.stat().st_mtime_ns, (first.path / "head.glb").stat().st_mtime_ns
    generate_seeds(PROMPT, config, 2, out=tmp_path, progress=False)
    assert made == [3, 4]
    assert (first.provenance.stat().st_mtime_ns, (first.path / "head.glb").stat().st_mtime_ns) == before

    (first.path / "head.glb").unlink()
    generate_seeds(PROMPT, config, 2, out=tmp_path, progress=False)
    assert made == [3, 4, 3]
    assert (first.path / "head.glb").exists()
    game = replace(config, exports=replace(config.exports, variant="game"))
    for _ in range(2):  # the second time its own files are there
        generate_seeds(PROMPT, game, 2, out=tmp_path, progress=False)
        assert made == [3, 4, 3, 3, 4]
    generate_seeds(PROMPT, config, 2, out=tmp_path, overwrite=True, progress=False)
    assert made == [3, 4, 3, 3, 4, 3, 4]
    assert not (first.path / "head_game.glb").exists()


def test_what_is_wrong_with_the_prompt_is_said_for_the_first_head_alone(tmp_path: Path, config: Config):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        generate_seeds("an " + "old " * 80 + "man", config, 2, out=tmp_path, progress=False)
    assert [each.category for each in caught if issubclass(each.category, PromptWarning)] == [TextCutOff]


def test_what_cannot_be_made_is_told_before_the_first_head(tmp_path: Path, config: Config):
    taken = check_folder(tmp_path / f"{slug(PROMPT)}-4", config)
    taken.path.mkdir()
    taken.write_config(replace(config, prompt="another", seed=4))
    with pytest.raises(HeadArtistError, match="exists with other settings"):
        generate_seeds(PROMPT, config, 2, out=tmp_path, progress=False)
    assert list(tmp_path.iterdir()) == [taken.path]
    with pytest.raises(HeadArtistError) as caught:
        generate_seeds(PROMPT, config, 0, out=tmp_path, progress=False)
    assert str(caught.value) == "The number of seeds must lie within 1 and 1,000 (got 0)."


def interrupted(where: str, monkeypatch: pytest.MonkeyPatch, **call: object) -> None:
    """A call that overwrites heads and is stopped in the first head: before its training, or in it."""

    def stopped(*_arguments: object, **_rest: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(*{"loading": (checkpoint, "is_finished"), "training": (loop, "train_step")}[where], stopped)
        if where == "loading":
            patched.setattr("headartist.priors.build.load_prior", stopped)
        with pytest.raises(KeyboardInterrupt):
            generate_seeds(PROMPT, overwrite=True, progress=False, **call)


def test_an_overwriting_that_was_stopped_goes_on_without_losing_what_it_made(
    tmp_path: Path, config: Config, monkeypatch: pytest.MonkeyPatch
):
    generate_seeds(PROMPT, config, 2, out=tmp_path, progress=False)
    first, second = (HeadFolder(tmp_path / f"{slug(PROMPT)}-{seed}") for seed in (3, 4))
    other = replace(config, view_text="none")
    interrupted("loading", monkeypatch, config=other, count=2, out=tmp_path)
    assert [folder.read_config().view_text for folder in (first, second)] == ["append", "append"]
    assert second.weights.exists()
    interrupted("training", monkeypatch, config=other, count=2, out=tmp_path)
    assert [folder.read_config().view_text for folder in (first, second)] == ["none", "none"]
    assert not second.weights.exists()
    generate_seeds(PROMPT, other, 2, out=tmp_path, progress=False)
    assert second.weights.exists()


def test_a_head_that_was_still_to_be_overwritten_is_not_taken_for_done(
    tmp_path: Path, config: Config, monkeypatch: pytest.MonkeyPatch
):
    generate_seeds(PROMPT, config, 2, out=tmp_path, progress=False)
    second, generate = HeadFolder(tmp_path / f"{slug(PROMPT)}-4"), seeds.generate

    def stopped_at_the_second(prompt: str, run: Config, **rest: object) -> object:
        if run.seed == 4:
            raise KeyboardInterrupt(15)
        return generate(prompt, run, **rest)

    monkeypatch.setattr(seeds, "generate", stopped_at_the_second)
    with pytest.raises(Begun) as stop:
        generate_seeds(PROMPT, config, 2, out=tmp_path, overwrite=True, progress=False)
    assert stop.value.args == (15,)
    assert not second.weights.exists()


def test_a_sheet_that_cannot_be_written_is_told_before_the_first_head(tmp_path: Path, config: Config):
    (tmp_path / f"{slug(PROMPT)}-seeds.png").mkdir()
    with pytest.raises(HeadArtistError, match="is a folder, and only regular files are replaced"):
        generate_seeds(PROMPT, config, 1, out=tmp_path, progress=False)
    assert len(list(tmp_path.iterdir())) == 1


def test_the_command_makes_seeds(tmp_path: Path, config: Config, monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("config.json").write_text(to_json(config), encoding="utf-8")
    assert cli.run(shlex.split(f"generate '{PROMPT}' --config config.json --seeds 1 --quiet")) == 0
    sheet = Path("heads") / f"{slug(PROMPT)}-seeds.png"
    assert capsys.readouterr().out == f"{sheet}\n"
    assert sheet.exists()
    assert (Path("heads") / f"{slug(PROMPT)}-3" / "head.glb").exists()
