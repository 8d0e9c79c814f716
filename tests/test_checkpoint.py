"""The Head folder: whole files only, never another head's, and an error that says what is wrong with it."""

import os
import unicodedata
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from headartist.config.presets import SMOKE
from headartist.runs.head import load_head
from headartist.system.claim import LOCK
from headartist.system.errors import HeadArtistError
from headartist.system.files import replacing
from headartist.system.names import default_path, slug
from headartist.training.checkpoint import Position, is_finished, load_checkpoint, save_checkpoint, save_head
from headartist.training.folder import HeadFolder, check_folder, claimed, open_folder
from toys import ToyAvatar

CONFIG = replace(SMOKE, prompt="a clown")


@pytest.fixture
def folder(tmp_path: Path) -> HeadFolder:
    folder = HeadFolder(tmp_path / "head")
    open_folder(folder, CONFIG)
    return folder


def _trained(steps: int) -> tuple[ToyAvatar, torch.optim.Optimizer, torch.Generator]:
    avatar, generator = ToyAvatar(), torch.Generator().manual_seed(7)
    optimizer = torch.optim.AdamW(avatar.parameters(), lr=0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        (avatar.color * torch.rand(3, generator=generator)).sum().backward()
        optimizer.step()
    return avatar, optimizer, generator


def _save(folder: HeadFolder, steps: int) -> ToyAvatar:
    avatar, optimizer, generator = _trained(steps)
    save_checkpoint(folder, Position(0, steps, 1.5), avatar, optimizer, generator, [])
    return avatar


@pytest.mark.parametrize("steps", [0, 3])
def test_what_is_restored_is_what_was_saved(folder: HeadFolder, steps: int):
    avatar, optimizer, generator = _trained(steps)
    save_checkpoint(folder, Position(1, steps, 2.5), avatar, optimizer, generator, [])
    checkpoint = load_checkpoint(folder)
    assert checkpoint is not None
    assert checkpoint.position == Position(1, steps, 2.5)

    other, other_optimizer, other_generator = _trained(1)
    checkpoint.restore_avatar(other)
    checkpoint.restore_generator(other_generator)
    checkpoint.restore_optimizer(other_optimizer)
    for name, tensor in avatar.state_dict().items():
        assert torch.equal(other.state_dict()[name], tensor)
    moments, other_moments = optimizer.state_dict()["state"], other_optimizer.state_dict()["state"]
    assert moments.keys() == other_moments.keys()
    for index in moments:
        assert all(torch.equal(moments[index][name], other_moments[index][name]) for name in moments[index])
    assert torch.equal(torch.rand(5, generator=other_generator), torch.rand(5, generator=generator))


@pytest.mark.parametrize("moment", ["fsync", "replace"])
def test_a_save_that_is_killed_leaves_the_old_checkpoint(folder: HeadFolder, monkeypatch, moment: str):
    avatar = _save(folder, 1)
    with monkeypatch.context() as killed:

        def kill(*arguments: object) -> None:
            raise KeyboardInterrupt

        killed.setattr(os, moment, kill)
        with pytest.raises(KeyboardInterrupt):
            _save(folder, 2)
    checkpoint = load_checkpoint(folder)
    assert checkpoint is not None
    assert checkpoint.position.step == 1
    assert torch.equal(checkpoint.tensors["avatar.color"], avatar.color)
    assert [path.name for path in folder.checkpoint.parent.iterdir()] == ["state.safetensors"]


def test_half_a_draft_that_a_kill_left_behind_is_not_in_the_way(folder: HeadFolder):
    folder.checkpoint.with_name(".state.1.part.safetensors").write_bytes(b"half")
    assert load_checkpoint(folder) is None
    _save(folder, 2)
    checkpoint = load_checkpoint(folder)
    assert checkpoint is not None
    assert checkpoint.position.step == 2


def test_a_finished_head_stands_in_one_place(folder: HeadFolder):
    avatar, _, generator = _trained(2)
    assert not is_finished(folder, CONFIG)
    save_head(folder, Position(len(CONFIG.stages), 0, 9.0), avatar, generator)
    assert is_finished(folder, CONFIG)
    checkpoint = load_checkpoint(folder)
    assert checkpoint is not None
    assert torch.equal(checkpoint.tensors["avatar.sdf"], avatar.sdf)
    assert folder.checkpoint.stat().st_size < 10_000


@pytest.mark.parametrize("content", [b"", b"not a tensor", None])
def test_a_damaged_checkpoint_is_told(folder: HeadFolder, content: bytes | None):
    _save(folder, 1)
    whole = folder.checkpoint.read_bytes()
    folder.checkpoint.write_bytes(whole[:-9] if content is None else content)
    with pytest.raises(HeadArtistError, match=r"state\.safetensors is damaged .* use --overwrite"):
        load_checkpoint(folder)


def test_a_folder_without_a_head_yet_is_told(folder: HeadFolder):
    with pytest.raises(HeadArtistError, match="holds no head yet"):
        load_head(folder.path)


def test_something_else_than_a_head_folder_is_told(tmp_path: Path):
    with pytest.raises(HeadArtistError, match=r"is not a Head folder \(it has no config.json\)"):
        load_head(tmp_path)


def test_weights_of_another_head_are_told(folder: HeadFolder):
    _save(folder, 1)
    other, *_ = _trained(0)
    other.sdf = nn.Parameter(torch.zeros(5))
    checkpoint = load_checkpoint(folder)
    assert checkpoint is not None
    for call in (lambda: load_head(folder.path), lambda: checkpoint.restore_avatar(other)):
        with pytest.raises(HeadArtistError) as caught:
            call()
        assert str(caught.value) == (
            f"The head in {folder.path} does not fit its own config.json: bring the old config.json back, or use "
            "--overwrite to start again."
        )


def test_a_damaged_provenance_is_told(folder: HeadFolder):
    assert folder.read_provenance() == {}
    for content in (b"{", b"\xff", b"[1]"):
        folder.provenance.write_bytes(content)
        with pytest.raises(HeadArtistError, match=r"provenance\.json is damaged: remove it"):
            folder.read_provenance()


def test_a_replaced_file_is_seen_old_or_new(tmp_path: Path):
    path = tmp_path / "file"
    path.write_text("old")
    with replacing(path) as draft:
        draft.write_text("half of the n")
        assert path.read_text() == "old"
    assert path.read_text() == "half of the n"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("moment", ["fsync", "mkdir"])
def test_a_run_that_was_killed_while_it_made_the_folder_can_be_started_again(tmp_path: Path, monkeypatch, moment: str):
    folder, call = HeadFolder(tmp_path / "head"), getattr(os, moment)

    def kill(what: int | Path, *rest: object) -> object:
        if what == folder.path:
            return call(what, *rest)
        raise KeyboardInterrupt

    with monkeypatch.context() as killed:
        killed.setattr(os, moment, kill)
        killed.setattr(Path, "unlink", lambda *_, **__: None)  # nothing is tidied up
        with pytest.raises(KeyboardInterrupt):
            open_folder(folder, CONFIG)
    assert list(folder.path.iterdir())
    with claimed(folder.path):
        open_folder(check_folder(folder.path, CONFIG), CONFIG)
    assert {path.name for path in folder.path.iterdir()} == {"config.json", "checkpoint", "previews"}


def test_drafts_that_a_kill_left_behind_are_swept_and_nothing_that_looks_like_them(folder: HeadFolder):
    places = (folder.path, folder.checkpoint.parent, folder.previews)
    drafts = (f".headartist-{'0a' * 8}.part.json", ".head.123.part.safetensors", ".turntable.7.part.mp4")
    mine = ("mine.part", ".profile.part1", ".notes.12.part.txt", ".headartist-1.part", ".head.part.glb")
    for place in places:
        for name in (*drafts, *mine):
            (place / name).write_bytes(b"half")
    (folder.previews / ".0-geometry-00100.5.part.png").write_bytes(b"half")
    with claimed(folder.path):
        for place in places:
            assert {path.name for path in place.glob(".*")} - {LOCK} == {name for name in mine if name[0] == "."}
            assert (place / "mine.part").exists()


def test_the_same_settings_may_go_on_and_running_options_do_not_matter(folder: HeadFolder):
    assert check_folder(folder.path, CONFIG) == folder
    assert check_folder(folder.path, replace(CONFIG, run=replace(CONFIG.run, log_every=77))) == folder


def test_other_settings_are_refused_by_name(folder: HeadFolder):
    loss = CONFIG.stages[1].term.objective
    texture = CONFIG.stages[1].with_term(objective=replace(loss, cfg_scale=10.0))
    with pytest.raises(HeadArtistError) as caught:
        check_folder(folder.path, replace(CONFIG, stages=(CONFIG.stages[0], texture, *CONFIG.stages[2:])))
    assert str(caught.value) == (
        f"{folder.path} exists with other settings (texture.objective.cfg_scale {loss.cfg_scale:g} -> 10): "
        "use --overwrite or another --out."
    )


def test_overwriting_removes_the_old_head_and_nothing_else(folder: HeadFolder):
    _save(folder, 1)
    folder.append_metrics({"step": 1})
    mine = folder.path / "notes.txt"
    mine.write_text("mine")
    other = replace(CONFIG, seed=5)
    open_folder(check_folder(folder.path, other, overwrite=True), other, overwrite=True)
    assert folder.read_config() == other
    assert load_checkpoint(folder) is None
    assert not folder.metrics.exists()
    assert mine.read_text() == "mine"


def test_a_folder_of_something_else_is_never_taken(tmp_path: Path):
    (tmp_path / "thesis.tex").write_text("years of work")
    for overwrite in (False, True):
        with pytest.raises(HeadArtistError, match="not empty and not a Head folder"):
            check_folder(tmp_path, CONFIG, overwrite=overwrite)


def test_a_file_in_the_folders_place_is_told(tmp_path: Path):
    path = tmp_path / "head"
    path.write_text("")
    with pytest.raises(HeadArtistError, match="is a file: choose another --out"):
        check_folder(path, CONFIG)


def test_default_paths_are_plain_names():
    assert default_path("a DSLR portrait of Vincent van Gogh!", 3) == Path(
        "heads/a-dslr-portrait-of-vincent-van-gogh-3"
    )
    assert default_path("../../etc", 0) == Path("heads/etc-0")
    assert default_path("???", 1) == Path("heads/head-1")
    assert len(default_path("word " * 100, 0).name) <= 62
    assert default_path("a" * 60, 0).name == f"{'a' * 60}-0"
    assert slug("ein häßlicher mann") == "ein-häßlicher-mann"
    assert slug("一个男人") == "一个男人"


PROMPTS = [
    *(f"a DSLR portrait of an old man with a very long white beard and {thing}" for thing in ("a hat", "a cap")),
    *(
        "😀",
        "🎉",
        "👩🏽‍🦱",
        "👩‍🦱",
        "a 😀",
        "a 🎉",
        "É",
        "é",
        "e\u0301",
        "\u03c3",
        "ς",
        "i",
        "İ",
        "\u0131",
        "हिन्दी",
        "हन्द",
        "漢" * 90,
        "漢" * 91,
        "漢字。",
        "漢字",
    ),
]


def test_different_prompts_have_different_folders_in_every_file_system():
    names = [default_path(prompt, 0).name for prompt in PROMPTS]
    folded = [unicodedata.normalize("NFD", name.upper()).casefold() for name in names]
    assert len(set(folded)) == len(PROMPTS)


@given(st.text(max_size=400), st.integers(0, 2**63 - 1))
def test_a_folders_name_is_one_name_that_every_system_allows(prompt: str, seed: int):
    path = default_path(prompt, seed)
    assert path.parent == Path("heads")
    name = path.name
    assert name.endswith(f"-{seed}")
    assert name == default_path(prompt, seed).name
    assert len(f".{slug(prompt)}-seeds.4194304.part.png".encode()) < 200
    assert len(name.encode()) <= 140
    assert not set(name) & set('<>:"/\\|?*. ')
    assert name.isprintable()
    # Windows has devices of these names, with whatever ending after a dot.
    assert name.split(".")[0].upper() not in {"CON", "PRN", "AUX", "NUL", *(f"COM{k}" for k in range(10))}


@pytest.mark.parametrize("prompt", ["con", "NUL", "aux.", "com1 "])
def test_a_device_of_windows_is_no_folder_by_itself(prompt: str):
    assert default_path(prompt, 0).name == f"{prompt.lower().strip(' .')}-0"
