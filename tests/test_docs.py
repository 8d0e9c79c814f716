"""README and docs are held to what stands: links, names, file maps, and every command they show."""

import pkgutil
import re
import shlex
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from headartist import cli
from headartist.config.presets import EMBEDDED
from headartist.config.words.rewording import read
from headartist_foundry.__main__ import app as foundry

ROOT = Path(__file__).parents[1]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
TEXTS = {page.relative_to(ROOT).as_posix(): page.read_text(encoding="utf-8") for page in PAGES}


def found(pattern: str) -> list[tuple[str, str]]:
    """Every (page, match), once, for a pattern of one group."""
    return [(page, match) for page, text in TEXTS.items() for match in dict.fromkeys(re.findall(pattern, text))]


def commands() -> list[tuple[str, list[str]]]:
    """Every (page, words of one command line) of the code blocks marked bash."""
    return [
        (page, words)
        for page, block in found(r"(?s)```bash\n(.*?)```")
        for line in block.replace("\\\n", " ").splitlines()
        if (words := shlex.split(line, comments=True))
    ]


def command_id(value: object) -> str:
    return shlex.join(value) if isinstance(value, list) else str(value)


@pytest.mark.parametrize(("page", "link"), found(r"\]\((?!https?:|mailto:|#)([^)#\s]+)"))
def test_a_relative_link_leads_somewhere(page, link):
    assert ((ROOT / page).parent / link).exists()


@pytest.mark.parametrize(("page", "name"), found(r"`(headartist(?:_foundry)?(?:\.\w+)+)`"))
def test_a_dotted_name_exists(page, name):
    assert pkgutil.resolve_name(name) is not None


@pytest.mark.parametrize(("page", "file"), found(r"(?<![\w./-])((?:\w+/)*\w+\.py)\b"))
def test_a_source_file_that_is_named_exists(page, file):
    assert any((room / file).is_file() for room in (ROOT, ROOT / "src" / "headartist", ROOT / "examples"))


@pytest.mark.parametrize(
    ("page", "words"), [(page, words) for page, words in commands() if words[0] == "headartist"], ids=command_id
)
def test_a_command_of_the_docs_is_understood(page, words, monkeypatch: pytest.MonkeyPatch):
    """It is parsed and its settings are applied; only the work itself is left out."""
    asked = []
    made = SimpleNamespace(folder=Path("heads"), provenance={})
    monkeypatch.setattr(cli, "generate", lambda prompt, *_, **__: asked.append(prompt) or made)
    monkeypatch.setattr(cli, "generate_seeds", lambda prompt, *_, **__: asked.append(prompt) or made.folder)
    monkeypatch.setattr(cli, "edit_config", lambda *_, **__: replace(EMBEDDED, parent="0"))
    monkeypatch.setattr(cli, "edit", lambda head, *_, **__: asked.append(head) or made)
    monkeypatch.setattr(cli, "_opened", lambda head: nullcontext(asked.append(head)))
    monkeypatch.setattr(cli, "write_meshes", lambda *_: [])
    monkeypatch.setattr(cli, "view", lambda heads, **_: asked.extend(heads))
    monkeypatch.setattr(cli, "_doctor", lambda: cli.DONE)
    monkeypatch.setattr(cli, "write_video", lambda *_: "turntable.mp4")
    assert cli.run(words[1:]) == cli.DONE
    assert asked or words[1] in ("presets", "config", "doctor")


@pytest.mark.parametrize(
    ("page", "words"), [(page, words) for page, words in commands() if "headartist_foundry" in words], ids=command_id
)
def test_a_command_of_the_foundry_has_the_options_that_the_docs_give_it(page, words, capsys):
    command, *arguments = words[words.index("headartist_foundry") + 1 :]
    with pytest.raises(SystemExit) as ended:
        foundry.cli(prog="headartist_foundry", args=[command, "--help"])
    assert ended.value.code == 0
    known = set(re.findall(r"--[\w-]+", capsys.readouterr().out))
    assert {word for word in arguments if word.startswith("--")} <= known


@pytest.mark.parametrize(
    ("page", "words"), [(page, words) for page, words in commands() if words[0] == "make"], ids=command_id
)
def test_a_target_of_make_exists(page, words):
    targets = re.findall(r"(?m)^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"))
    asked = [word for word in words[1:] if "=" not in word]
    assert asked
    assert set(asked) <= set(targets)


def prompts() -> list[tuple[str, str]]:
    """Every (place, prompt or instruction) that is shown for the embedded prior."""
    shown = []
    for page, words in commands():
        others = {"--prior", "--preset", "--config"} & set(words)
        if words[:2] == ["headartist", "generate"] and not (others and words[-1] != "embedded"):
            shown.append((page, words[2]))
        elif words[:2] == ["headartist", "edit"]:
            shown.append((page, words[3]))
        elif words[0] == "make":
            shown += [(page, word.removeprefix("PROMPT=")) for word in words if word.startswith("PROMPT=")]
    scripts = [path for room in ("examples", "tools") for path in sorted((ROOT / room).glob("*.py"))]
    told = TEXTS | {path.name: path.read_text(encoding="utf-8") for path in [*scripts, ROOT / "Makefile"]}
    for place, text in told.items():
        shown += [(place, prompt) for prompt in re.findall(r'\bgenerate\(\s*"([^"]+)"|(?m:^PROMPT = "([^"]+)")', text)]
        shown += [(place, prompt) for prompt in re.findall(r"(?m)^PROMPT \?= (.+)$", text)]
    for path in sorted((ROOT / "src" / "headartist").rglob("*.py")):
        shown += [(path.name, prompt) for prompt in re.findall(r'as in "([^"=:]+)"', path.read_text(encoding="utf-8"))]
    lines = (ROOT / "examples" / "prompts.txt").read_text(encoding="utf-8").splitlines()
    return [*((place, "".join(prompt)) for place, prompt in shown), *(("prompts.txt", line) for line in lines)]


@pytest.mark.parametrize(("place", "prompt"), sorted(set(prompts())))
def test_the_embedded_prior_knows_every_word_of_a_prompt_that_is_shown(place, prompt):
    assert read(prompt).warning == ""


def test_prompts_are_shown_in_many_places():
    assert {"README.md", "docs/extend.md", "02_prompt_to_head.py", "edits.py", "Makefile", "arguments.py"} <= {
        place for place, _ in prompts()
    }


def test_the_docs_show_commands_of_both_doors():
    shown = {words[0] for _, words in commands()} | {words[2] for _, words in commands() if len(words) > 2}
    assert {"headartist", "headartist_foundry", "make"} <= shown
