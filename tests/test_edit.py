"""Editing: what moves, what stays bit for bit, what is written down, and what is refused."""

import json
import shlex
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import trimesh

from headartist import cli, door, edit, edit_config, generate, priors
from headartist.config.config import Config
from headartist.config.objectives import Refine
from headartist.config.presets import PAPER, SMOKE
from headartist.config.schedules import Constant, Linear, Piecewise
from headartist.config.stage import Rates, Regularizers
from headartist.heads import load_template
from headartist.runs.editing import default_path
from headartist.runs.head import Head, load_head
from headartist.system.errors import HeadArtistError
from headartist.system.files import content_hash
from headartist.training import loop
from headartist.training.folder import HeadFolder
from headartist.training.problem import Problem
from small_run import PROMPT, small_config

PriorFolder = Callable[[str], Path]
BEARD = "with a beard"


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory, tiny_prior_folder: PriorFolder) -> Head:
    """A finished small head."""
    config = small_config(tiny_prior_folder("sd21"), steps=3)
    return generate(PROMPT, config, out=tmp_path_factory.mktemp("heads") / "parent", progress=False)


@pytest.fixture(scope="module")
def child(parent: Head) -> Head:
    """The same head with a beard."""
    return edit(parent.folder, BEARD, progress=False)


@pytest.fixture
def orphan(parent: Head, tmp_path: Path) -> Path:
    """A copy of the parent that a test may damage."""
    return Path(shutil.copytree(parent.folder, tmp_path / "orphan"))


@pytest.fixture(scope="module")
def head_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The open head's skin as a mesh file."""
    head = load_template("open")
    path = tmp_path_factory.mktemp("template") / "head.ply"
    trimesh.Trimesh(head.verts.numpy(), head.faces_of("skin").numpy(), process=False).export(path)
    return path


def changed(before: Head, after: Head) -> set[str]:
    """Which parts of a head differ in any bit."""
    old, new = before.avatar.state_dict(), after.avatar.state_dict()
    assert old.keys() == new.keys()
    return {name.split(".")[0] for name in old if not torch.equal(old[name], new[name])}


def content(folder: Path) -> dict[Path, bytes]:
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_an_edit_moves_vertices_and_colours_and_leaves_the_distance_bit_for_bit(parent: Head, child: Head):
    assert changed(parent, child) == {"offset", "color"}
    before, after = parent.avatar.to_mesh(), child.avatar.to_mesh()
    assert torch.equal(before.faces, after.faces)
    assert not torch.equal(before.verts, after.verts)


def test_an_edit_is_a_head_folder_beside_its_parent_with_the_new_text(parent: Head, child: Head):
    assert child.folder == parent.folder.parent / "parent-with-a-beard-0"
    assert {path.name for path in child.folder.iterdir()} == {path.name for path in parent.folder.iterdir()}
    assert load_head(child.folder).config.prompt == f"{PROMPT}, {BEARD}"
    rows = [json.loads(line) for line in (child.folder / "metrics.jsonl").read_text().splitlines()]
    assert [row["stage"] for row in rows] == ["edit_geometry"] * 3 + ["edit_texture"] * 3


def test_an_edit_names_its_parent_and_what_is_left_of_it(parent: Head, child: Head):
    assert child.provenance["parent"] == {
        "folder": "parent",
        "sha256": content_hash(HeadFolder(parent.folder).weights),
        "prompt": PROMPT,
    }
    assert child.config.parent == child.provenance["parent"]["sha256"]
    assert child.provenance == json.loads((child.folder / "provenance.json").read_text())
    left = child.provenance["edit_fidelity"]
    assert set(left) == {"landmark_shift", "untouched", "color_difference"}
    assert left["landmark_shift"] > 0
    assert left["color_difference"] > 0
    assert "parent" not in parent.provenance


def test_the_parent_stays_as_it_is(orphan: Path):
    before = content(orphan)
    edit(orphan, edit_config(orphan, BEARD, geometry_steps=1, texture_steps=1), progress=False)
    assert content(orphan) == before


@pytest.mark.parametrize(
    ("settings", "parts"),
    [
        ({"keep_geometry": True}, {"color"}),
        ({"geometry_steps": 0}, {"color"}),
        ({"keep_texture": True}, {"offset"}),
        ({"reshape": True, "keep_texture": True}, {"sdf", "offset", "known_sdf", "steps"}),
    ],
)
def test_what_is_to_be_kept_is_kept_bit_for_bit(tmp_path: Path, parent: Head, settings, parts: set[str]):
    config = edit_config(parent.folder, BEARD, **settings)
    made = edit(parent.folder, config, out=tmp_path / "head", progress=False)
    assert changed(parent, made) == parts
    if settings.get("keep_texture"):
        assert made.provenance["edit_fidelity"]["color_difference"] < 1
    if "keep_geometry" in settings:
        assert made.provenance["edit_fidelity"]["landmark_shift"] == 0


@pytest.mark.parametrize("call", [1, 4])
def test_an_edit_that_was_stopped_goes_on_and_ends_as_the_unbroken_one(
    tmp_path: Path, parent: Head, child: Head, monkeypatch: pytest.MonkeyPatch, call: int
):
    folder, step, calls = HeadFolder(tmp_path / "head"), loop.train_step, []

    def interrupted_step(*arguments):
        if len(calls) == call:
            signal.raise_signal(signal.SIGINT)
        calls.append(call)
        return step(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(loop, "train_step", interrupted_step)
        with pytest.raises(KeyboardInterrupt):
            edit(parent.folder, BEARD, out=folder.path, progress=False)
    assert not folder.weights.exists()
    resumed = edit(parent.folder, BEARD, out=folder.path, progress=False)
    assert folder.weights.read_bytes() == HeadFolder(child.folder).weights.read_bytes()
    assert resumed.provenance["edit_fidelity"] == child.provenance["edit_fidelity"]


def test_a_finished_edit_is_only_exported_again(parent: Head, child: Head):
    metrics = (child.folder / "metrics.jsonl").read_bytes()
    again = edit(parent.folder, BEARD, progress=False)
    assert (child.folder / "metrics.jsonl").read_bytes() == metrics
    assert changed(again, child) == set()


def test_an_edit_belongs_to_the_parent_it_was_begun_with(orphan: Path, child: Head, tmp_path: Path):
    config = edit_config(orphan, BEARD, geometry_steps=1, texture_steps=1)
    edit(orphan, config, out=tmp_path / "head", progress=False)
    shutil.copy(child.folder / "head.safetensors", orphan / "head.safetensors")
    with pytest.raises(HeadArtistError, match=r"head exists with other settings \(parent '\w{64}' -> '\w{64}'\): use"):
        edit(
            orphan, edit_config(orphan, BEARD, geometry_steps=1, texture_steps=1), out=tmp_path / "head", progress=False
        )
    with pytest.raises(HeadArtistError) as caught:
        edit(orphan, config, out=tmp_path / "head", progress=False)
    assert str(caught.value) == f"These settings are not for an edit of {orphan} as it is now: make them again."


def test_the_name_of_a_head_that_was_edited_often_stays_short(parent: Head, tmp_path: Path):
    name, instruction = "a-clown-0" + "-with-a-hat-0" * 40, "with ä häßlicher hat"
    long = tmp_path / name[:240]
    shutil.copytree(parent.folder, long)
    made = default_path(long, edit_config(long, instruction))
    assert made.name.startswith("a-clown-0-with-a-hat-0-with")
    assert made.name.endswith("-with-ä-häßlicher-hat-0")
    assert len(made.name.encode()) <= 180
    twin = tmp_path / (name[:239] + "y")
    shutil.copytree(parent.folder, twin)
    assert default_path(twin, edit_config(twin, instruction)) != made
    assert default_path(parent.folder, edit_config(parent.folder, BEARD)).name == "parent-with-a-beard-0"


def test_the_name_of_an_edit_goes_on_from_the_folder_that_a_dot_stands_for(
    parent: Head, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(parent.folder)
    assert default_path(Path("."), edit_config(".", BEARD)) == parent.folder.resolve().parent / "parent-with-a-beard-0"


def test_different_edits_have_different_folders(parent: Head):
    told = ("😀", "🎉", "with a hat that is " + "very " * 20 + "red", "with a hat that is " + "very " * 20 + "blue")
    assert len({default_path(parent.folder, edit_config(parent.folder, each)) for each in told}) == len(told)


def test_an_instruction_that_makes_the_prompt_too_long_is_refused(parent: Head):
    with pytest.raises(HeadArtistError, match=r"The prompt has 2,0\d\d characters"):
        edit_config(parent.folder, "very " * 398 + "red")


def test_an_edit_keeps_its_template_wherever_its_file_is_now(
    tmp_path: Path, tiny_prior_folder: PriorFolder, head_file: Path
):
    config = small_config(tiny_prior_folder("sd21"), steps=1)
    first = shutil.copy(head_file, tmp_path / "first.ply")
    origin = generate(PROMPT, replace(config, template=str(first)), out=tmp_path / "head", progress=False)
    asked = edit_config(origin.folder, BEARD)
    moved = Path(shutil.move(first, tmp_path / "moved.ply"))
    made = edit(origin.folder, replace(asked, template=str(moved)), progress=False)
    assert made.provenance["edit_fidelity"]["untouched"] > 0
    moved.write_bytes(moved.read_bytes() + b"\n")
    for other in (str(moved), "open", str(tmp_path / "none.ply")):
        with pytest.raises(HeadArtistError) as caught:
            edit(origin.folder, replace(asked, template=other), out=tmp_path / "new", progress=False)
        assert str(caught.value) == (
            f"An edit of {origin.folder} keeps its template: leave out what sets template, or give the same file where "
            "it is now."
        )
    assert not (tmp_path / "new").exists()


def test_a_damaged_parent_is_told_before_the_prior_is_loaded(orphan: Path, monkeypatch: pytest.MonkeyPatch):
    config = edit_config(orphan, BEARD)
    weights = HeadFolder(orphan).weights
    weights.write_bytes(weights.read_bytes()[:-9])
    config = replace(config, parent=content_hash(weights))
    monkeypatch.setattr(priors, "load_prior", None)  # would fail if it were called
    with pytest.raises(HeadArtistError, match=r"head\.safetensors is damaged .*: use --overwrite to start again, or"):
        edit(orphan, config, out=orphan.parent / "new", progress=False)
    assert not (orphan.parent / "new").exists()


def test_an_edit_can_be_edited(parent: Head, child: Head):
    config = edit_config(child.folder, "with glasses", geometry_steps=1, texture_steps=1)
    assert [stage.name for stage in config.stages] == ["edit_geometry", "edit_texture"]
    grandchild = edit(child.folder, config, progress=False)
    assert grandchild.config.prompt == f"{PROMPT}, {BEARD}, with glasses"
    assert grandchild.provenance["parent"]["folder"] == child.folder.name
    sdf = {name: value for name, value in grandchild.avatar.state_dict().items() if name.startswith("sdf")}
    assert all(torch.equal(value, parent.avatar.state_dict()[name]) for name, value in sdf.items())


def test_an_edit_goes_on_with_the_noise_levels_at_which_its_stages_ended(parent: Head):
    config = edit_config(parent.folder, BEARD, base=PAPER, geometry_steps=7, texture_steps=9)
    shaping, colouring, refinement = config.stages
    assert (shaping.name, shaping.trains, shaping.steps) == ("edit_geometry", ("offset",), 7)
    assert (colouring.name, colouring.trains, colouring.steps) == ("edit_texture", ("color",), 9)
    assert (shaping.t_max, colouring.t_max) == (Constant(0.5), Constant(0.7))
    assert (refinement.name, type(refinement.term.objective)) == ("edit_refinement", Refine)
    assert refinement.steps == PAPER.stages[-1].steps
    assert (config.prior, config.avatar, config.template) == (PAPER.prior, parent.config.avatar, parent.config.template)


def test_an_edit_goes_on_with_the_smoothness_at_which_its_stages_ended(parent: Head):
    shaping = edit_config(parent.folder, BEARD, base=PAPER, geometry_steps=7).stages[0]
    assert shaping.regularizers == Regularizers(Constant(10_000.0), Constant(10_000.0))


def test_learning_rates_take_their_course_again_over_the_edits_own_steps(parent: Head):
    geometry, *others = PAPER.stages[1:]
    falling = Rates(grid=Linear(1e-2, 1e-4, begin=0.1), mlp=Piecewise(1e-3, 1e-4, at=0.5))
    base = replace(PAPER, stages=(replace(geometry, rates=falling), *others))
    edited = edit_config(parent.folder, BEARD, base=base, geometry_steps=140).stages[0]
    assert (edited.rates, edited.steps) == (falling, 140)
    assert edit_config(parent.folder, BEARD, base=base).stages[0].rates == falling
    # An edit of the edit asks for the very same stage.
    again = replace(base, stages=(edited, *others))
    assert edit_config(parent.folder, BEARD, base=again).stages[0] == edited


def test_landmarks_follow_an_edited_expression(orphan: Path, monkeypatch: pytest.MonkeyPatch):
    shown, step = [], loop.train_step

    def noted_step(problem: Problem, *rest: object):
        shown.append(problem.template)
        return step(problem, *rest)

    monkeypatch.setattr(loop, "train_step", noted_step)
    asked = "jawOpen=0.6,mouthSmileLeft=0.5"
    config = edit_config(orphan, "shouting", geometry_steps=1, texture_steps=0, expression=asked)
    made = edit(orphan, config, progress=False)
    open_mouth = load_template("open", expression=asked).site_positions()
    assert torch.equal(shown[0].site_positions(), open_mouth)
    assert not torch.equal(open_mouth, load_template("open").site_positions())
    # A further edit keeps the expression unless it is told otherwise.
    assert edit_config(made.folder, "with a hat").expression == asked
    assert edit_config(made.folder, "calm", expression="").expression == ""


def test_an_instruction_with_a_prefix_is_the_whole_new_prompt(parent: Head):
    assert edit_config(parent.folder, "a photo of a clown").prompt == "a photo of a clown"


def _write(folder: Path, config: Config) -> None:
    folder.mkdir()
    HeadFolder(folder).write_config(config)


MISTAKES = {
    "edit nowhere older": (
        "nowhere is not a Head folder (it has no config.json): give the --out of `headartist generate`."
    ),
    "edit begun older": (
        "begun is not finished: run the command that began it again, and edit the head when it is done."
    ),
    "edit bare older": "bare has no colours yet, only a shape: edit a head that a texture stage was trained for.",
    "edit head ' '": ('The prompt is empty: say whose head, as in "a DSLR portrait of an old man with a beard".'),
    "edit head older --keep-geometry --keep-texture": (
        "Nothing of head would change: let the edit move its geometry or its texture."
    ),
    "edit head older --geometry-steps 0 --texture-steps 0": (
        "Nothing of head would change: let the edit move its geometry or its texture."
    ),
    "edit head older --out ./head": "head is the head to be edited, which must stay as it is: choose another --out.",
    "edit head older --set avatar.offset_cells=2": (
        "An edit of head keeps its representation: leave out what sets avatar."
    ),
    "edit head older --preset smok": "There is no preset 'smok': did you mean 'smoke'?",
    "edit head older --expression jawOpen": (
        "Expression 'jawOpen' is not understood at 'jawOpen': write names with weights, each once, as in "
        "jawOpen=0.6,mouthSmileLeft=0.5."
    ),
    "edit head older --texture-steps -1": "Stage edit_texture: steps must lie within 0 and 1,000,000 (got -1).",
    "edit coloured older": "These settings have no stage that shapes: use --keep-geometry or another --preset.",
    "generate clown --config edited": (
        "These settings belong to an edit, which begins with another head: use `headartist edit`."
    ),
}


@pytest.mark.parametrize("command", MISTAKES)
def test_a_mistake_is_told_in_one_sentence_before_anything_is_done(
    orphan: Path, command: str, monkeypatch: pytest.MonkeyPatch, capsys
):
    monkeypatch.chdir(orphan.parent)
    orphan.rename("head")
    config = HeadFolder(Path("head")).read_config()
    _write(Path("begun"), config)
    for name, stages in (("bare", config.stages[:1]), ("coloured", config.stages[1:])):
        _write(Path(name), replace(config, stages=stages))
        shutil.copy("head/head.safetensors", f"{name}/head.safetensors")
    _write(Path("edited"), replace(config, parent="0" * 64))
    before = content(Path())
    assert cli.run(shlex.split(command)) == 2
    assert capsys.readouterr().err == f"headartist: {MISTAKES[command]}\n"
    assert content(Path()) == before


def test_the_command_edits_says_what_is_left_and_how_to_go_on(orphan: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.chdir(orphan.parent)
    step = loop.train_step
    line = "edit orphan 'with a hat' --geometry-steps 1 --texture-steps 2 --seed 4 --overwrite --quiet --out 'a hat'"

    def interrupted_step(*arguments):
        signal.raise_signal(signal.SIGTERM)
        return step(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(loop, "train_step", interrupted_step)
        assert door.run(shlex.split(line)) == 128 + signal.SIGTERM
    told = capsys.readouterr().err.splitlines()[-1]
    assert told == f"resume: headartist {line.replace(' --overwrite', '')}"
    assert cli.run(shlex.split(told.removeprefix("resume: headartist "))) == 0
    told = capsys.readouterr()
    assert told.err.startswith("landmarks moved by ")
    assert told.out == "a hat\n"
    made = HeadFolder(Path("a hat")).read_config()
    assert (made.seed, [stage.steps for stage in made.stages]) == (4, [1, 2])


def test_an_edit_may_be_judged_by_another_preset(orphan: Path, tiny_prior_folder: PriorFolder):
    prior = tiny_prior_folder("embedded")
    config = edit_config(orphan, BEARD, base=SMOKE, geometry_steps=1, texture_steps=1)
    config = replace(config, prior=replace(config.prior, model=str(prior)), exports=replace(SMOKE.exports, formats=()))
    made = edit(orphan, config, progress=False)
    assert made.config.prior.model == str(prior)
    assert made.config.avatar == HeadFolder(orphan).read_config().avatar
