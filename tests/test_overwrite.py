"""`--overwrite` removes the old head's own files, and never one of the user's."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from headartist import HeadArtistError
from headartist.config.presets import EMBEDDED
from headartist.system.files import write_text
from headartist.training.folder import HeadFolder, claimed, open_folder

CONFIG = replace(EMBEDDED, prompt="a clown")
MINE = (
    "head.blend",
    "head.fbx",
    "head.zip",
    "head_game.blend",
    ".profile.part1",
    ".head.1.part.blend",
    "notes.txt",
    "checkpoint/state.bak",
    "checkpoint/deeper/state.safetensors",
    "previews/mine.png",
    "previews/0-other-00100.png",
    "previews/1-geometry-00100.png",
)
ALWAYS = (
    "head.safetensors",
    "checkpoint/state.safetensors",
    "metrics.jsonl",
    "provenance.json",
    "turntable.mp4",
    "contact.png",
    "previews/0-geometry-00100.png",
    "previews/1-texture-123456.png",
)
FIRST_RELEASE = (
    *(f"{stem}{suffix}" for stem in ("head", "head_game") for suffix in (".glb", ".obj", ".mtl", ".ply", ".usd")),
    *(f"{stem}{kind}.png" for stem in ("head", "head_game") for kind in ("", ".normal", ".roughness")),
)
PAGE = "<!doctype html>\n<!--\nA page of headartist (Apache License 2.0) that shows heads."


@pytest.fixture
def folder(tmp_path: Path) -> HeadFolder:
    """A Head folder of this release in which a user keeps things, among them what an export could be called."""
    folder = HeadFolder(tmp_path / "head")
    open_folder(folder, CONFIG)
    (folder.checkpoint.parent / "deeper").mkdir()
    folder.write_provenance({"prompt": "a clown"})
    for name in (*MINE, *ALWAYS):
        if name != "provenance.json":
            (folder.path / name).write_text("content")
    return folder


def names(folder: HeadFolder) -> set[str]:
    paths = (path for path in folder.path.rglob("*") if not path.is_dir() or path.is_symlink())
    return {path.relative_to(folder.path).as_posix() for path in paths}


def overwrite(folder: HeadFolder) -> None:
    with claimed(folder.path):
        open_folder(folder, CONFIG, overwrite=True)


def old_record(folder: HeadFolder, **changes: object) -> None:
    """A provenance as somebody else left it."""
    folder.provenance.write_text(json.dumps({"prompt": "a clown", **changes}), encoding="utf-8")


def test_what_a_head_is_made_of_goes_and_what_the_user_keeps_there_stays(folder: HeadFolder):
    overwrite(folder)
    assert names(folder) == {"config.json", *MINE}


def test_files_that_a_command_wrote_are_known_and_others_of_such_names_are_not(folder: HeadFolder):
    write_text(folder.path / "head.obj", "mine")
    with folder.owning(["head.glb", "head.obj", "head.ply"]) as written:
        write_text(folder.glb, "ours")
        written.append(folder.glb)
    write_text(folder.path / "head.ply", "mine")
    assert folder.read_provenance()["files"] == ["head.glb"]
    overwrite(folder)
    assert names(folder) == {"config.json", *MINE, "head.obj", "head.ply"}


def test_files_stay_known_when_the_record_is_written_again(folder: HeadFolder):
    with folder.owning(["head.glb"]) as written:
        write_text(folder.glb, "ours")
        written.append(folder.glb)
    folder.write_provenance({"prompt": "a clown", "seconds": 3})
    assert folder.read_provenance() == {"prompt": "a clown", "seconds": 3, "files": ["head.glb"]}


def test_a_file_is_known_even_where_a_kill_comes_before_its_writer_ends(folder: HeadFolder):
    write_text(folder.path / "head.obj", "mine")

    def killed() -> None:
        with folder.owning(["head.glb", "head.obj"]):
            write_text(folder.glb, "ours")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        killed()
    overwrite(folder)
    assert names(folder) == {"config.json", *MINE, "head.obj"}


def test_a_head_of_the_first_release_has_the_names_that_release_could_write(folder: HeadFolder):
    for name in FIRST_RELEASE:
        write_text(folder.path / name, "ours")
    write_text(folder.viewer, PAGE)
    old_record(folder)
    overwrite(folder)
    assert names(folder) == {"config.json", *MINE}


def test_a_head_of_the_first_release_keeps_its_names_when_more_is_written(folder: HeadFolder):
    write_text(folder.glb, "ours")
    old_record(folder)
    with folder.owning(["head.ply"]) as written:
        write_text(folder.path / "head.ply", "ours")
        written.append(folder.path / "head.ply")
    assert folder.read_provenance()["files"] == ["head.glb", "head.ply"]


def test_a_page_of_the_users_own_stays(folder: HeadFolder):
    write_text(folder.viewer, "<!doctype html> my holidays")
    for record in ({}, {"files": []}):
        old_record(folder, **record)
        overwrite(folder)
        assert folder.viewer.read_text() == "<!doctype html> my holidays"


@pytest.mark.parametrize("files", ["head.blend", 7, {"head.blend": 1}])
def test_a_record_of_another_kind_names_nothing(folder: HeadFolder, files: object):
    old_record(folder, files=files)
    overwrite(folder)
    assert names(folder) == {"config.json", *MINE}


def test_no_name_leads_out_of_the_folder(folder: HeadFolder, tmp_path: Path):
    outside = tmp_path / "precious"
    outside.write_text("mine")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "precious").write_text("mine")
    if os.name != "nt":
        (folder.path / "link").symlink_to(tmp_path / "elsewhere")
    escapes = [
        "../precious",
        str(outside),
        "link/precious",
        "link",
        "..",
        ".",
        "",
        "checkpoint",
        "checkpoint/state.bak",
    ]
    escapes += ["..\\precious", "C:precious", "previews/mine.png", None, 3, ["x"]]
    before = names(folder)
    old_record(folder, files=escapes)
    overwrite(folder)
    assert outside.read_text() == (tmp_path / "elsewhere" / "precious").read_text() == "mine"
    assert names(folder) == before - set(ALWAYS)


@pytest.mark.skipif(os.name == "nt", reason="links are a privilege there")
@pytest.mark.parametrize(
    "name", ["checkpoint", "previews", "head.glb", "head.safetensors", "config.json", "contact.png"]
)
def test_a_link_in_a_files_place_is_told_at_the_door(folder: HeadFolder, tmp_path: Path, name: str):
    place, target = folder.path / name, tmp_path / "target"
    if place.exists():
        place.rename(target)
    place.symlink_to(target)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(HeadArtistError, match=rf"{name} is (a symbolic link|no folder of its own)"):
        overwrite(folder)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_damaged_record_or_config_is_no_reason_to_remove_more(folder: HeadFolder):
    folder.provenance.write_text("{")
    folder.config.write_text("{")
    write_text(folder.glb, "ours")
    overwrite(folder)
    pictures = {name for name in ALWAYS if name.startswith("previews")}  # whose stages nobody knows
    assert names(folder) == {"config.json", *MINE, *pictures}


@pytest.mark.parametrize("out", ["é" * 128, "heads/" + "n" * 256, "/".join(["n" * 200] * 21)])
def test_a_name_that_no_disk_takes_is_told_at_the_door(tmp_path: Path, monkeypatch, out: str):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(HeadArtistError, match="choose a shorter --out") as caught, claimed(Path(out)):
        pass
    assert len(str(caught.value)) < 200
    assert list(tmp_path.iterdir()) == []
