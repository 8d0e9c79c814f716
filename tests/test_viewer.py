"""The viewer page: whole in itself, deaf to what prompts say, and working in a real browser."""

import base64
import json
import os
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import expressive_glb
from headartist import cli
from headartist.config.presets import EMBEDDED
from headartist.heads.load import load_template
from headartist.system.errors import HeadArtistError
from headartist.training.folder import HeadFolder, open_folder
from headartist.viewer import page as viewer
from headartist.viewer.page import ViewedHead, page, read_head, view, write_viewer

WORKSHOP = Path(__file__).parents[1] / "tools" / "viewer"
CHROMIUM = os.environ.get("CHROMIUM")
LARGEST_PAGE = 800_000
LINKS = {"src", "href", "action", "formaction", "data", "poster", "srcset", "ping", "manifest", "background"}

HOSTILE = ["</script><script>alert(1)</script>", "<!--<script>", "<!-- heads -->", "]]>", "\ud800", "a\udfff"]

needs_node = pytest.mark.skipif(not shutil.which("node"), reason="node is not installed")
needs_node_modules = pytest.mark.skipif(
    not ((WORKSHOP / "node_modules").is_dir() and shutil.which("node")), reason="`npm ci` has not run in tools/viewer"
)
# Drawing in software takes a minute or more of a busy machine: only who names a browser waits for it.
needs_browser = pytest.mark.skipif(not CHROMIUM, reason="no browser is named: `make viewer` does, by CHROMIUM=PATH")


class _Page(HTMLParser):
    """What a browser sees of a page: its tags with their attributes, and the text of each data block."""

    def __init__(self, text: str):
        super().__init__()
        self.tags, self.blocks, self._open = [], {}, None
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._open = dict(attrs).get("id") if tag == "script" else None
        if self._open is not None:
            self.blocks[self._open] = ""

    def handle_endtag(self, _tag):
        self._open = None

    def handle_data(self, data):
        if self._open is not None:
            self.blocks[self._open] += data


def glb(asset: object, **parts: object) -> bytes:
    model = expressive_glb.balls([])
    model.document |= {"asset": asset, **parts}
    return model.glb()


PLAIN = ViewedHead(glb({"version": "2.0"}), "plain")


@pytest.fixture
def head_folder(tmp_path: Path) -> HeadFolder:
    folder = HeadFolder(tmp_path / "clown-3")
    open_folder(folder, replace(EMBEDDED, prompt="a clown", seed=3))
    folder.glb.write_bytes(glb({"version": "2.0", "extras": {"prompt": "a clown", "seed": 3, "headartist": "1.2"}}))
    folder.write_provenance({"prompt": "a clown", "seed": 3, "prior": {"model": "sd21"}})
    return folder


@settings(max_examples=40)
@given(prompt=st.text() | st.sampled_from(HOSTILE))
def test_no_prompt_changes_the_page(prompt: str):
    """The page of any prompt has the tags of the page of none, and says the prompt to the letter."""
    seen, plain = _Page(page([replace(PLAIN, prompt=prompt, name=prompt)])), _Page(page([PLAIN]))
    assert seen.tags == plain.tags
    (about,) = json.loads(seen.blocks["heads"])
    assert about["prompt"] == about["name"] == prompt


@settings(max_examples=40)
@given(models=st.lists(st.binary(max_size=200), min_size=1, max_size=4), seed=st.none() | st.integers(0, 2**63))
def test_models_and_seeds_come_back_bit_for_bit(models: list[bytes], seed: int | None):
    blocks = _Page(page([ViewedHead(model, "head", seed=seed) for model in models])).blocks
    assert [base64.b64decode(blocks[f"head-{k}"]) for k in range(len(models))] == models
    assert {about["seed"] for about in json.loads(blocks["heads"])} == {None if seed is None else str(seed)}


def test_the_page_asks_the_network_for_nothing():
    seen = _Page(page([PLAIN]))
    links = {value for _, attributes in seen.tags for name, value in attributes.items() if name in LINKS}
    assert {link for link in links if not link.startswith(("#", "data:"))} == set()
    (policy,) = [tag["content"] for _, tag in seen.tags if tag.get("http-equiv") == "Content-Security-Policy"]
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules.pop("default-src") == "'none'"
    sources = {source.split("-")[0] for rule in rules.values() for source in rule.split()}
    assert sources == {"'sha256", "'wasm", "blob:", "data:", "'none'"}


def test_the_page_is_small_and_names_what_it_contains():
    text = page([PLAIN])
    assert len(text.encode()) <= LARGEST_PAGE
    assert "three.js authors" in text
    assert "meshoptimizer (Copyright © 2016-2026 Arseny Kapoulkine)" in text
    assert "Permission is hereby granted, free of charge" in text


def test_a_head_folder_tells_where_its_head_comes_from(head_folder: HeadFolder):
    head = read_head(head_folder.path)
    assert head.glb == head_folder.glb.read_bytes()
    assert (head.name, head.prompt, head.seed, head.version, head.prior) == ("clown-3", "a clown", 3, "1.2", "sd21")


def test_a_glb_of_others_is_shown_with_what_it_says(tmp_path: Path):
    path = tmp_path / "Strange Head.GLB"
    path.write_bytes(glb({"version": "2.0", "copyright": "CC0", "extras": ["no", "mapping"]}))
    assert read_head(path) == ViewedHead(path.read_bytes(), "Strange Head", licence="CC0")


def test_the_viewer_lies_beside_the_first_head_and_replaces_the_last(head_folder: HeadFolder, tmp_path: Path):
    lone = tmp_path / "lone.glb"
    lone.write_bytes(PLAIN.glb)
    assert view([head_folder.path, lone]) == head_folder.viewer
    assert view([lone]) == tmp_path / "lone.html"
    assert view([lone, lone], out=head_folder.viewer) == head_folder.viewer
    assert head_folder.viewer.read_text(encoding="utf-8") == page([read_head(lone)] * 2)
    open_folder(head_folder, EMBEDDED, overwrite=True)
    assert not head_folder.viewer.exists()


def test_the_page_is_opened_when_asked_and_a_missing_browser_is_a_warning(tmp_path: Path, monkeypatch):
    lone, shown = tmp_path / "lone.glb", []
    lone.write_bytes(PLAIN.glb)
    monkeypatch.setattr(viewer.webbrowser, "open", lambda url: shown.append(url) or len(shown) == 1)
    view([lone], show=True)
    with pytest.warns(UserWarning, match="no browser was found"):
        view([lone], show=True)
    assert shown == [(tmp_path / "lone.html").as_uri()] * 2


def _refer(link: str) -> bytes:
    return glb({"version": "2.0"}, images=[{"uri": "data:,"}, {"uri": link}])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "damaged or not a GLB"),
        (b"solid stl", "damaged or not a GLB"),
        (PLAIN.glb[:-1], "damaged or not a GLB"),
        (glb([]), "damaged or not a GLB"),
        (glb({}, buffers=7), "damaged or not a GLB"),
        (expressive_glb.container([]), "damaged or not a GLB"),
        (_refer("skin%20a.png"), "another file, 'skin a.png'"),
        (_refer("https://example.org/a.png"), "another file, 'https://example.org/a.png'"),
    ],
)
def test_a_file_that_cannot_be_shown_is_told_and_nothing_is_written(tmp_path: Path, content: bytes, words: str):
    path = tmp_path / "head.glb"
    path.write_bytes(content)
    with pytest.raises(HeadArtistError, match=words):
        view([path])
    assert list(tmp_path.iterdir()) == [path]


def test_a_head_that_is_not_there_is_told_with_the_next_step(tmp_path: Path, head_folder: HeadFolder):
    head_folder.glb.unlink()
    (tmp_path / "head.obj").write_text("")
    for path, words in {
        head_folder.path: "headartist export",
        tmp_path: "is not a Head folder",
        tmp_path / "nowhere": "neither a Head folder nor a .glb file",
        tmp_path / "head.obj": "neither a Head folder nor a .glb file",
    }.items():
        with pytest.raises(HeadArtistError, match=words):
            read_head(path)
    with pytest.raises(HeadArtistError, match="0 heads"):
        view([])
    with pytest.raises(HeadArtistError, match=r"is a folder: name a file in it, such as .*viewer\.html"):
        write_viewer(tmp_path, [PLAIN])


def _node(*arguments: str | Path) -> str:
    ended = subprocess.run(["node", *arguments], cwd=WORKSHOP, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


ARKIT = list(load_template("open").expression_names)
SIDE = re.compile("(Left|Right)$")
SPELLINGS = {
    "as it is": lambda name: name,
    "lower case": str.lower,
    "capital": lambda name: name[0].upper() + name[1:],
    "_L": lambda name: SIDE.sub(lambda side: "_" + side[0][0], name),
    ".L": lambda name: SIDE.sub(lambda side: "." + side[0][0], name),
    "_l": lambda name: SIDE.sub(lambda side: "_" + side[0][0].lower(), name),
    "L": lambda name: SIDE.sub(lambda side: side[0][0], name),
    "_Left": lambda name: SIDE.sub(r"_\1", name),
    "in words": lambda name: re.sub("([A-Z])", r"_\1", name).title(),
    "of a node": lambda name: f"blendShape1.{name}",
    "of a mesh": lambda name: f"Head_{name}",
    "of a mesh, _L": lambda name: "Wolf3D_Head:" + SIDE.sub(lambda side: "_" + side[0][0], name),
}
OTHERS = [
    "viseme_aa",
    "viseme_PP",
    "viseme_L",
    "viseme_jawOpen",
    "Head.viseme_sil",
    "mouthOpen",
    "eyesClosed",
    "Fcl_EYE_Close_L",
    "jawOpen_mouthClose",
    "jawOpen_x_mouthClose",
    "browInnerUp_L",
    "Brow_Drop_L",
    "A",
    "0",
    "L",
    "__proto__",
    "constructor",
]


def _expressions(code: str, *values: object) -> object:
    """What some code says of `values`, given what expressions.js exports."""
    program = f"""import * as module from {json.dumps((WORKSHOP / "src/expressions.js").as_uri())};
        const {{ shapeNames, grouped, poseWeights, readyFaces, partner }} = module;
        const values = JSON.parse(process.argv[1]);
        console.log(JSON.stringify({code}));"""
    return json.loads(_node("--input-type=module", "-e", program, json.dumps(values)))


@needs_node
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_each_spelling_of_an_arkit_shape_is_that_shape(spelling: str):
    assert len(ARKIT) == 52
    spelled = [SPELLINGS[spelling](name) for name in ARKIT]
    assert _expressions("shapeNames(values, values.length)", *spelled) == ARKIT


@needs_node
def test_names_that_are_no_arkit_shapes_stay_as_they_are():
    assert _expressions("shapeNames(values, values.length)", *OTHERS) == OTHERS


@needs_node
@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ([], ["shape 1", "shape 2"]),
        (["", "  ", None, 7, {}], ["shape 1", "shape 2", "shape 3", "shape 4", "shape 5"]),
        (["smile"], ["smile", "shape 2"]),
        (["a", "a", "a"], ["a", "a (2)", "a (3)"]),
        (["eyeBlink_L", "eyeBlinkLeft"], ["eyeBlink_L", "eyeBlinkLeft"]),
        (["jaw_open", "JawOpen"], ["jawOpen", "JawOpen"]),
        (["jawOpen", "jawOpen"], ["jawOpen", "jawOpen (2)"]),
    ],
)
def test_shapes_without_names_have_numbers_and_no_two_are_one(given: list[object], shown: list[str]):
    assert _expressions(f"shapeNames(values, {len(shown)})", *given) == shown


@needs_node
@settings(max_examples=5, deadline=None)
@given(lists=st.lists(st.lists(st.text(max_size=9) | st.sampled_from(ARKIT) | st.none(), max_size=9), max_size=50))
def test_any_names_are_told_apart_grouped_once_and_posed_with_numbers(lists: list[list[str | None]]):
    code = """values.map((given) => {
        const names = shapeNames(given, given.length);
        const cells = grouped(names).flatMap(({ rows }) => rows.flatMap(({ cells }) => cells.map(({ name }) => name)));
        return [names, cells, [...poseWeights("Smile", names).values()]];
    })"""
    for given_names, (names, cells, weights) in zip(lists, _expressions(code, *lists), strict=True):
        assert len(set(names)) == len(given_names)
        assert sorted(cells) == sorted(names)
        assert all(isinstance(weight, int | float) for weight in weights)


@needs_node
def test_a_face_moves_one_shape_for_both_sides_or_one_for_each():
    both = _expressions("[...poseWeights('Smile', values)]", "mouthSmile", "mouthSmileLeft", "mouthSmileRight")
    assert both == [["mouthSmile", 0], ["mouthSmileLeft", 0.85], ["mouthSmileRight", 0.85]]
    assert _expressions("[...poseWeights('Smile', values)]", "mouthSmile") == [["mouthSmile", 0.85]]


@needs_node_modules
def test_the_shipped_page_is_what_its_source_makes():
    _node("build.js", "--check")


@needs_node_modules
@needs_browser
def test_a_browser_shows_moves_and_saves_heads(tmp_path: Path):
    """Opened from disk without a network: every control changes the picture, and the console stays silent."""
    model = expressive_glb.write(tmp_path / "open.glb", prompt="</script><b>a head</b>")
    path = view([model])
    measured = json.loads(_node("test.js", path, "1"))
    assert base64.b64decode(measured["glb_base64"]) == model.read_bytes()


def test_a_page_takes_no_other_files_name(head_folder: HeadFolder, capsys):
    mesh = head_folder.glb.read_bytes()
    for name in (head_folder.glb, Path("/dev/full"), head_folder.path / "page"):
        assert cli.run(["view", str(head_folder.path), "--out", str(name)]) == 2
        told = f"headartist: The page {name} must end in .html: rename it, or another file may be lost.\n"
        assert capsys.readouterr().err == told
    assert head_folder.glb.read_bytes() == mesh
    assert cli.run(["view", str(head_folder.path), "--out", str(head_folder.path / "PAGE.HTM")]) == 0


def test_a_page_that_the_user_wrote_stays_where_no_other_is_named(tmp_path: Path, head_folder: HeadFolder):
    glb = tmp_path / "mine.glb"
    glb.write_bytes(head_folder.glb.read_bytes())
    for source, place in ((glb, tmp_path / "mine.html"), (head_folder.path, head_folder.viewer)):
        place.write_text("<p>my own words")
        with pytest.raises(HeadArtistError, match=re.escape(f"{place} is there and no page of headartist")):
            view([source])
        assert place.read_text() == "<p>my own words"
        assert view([source], out=place) == place
        assert view([source]) == place


def test_a_page_in_a_head_folder_is_the_heads_own(head_folder: HeadFolder):
    assert view([head_folder.path]) == head_folder.viewer
    assert head_folder.read_provenance()["files"] == [head_folder.viewer.name]
