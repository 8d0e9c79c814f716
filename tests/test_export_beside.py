"""No export breaks what an earlier one wrote: files of all formats and settings in one folder, in every order."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from ball_avatar import Ball
from headartist.avatars.avatar import Material
from headartist.config.exports import mesh_stem
from headartist.config.presets import SMOKE
from headartist.export import export_head
from headartist.export import head as exports
from headartist.render.draw import render_mesh
from headartist.training.folder import HeadFolder, open_folder
from remeshed import TEMPLATE, remeshed
from seen_files import SIZE, VIEWS, shown

FORMATS = ("glb", "obj", "ply", "usd")
SETTINGS = {
    "plain": {"texture_size": 64},
    "delit": {"texture_size": 48, "delight": True},
    "rigged": {"texture_size": 64, "rig": TEMPLATE, "eyes": True, "iris": "blue"},
    "game": {"texture_size": 64, "variant": "game"},
}
PREPARED = ("simplified", "rig_head", "unwrap", "bake", "normal_map", "roughness_map")


class Striped(Ball):
    """The template's surface, in colours of which neighbours differ."""

    def __init__(self) -> None:
        self.mesh = remeshed(16)

    def material_at(self, points: torch.Tensor) -> Material:
        return Material(striped(points))


def striped(points: torch.Tensor) -> torch.Tensor:
    return 0.5 + 0.4 * torch.sin(4 * points)


@pytest.fixture(scope="module", autouse=True)
def asked() -> Iterator[list[str]]:
    """The settings of the export at work, by which is remembered what follows from them alone: all but the writing."""
    pytest.importorskip("pxr", reason="needs the extra `usd`", exc_type=ImportError)
    names: list[str] = []
    answers: dict[tuple[str, str], object] = {}

    def remembered(function: Callable[..., object]) -> Callable[..., object]:
        def answer(*arguments: object, **named: object) -> object:
            key = names[-1], function.__name__
            if key not in answers:
                answers[key] = function(*arguments, **named)
            return answers[key]

        return answer

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(exports, "GAME_FACES", 1_000)
        for name in PREPARED:
            patched.setattr(exports, name, remembered(getattr(exports, name)))
        yield names


@pytest.fixture(scope="module")
def write(asked: list[str]) -> Callable[[Path, str, str], Path]:
    """A function that exports one format of one setting into a folder."""

    def written(folder: Path, name: str, wanted: str) -> Path:
        asked.append(name)
        export_head(Striped(), folder, formats=(wanted,), **SETTINGS[name])
        return folder / named(name, wanted)

    return written


def named(name: str, wanted: str) -> str:
    return f"{mesh_stem(SETTINGS[name].get('variant', 'full'))}.{wanted}"


@pytest.fixture(scope="module")
def alone(write, tmp_path_factory) -> dict[tuple[str, str], torch.Tensor]:
    """What every format of every setting shows that was exported into an empty folder."""
    return {
        (name, wanted): shown(write(tmp_path_factory.mktemp("alone"), name, wanted))
        for name in SETTINGS
        for wanted in FORMATS
    }


@pytest.fixture(scope="module")
def together(write, tmp_path_factory) -> dict[str, Path]:
    """A folder for each setting with all its formats."""
    folders = {name: tmp_path_factory.mktemp(name) for name in SETTINGS}
    for name, folder in folders.items():
        for wanted in FORMATS:
            write(folder, name, wanted)
    return folders


def test_every_format_shows_the_heads_own_colours(alone):
    frame = render_mesh(remeshed(16), VIEWS, SIZE, torch.full((3,), 0.5), striped)
    inner = (torch.nn.functional.avg_pool2d(frame.opacity, 3, 1, 1) > 0.999).expand_as(frame.color)
    for wanted in FORMATS:
        off = (alone["plain", wanted] - frame.color).abs()[inner]
        assert off.mean() < 0.03, wanted
        # A rig opens the lids and parts the lips; all else stays as it is.
        assert (alone["rigged", wanted] - frame.color).abs()[inner].mean() < 0.05, wanted


def test_settings_show(alone):
    """Else the next test could not tell one file from another."""
    for wanted in FORMATS:
        assert (alone["plain", wanted] - alone["delit", wanted]).abs().mean() > 0.005, wanted


@pytest.mark.parametrize("later", SETTINGS)
@pytest.mark.parametrize("earlier", SETTINGS)
def test_each_file_shows_what_it_shows_alone_whatever_is_exported_after_it(
    write, alone, together, tmp_path, earlier, later
):
    folder = shutil.copytree(together[earlier], tmp_path / "head")
    expected = {named(earlier, wanted): alone[earlier, wanted] for wanted in FORMATS}
    for wanted in FORMATS:
        write(folder, later, wanted)
        expected[named(later, wanted)] = alone[later, wanted]
        for name, picture in expected.items():
            assert torch.equal(shown(folder / name), picture), f"{name} after {later} {wanted}"


def test_no_picture_is_left_of_a_material_that_had_more(write, together, tmp_path):
    folder = shutil.copytree(together["rigged"], tmp_path / "head")
    assert {"head.roughness.png", "head_usd.roughness.png"} <= {path.name for path in folder.iterdir()}
    for wanted in FORMATS:
        write(folder, "plain", wanted)
    assert {path.name for path in folder.iterdir()} == {path.name for path in together["plain"].iterdir()}


@pytest.mark.parametrize("name", SETTINGS)
def test_beginning_again_removes_every_file_of_an_earlier_export(together, tmp_path, name):
    folder = HeadFolder(shutil.copytree(together[name], tmp_path / "head"))
    written = {path.name for path in folder.path.iterdir()}
    folder.write_config(SMOKE)
    folder.write_provenance({"prompt": "a head"})
    with folder.owning([]) as own:
        own += [folder.path / name for name in written]
    open_folder(folder, SMOKE, overwrite=True)
    assert written.isdisjoint(path.name for path in folder.path.iterdir())
