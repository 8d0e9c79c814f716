"""A Head in the hands of people: exported, filmed, seen in a browser and in a notebook."""

import base64
import io
import webbrowser
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from headartist import Head, HeadArtistError, generate
from small_run import PROMPT, small_config


@pytest.fixture(scope="module")
def head(tiny_prior_folder, tmp_path_factory: pytest.TempPathFactory) -> Head:
    config = small_config(tiny_prior_folder("sd21"), steps=1)
    return generate(PROMPT, config, out=tmp_path_factory.mktemp("heads") / "head", progress=False)


def test_it_is_exported_with_its_own_settings_but_for_those_given(head: Head):
    assert [path.name for path in head.export(formats=("ply",))] == ["head.ply"]
    assert [path.name for path in head.export()] == ["head.glb"]
    with pytest.raises(HeadArtistError, match="texture_size"):
        head.export(texture_size=1)


def test_it_is_filmed(head: Head):
    assert head.video(views=2, size=16, progress=False) == head.folder / "turntable.mp4"
    assert (head.folder / "turntable.mp4").stat().st_size > 0


def test_it_is_seen_in_a_browser(head: Head, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", lambda address: opened.append(address) or True)
    assert head.view() == head.folder / "viewer.html"
    assert opened == [(head.folder / "viewer.html").as_uri()]
    assert head.view(out=str(tmp_path / "page.html"), show=False) == tmp_path / "page.html"
    assert len(opened) == 1


def test_a_notebook_shows_it_from_all_sides_with_its_prompt_and_no_network(head: Head):
    mean = replace(head, config=replace(head.config, prompt='<script>alert("x")</script>'))
    shown = mean._repr_html_()
    assert "<script" not in shown
    assert shown.count("&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt;") == 2
    assert "http" not in shown
    picture = shown.partition("data:image/png;base64,")[2].partition('"')[0]
    assert Image.open(io.BytesIO(base64.b64decode(picture))).size == (1024, 256)
