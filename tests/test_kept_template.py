"""A head outlives the file it began with: what its folder keeps of a user's template, and what is believed of that."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from flame_file import flame_like, write_flame
from headartist import HeadArtistError, cli, edit, edit_config, export, generate
from headartist.config.config import Config
from headartist.config.exports import Exports
from headartist.heads import HeadTemplate, landmark_transfer, load_template
from headartist.heads.kept_template import KEY, is_kept, keep_template, load_kept
from headartist.runs.head import Head
from headartist.runs.provenance import template_record
from headartist.training import loop
from headartist.training.folder import HeadFolder
from headartist.viewer.page import view
from small_run import PROMPT, small_config
from toys import ToyPrior

PRIOR = ToyPrior()
BARE = Exports(formats=(), video_views=0)
SCAN = "my scan.npz"  # as typed in the folder where it lies


def _laid_as_it_is(*_: object) -> dict[str, torch.Tensor]:
    """The open head laid onto a file that was made from it: an answer that would take seconds to find."""
    head = load_template()
    eye = torch.eye(3, dtype=torch.float64)
    return {"verts": head.verts, "identity": torch.zeros(100), "linear": eye, "shift": eye[0] * 0}


@pytest.fixture(scope="module", autouse=True)
def _quickly_laid(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("HEADARTIST_CACHE", str(tmp_path_factory.mktemp("own_cache")))
        patched.setattr(landmark_transfer, "_laid", _laid_as_it_is)
        yield


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the user's file lies."""
    folder = tmp_path_factory.mktemp("scans")
    arrays = flame_like(identity="").arrays
    kept = [*range(5), *range(300, 310)]  # a few identities and expressions are enough
    directions = np.zeros_like(arrays["shapedirs"][..., :310])
    directions[..., kept] = arrays["shapedirs"][..., kept]
    write_flame(folder / SCAN, arrays | {"shapedirs": directions})
    return folder


@pytest.fixture(scope="module")
def config() -> Config:
    asked = {"template": SCAN, "identity": "0=1.5", "expression": "expression_003=0.5"}
    return replace(small_config(Path("unused"), steps=2, checkpoint_every=1), exports=BARE, **asked)


@pytest.fixture(scope="module")
def made(scans: Path, config: Config) -> Head:
    """A finished head of the file."""
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(scans)
        return generate(PROMPT, config, out=scans / "heads" / "made", prior=PRIOR, progress=False)


@pytest.fixture
def head(made: Head, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HeadFolder:
    """A copy of the finished head, as on another machine: the file it began with is nowhere."""
    folder = shutil.copytree(made.folder, tmp_path / "head")
    monkeypatch.chdir(tmp_path)
    return HeadFolder(folder)


def same(one: HeadTemplate, other: HeadTemplate) -> bool:
    """Whether all is equal, bit for bit."""
    for item in fields(HeadTemplate):
        a, b = getattr(one, item.name), getattr(other, item.name)
        if item.name == "landmark_sites":
            if not (torch.equal(a.triangles, b.triangles) and torch.equal(a.barycentric, b.barycentric)):
                return False
        elif not (torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b):
            return False
    return True


def equal(one: Head, other: Head) -> bool:
    a, b = one.avatar.state_dict(), other.avatar.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


# --- the run -------------------------------------------------------------------------------------------------------


def test_a_head_folder_keeps_the_template_at_rest_and_the_record_of_its_file(scans: Path, made: Head):
    kept = load_template(HeadFolder(made.folder).template)
    assert same(kept, load_template(scans / SCAN))
    assert kept.name == SCAN
    assert made.provenance["template"] == template_record(str(scans / SCAN))
    assert made.config.template == SCAN  # as it was typed


def test_a_head_of_the_open_template_keeps_none(config: Config, head: HeadFolder):
    plain = replace(config, template="open", identity="", expression="")
    generate(PROMPT, plain, out=head.path, overwrite=True, prior=PRIOR, progress=False)
    assert not head.template.exists()  # nor what the earlier head in its place kept


@pytest.fixture
def carried(monkeypatch: pytest.MonkeyPatch) -> list[HeadTemplate]:
    """The rigs that exports were given, in place of their files."""
    given: list[HeadTemplate] = []
    monkeypatch.setattr(export, "export_head", lambda *_, rig, **__: given.append(rig) or [])
    return given


def test_a_head_is_exported_without_the_file(scans: Path, head: HeadFolder, config: Config, carried: list):
    assert cli.run(["export", "head"]) == 0
    began = load_template(scans / SCAN, identity=config.identity, expression=config.expression)
    assert same(carried[0], landmark_transfer.open_head_on(began))


def test_a_head_gets_its_rig_and_its_page_without_the_file(head: HeadFolder):
    assert cli.run(["export", "head", "--formats", "glb", "--texture-size", "32"]) == 0
    assert view([head.path]).exists()
    assert b"jawOpen" in head.glb.read_bytes()


def test_a_head_is_edited_without_the_file_and_its_edit_too(head: HeadFolder):
    asked = edit_config(head.path, "shouting", geometry_steps=1, texture_steps=0, expression="expression_001=1")
    child = edit(head.path, asked, prior=PRIOR, progress=False)
    assert HeadFolder(child.folder).template.read_bytes() == head.template.read_bytes()
    assert child.provenance["template"] == head.read_provenance()["template"]
    other = edit_config(child.folder, "old", geometry_steps=1, texture_steps=0, expression="")
    other = replace(other, identity="seed:3")
    grandchild = edit(child.folder, other, prior=PRIOR, progress=False)
    assert HeadFolder(grandchild.folder).template.read_bytes() == head.template.read_bytes()


def test_landmarks_of_an_edit_follow_an_identity_and_an_expression_of_the_kept_template(
    scans: Path, head: HeadFolder, monkeypatch: pytest.MonkeyPatch
):
    shown, step = [], loop.train_step
    monkeypatch.setattr(
        loop, "train_step", lambda problem, *rest: shown.append(problem.template) or step(problem, *rest)
    )
    asked = edit_config(head.path, "old", geometry_steps=1, texture_steps=0, expression="expression_001=1")
    asked = replace(asked, identity="seed:3")
    edit(head.path, asked, prior=PRIOR, progress=False)
    expected = load_template(scans / SCAN, identity="seed:3", expression="expression_001=1")
    assert torch.equal(shown[0].site_positions(), expected.site_positions())


@pytest.fixture
def begun(scans: Path, config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HeadFolder:
    """A head that was interrupted, with the file beside it."""
    step, taken = loop.train_step, []

    def interrupted(*arguments: object):
        taken.append(arguments)
        if len(taken) == 2:
            raise KeyboardInterrupt
        return step(*arguments)

    shutil.copy(scans / SCAN, tmp_path)
    monkeypatch.chdir(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(loop, "train_step", interrupted)
        with pytest.raises(KeyboardInterrupt):
            generate(PROMPT, config, out="begun", prior=PRIOR, progress=False)
    return HeadFolder(tmp_path / "begun")


def test_a_run_whose_file_has_gone_goes_on_with_what_it_kept_to_the_same_head(
    made: Head, begun: HeadFolder, config: Config
):
    Path(SCAN).unlink()
    again = generate(PROMPT, config, out="begun", prior=PRIOR, progress=False)
    assert equal(again, made)
    assert again.provenance["template"] == made.provenance["template"]


def test_a_run_whose_file_has_changed_is_refused(begun: HeadFolder, config: Config, monkeypatch: pytest.MonkeyPatch):
    with Path(SCAN).open("ab") as file:
        file.write(b"\0")
    before = begun.checkpoint.read_bytes()
    with pytest.raises(HeadArtistError, match=r"begun was begun with another template, .* use --overwrite to start"):
        generate(PROMPT, config, out="begun", prior=PRIOR, progress=False)
    assert begun.checkpoint.read_bytes() == before


def test_starting_again_needs_the_file_and_loses_nothing_without_it(head: HeadFolder, config: Config):
    before = {path: path.read_bytes() for path in head.path.rglob("*") if path.is_file()}
    with pytest.raises(HeadArtistError, match=r"'my scan\.npz' is not there"):
        generate(PROMPT, config, out=head.path, overwrite=True, prior=PRIOR, progress=False)
    assert {path: path.read_bytes() for path in head.path.rglob("*") if path.is_file()} == before


def test_another_head_may_begin_with_what_a_folder_keeps(head: HeadFolder, scans: Path):
    asked = {"identity": "1=2", "expression": "expression_002=1"}
    assert same(load_template(head.template, **asked), load_template(scans / SCAN, **asked))
    assert not is_kept(scans / SCAN)


# --- heads of earlier releases -------------------------------------------------------------------------------------


def test_a_head_that_keeps_no_template_finds_the_file_or_says_so(scans: Path, head: HeadFolder, carried: list, capsys):
    assert cli.run(["export", "head"]) == 0
    head.template.unlink()
    assert cli.run(["export", "head"]) == 2
    assert capsys.readouterr().err == (
        "headartist: head keeps no template of its own, and 'my scan.npz', which it was made from, is not there: bring "
        "that file back, or run headartist in the folder that this path counts from.\n"
    )
    shutil.copy(scans / SCAN, SCAN)
    assert cli.run(["export", "head"]) == 0
    assert same(*carried)
    with Path(SCAN).open("ab") as file:
        file.write(b"\0")
    assert cli.run(["export", "head"]) == 2
    assert "head was begun with another template" in capsys.readouterr().err


# --- what is believed ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def plain() -> HeadTemplate:
    """The open head as if it were a user's, with few of its shapes."""
    head = load_template()
    few = {"shape_basis": head.shape_basis[:2], "joint_basis": head.joint_basis[:2]}
    faces = {"expression_basis": head.expression_basis[:3], "expression_names": head.expression_names[:3]}
    return replace(head, name="mine.ply", **few, **faces)


def test_what_is_kept_comes_back_bit_for_bit_and_is_written_as_before(plain: HeadTemplate, tmp_path: Path):
    keep_template(tmp_path / "a.safetensors", plain)
    keep_template(tmp_path / "b.safetensors", load_kept(tmp_path / "a.safetensors"))
    assert same(load_kept(tmp_path / "a.safetensors"), plain)
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def _set(name: str, place: object, value: float) -> Callable[[dict[str, torch.Tensor]], None]:
    return lambda tensors: tensors[name].__setitem__(place, value)


def _put(name: str, change: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[dict[str, torch.Tensor]], None]:
    return lambda tensors: tensors.__setitem__(name, change(tensors[name]).contiguous())


DAMAGES = {
    "has no uv": lambda tensors: tensors.pop("uv"),
    "verts holds what is no number": _set("verts", (5, 1), float("nan")),
    "shape_basis holds what is no number": _set("shape_basis", (0, 5, 1), float("inf")),
    "verts spans": _set("verts", (5, 1), 1e6),
    "faces holds numbers beyond": _set("faces", (7, 2), 1_000_000),
    "uv_faces holds numbers beyond": _set("uv_faces", (7, 2), -1),
    "part holds numbers beyond": _set("part", 9, 77),
    "mirror holds numbers beyond": _set("mirror", 9, -2),
    "landmark_triangles holds numbers beyond": _set("landmark_triangles", 9, 1_000_000),
    "landmark_barycentric holds what are no shares": _set("landmark_barycentric", (9, 1), 1.7),
    "verts is of torch.float64": _put("verts", torch.Tensor.double),
    "faces is of torch.float32": _put("faces", torch.Tensor.float),
    "expression_basis is of torch.float32 and (2,": _put("expression_basis", lambda basis: basis[:2]),
    "skin_weights is of torch.float32": _put("skin_weights", lambda weights: weights[:, :-1]),
    "it has 400 landmarks": lambda tensors: tensors.update(
        {name: tensors[name][:400] for name in ("landmark_triangles", "landmark_barycentric")}
    ),
    "fewer than 100 triangles of skin": _put("part", torch.ones_like),
}
WORDS = {
    "it does not say what it is": ("{", ""),
    "it does not say name": ('"name"', '"nome"'),
    "not called as a user's template is": ('"mine.ply"', '"open"'),
    "part_names is no list of names": ('"skin"', "7"),
    "has no skin": ('"skin"', '"fur"'),
    "holds a name twice": ('"eyes"', '"skin"'),
    "parent does not precede it": ("[-1, 0", "[-1, 4"),
    "not one parent for each joint": ("[-1, 0", "[-1, 0, 0"),
    "metres_per_unit is": ('"metres_per_unit": 0.', '"metres_per_unit": 4'),
}


def rewritten(path: Path, change: Callable[[dict[str, torch.Tensor]], object], words: tuple[str, str] = ("", "")):
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()[KEY].replace(*words, 1)
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    change(tensors)
    save_file(tensors, path, {KEY: metadata})


def refused(path: Path) -> str:
    with pytest.raises(HeadArtistError) as told:
        load_kept(path)
    assert str(told.value).startswith(f"{path} is damaged (")
    assert "\n" not in str(told.value)
    return str(told.value)


@pytest.mark.parametrize("told", DAMAGES)
def test_tensors_that_are_no_heads_are_refused_in_one_sentence(plain: HeadTemplate, tmp_path: Path, told: str):
    path = tmp_path / "template.safetensors"
    keep_template(path, plain)
    rewritten(path, DAMAGES[told])
    assert told in refused(path)


@pytest.mark.parametrize("told", WORDS)
def test_words_that_are_no_heads_are_refused_in_one_sentence(plain: HeadTemplate, tmp_path: Path, told: str):
    path = tmp_path / "template.safetensors"
    keep_template(path, plain)
    rewritten(path, lambda _: None, WORDS[told])
    assert told in refused(path)


def test_any_damage_to_the_bytes_is_told_or_harmless(plain: HeadTemplate, tmp_path: Path):
    path = tmp_path / "template.safetensors"
    keep_template(path, plain)
    whole = path.read_bytes()
    draw = np.random.default_rng(0)
    for cut in (0, 7, 8, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:cut])
        refused(path)
    for _ in range(100):
        broken = bytearray(whole)
        broken[draw.integers(2_000)] ^= 1 << draw.integers(8)
        path.write_bytes(broken)
        with suppress(HeadArtistError):
            assert load_kept(path).name


def test_a_damaged_template_stops_an_export_with_one_sentence(head: HeadFolder, capsys):
    head.template.write_bytes(head.template.read_bytes()[:-1])
    assert cli.run(["export", "head", "--formats", "glb"]) == 2
    told = capsys.readouterr().err
    assert "template.safetensors is damaged (" in told
    assert "bring it back, or remove it where the template's own file is still there." in told
