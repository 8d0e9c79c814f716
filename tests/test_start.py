"""What a head starts from, as typed, and what a mistake in it is told."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from headartist import cli
from headartist.config.presets import EMBEDDED
from headartist.config.template import Identity, check_template, parse_expression, parse_identity, split_template
from headartist.config.text import differences, from_json, override, to_json
from headartist.system.errors import HeadArtistError


@pytest.mark.parametrize(
    ("text", "identity"),
    [
        ("", Identity()),
        ("seed:7", Identity(7)),
        ("0=1.5,3=-2", Identity(None, {0: 1.5, 3: -2.0})),
        (" seed:0 , 12 = 1e-1 ", Identity(0, {12: 0.1})),
        ("seed:7,wide=-1.5,0=1", Identity(7, {4: -1.5, 0: 1.0})),
        ("size=2,crown=-1", Identity(None, {0: -2.0, 7: 1.0})),
    ],
)
def test_an_identity_is_a_seed_and_directions(text, identity):
    assert parse_identity(text) == identity


@pytest.mark.parametrize(
    "text",
    [
        "7",
        "seed=7",
        "seed:-1",
        "seed:x",
        "seed:1,seed:2",
        "0=",
        "0=nan",
        "-1=2",
        "0=1,0=2",
        "0=1,",
        "wide=1,4=2",
        "wide",
        "wi de=2",
    ],
)
def test_any_other_identity_is_refused_with_an_example(text):
    with pytest.raises(HeadArtistError, match=r"write seed:7, or shape directions by number or name"):
        parse_identity(text)


@pytest.mark.parametrize(
    ("text", "template", "told"),
    [
        ("widr=1", "open", "Identity 'widr=1' names no shape direction: did you mean 'wide'?"),
        ("age=2", "open", "Identity 'age=2' names no shape direction: choose among size, heavy, wide, crown, chin."),
        (
            "0=1,chin=2",
            "flame.pkl",
            "Identity '0=1,chin=2' names a shape direction, 'chin', but only those of the open head have names: give "
            "numbers, as in 0=1.5.",
        ),
    ],
)
def test_a_name_that_the_template_does_not_know_is_told_when_a_config_is_made(text, template, told):
    with pytest.raises(HeadArtistError) as caught:
        replace(EMBEDDED, identity=text, template=template)
    assert str(caught.value) == told


@pytest.mark.parametrize("text", ["0=1e300", "seed:7,wide=-10.5", "12=11"])
def test_an_identity_that_nobody_has_is_refused_with_the_range(text):
    with pytest.raises(HeadArtistError, match=r"standard deviations off at .*: give -10 to 10; most people are within"):
        parse_identity(text)
    assert parse_identity("0=10,1=-10").coefficients == {0: 10.0, 1: -10.0}


@pytest.mark.parametrize("text", ["jawOpen=1e9", "jawOpen=0.5,browDownLeft=-11"])
def test_an_expression_beyond_reason_is_refused_with_the_range(text):
    with pytest.raises(HeadArtistError, match=r"has the weight .*: give -10 to 10; 1 is the whole expression"):
        parse_expression(text)


def test_an_expression_is_names_with_weights():
    assert parse_expression("") == {}
    assert parse_expression("jawOpen=0.6, mouthSmileLeft=-.5") == {"jawOpen": 0.6, "mouthSmileLeft": -0.5}


@pytest.mark.parametrize("text", ["jawOpen", "jawOpen=", "=1", "jawOpen=wide", "jawOpen=inf", "a=1,a=2", "a=1,,b=2"])
def test_any_other_expression_is_refused_with_an_example(text):
    with pytest.raises(HeadArtistError, match=r"write names with weights, each once, as in jawOpen=0\.6"):
        parse_expression(text)


def test_both_are_checked_when_a_config_is_made_and_kept_in_its_text():
    asked = override(EMBEDDED, ["identity=seed:7,0=1.5", "expression=jawOpen=0.6,mouthSmileLeft=0.5"])
    assert (asked.identity, asked.expression) == ("seed:7,0=1.5", "jawOpen=0.6,mouthSmileLeft=0.5")
    assert from_json(to_json(asked)) == asked
    assert differences(EMBEDDED, replace(asked, expression="")) == ["identity '' -> 'seed:7,0=1.5'"]
    for wrong in ({"identity": "x"}, {"expression": "x"}):
        with pytest.raises(HeadArtistError):
            replace(EMBEDDED, **wrong)


def test_options_of_the_command_line_end_up_in_the_config(monkeypatch: pytest.MonkeyPatch):
    asked = []
    made = SimpleNamespace(folder=Path("x"))
    monkeypatch.setattr(cli, "generate", lambda _, config, **__: asked.append(config) or made)
    line = ["generate", "a clown", "--template", "my/flame.pkl", "--identity", "seed:7", "--expression", "jawOpen=0.6"]
    assert cli.run(line) == cli.DONE
    assert (asked[0].template, asked[0].identity, asked[0].expression) == ("my/flame.pkl", "seed:7", "jawOpen=0.6")


def test_a_template_may_name_a_group_and_a_files_own_name_may_hold_the_sign(tmp_path):
    for name in ("body.obj", "take #2.obj"):
        (tmp_path / name).write_text("v 0 0 0\n", encoding="utf-8")
    body, take = tmp_path / "body.obj", tmp_path / "take #2.obj"
    assert split_template(body) == (body, "")
    assert split_template(f"{body}#head #1") == (body, "head #1")
    assert split_template(take) == (take, "")
    assert split_template(f"{take}#skin") == (take, "skin")
    assert split_template("no#where.obj#skin") == (Path("no#where.obj"), "skin")
    check_template(f"{take}#skin")
    (tmp_path / "flame.pkl").write_bytes(b"x")
    with pytest.raises(HeadArtistError, match="names a group, which only meshes have: leave #head out"):
        check_template(f"{tmp_path / 'flame.pkl'}#head")


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("opne", "'opne' is of no known kind: use 'open', or a file that ends in .pkl, .npz, .safetensors, .obj"),
        ("head.fbx", "'head.fbx' is of no known kind"),
        ("nowhere/flame.pkl", "'nowhere/flame.pkl' is not there: give the path of an existing file"),
        ("nowhere/body.obj#head", "'nowhere/body.obj' is not there"),
        ("folder.obj", "'folder.obj' is no plain file: give the path of a file, or 'open'"),
        ("a\0.obj", "holds characters that are no text (got 'a\\x00.obj'): leave them out"),
        ("a\udcff.obj", "holds characters that are no text (got 'a\\udcff.obj'): leave them out"),
        ("two\nlines.obj", "'two\\nlines.obj' has letters in its name that no text holds"),
    ],
)
def test_a_template_that_cannot_be_is_refused_before_any_work(template, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.obj").mkdir()
    with pytest.raises(HeadArtistError):
        check_template(template)
    assert cli.run(["generate", "a clown", "--template", template]) == cli.MISTAKE
    told = capsys.readouterr().err
    assert told.lower().startswith(f"headartist: template {words}".lower())
    assert told.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["folder.obj"]
