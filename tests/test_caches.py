"""Caches save time; where there is none, or one that cannot be used, the work is done all the same."""

import os
import re
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
import torch

from headartist.system import cache
from headartist.system import warp as launch
from headartist.system.files import ABANDONED_S

posix = pytest.mark.skipif(os.name == "nt", reason="the home folder is found in other ways there")


def test_without_a_home_nothing_is_remembered_and_nothing_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.chdir(tmp_path)
    for name in ("HEADARTIST_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    for count in (1, 2):
        made = {"one": torch.ones(count)}
        assert cache.cached("one", made.copy) == made
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("folder", ["file/cache", "file"])
def test_a_cache_that_cannot_be_written_costs_a_repetition(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
):
    (tmp_path / "file").write_text("mine")
    monkeypatch.setenv("HEADARTIST_CACHE", str(tmp_path / folder))
    assert cache.cached("one", lambda: {"one": torch.ones(3)})["one"].shape == (3,)
    assert (tmp_path / "file").read_text() == "mine"


def test_drafts_in_the_cache_are_swept_when_they_are_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HEADARTIST_CACHE", str(tmp_path))
    draft = tmp_path / f".headartist-{'1' * 16}.part.safetensors"
    draft.write_bytes(b"half")
    long_ago = time.time() - ABANDONED_S - 1
    os.utime(draft, (long_ago, long_ago))
    cache.cached("one", lambda: {"one": torch.ones(3)})
    assert [path.name for path in tmp_path.iterdir()] == ["one.safetensors"]


def test_half_built_kernels_of_ours_are_swept_when_they_are_old(tmp_path: Path):
    old = tmp_path / "wp_headartist.render.raster_kernels_6401053_p123_t140"
    kept = [
        tmp_path / name for name in ("wp_headartist.fields_1_p9_t1", "wp_other_1_p123_t140", "wp_headartist.fields_1")
    ]
    for folder in (old, *kept):
        folder.mkdir()
        (folder / "source.cpp").touch()
    long_ago = time.time() - ABANDONED_S - 1
    for folder in (old, *kept[1:]):
        os.utime(folder, (long_ago, long_ago))
    launch.sweep_half_built(tmp_path)
    assert set(tmp_path.iterdir()) == set(kept)
    launch.sweep_half_built(tmp_path / "nowhere")


@posix
@pytest.mark.parametrize("place", ["nowhere", "file"])
def test_kernels_run_where_their_cache_has_no_place(tmp_path: Path, place: str):
    code = """
    import sys, warnings
    from pathlib import Path
    import warp as wp
    from headartist.system import warp as launch
    if sys.argv[1] == "nowhere":
        def homeless():
            raise RuntimeError("Could not determine home directory.")
        Path.home = homeless
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        launch._start_warp()
    (words,) = {str(warning.message) for warning in told if "kernels" in str(warning.message)}
    print(words)
    print(Path(wp.config.kernel_cache_dir).is_dir())
    """
    (tmp_path / "file").write_text("mine")
    hidden = ("HOME", "XDG_CACHE_HOME", "WARP_CACHE_PATH")
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    if place == "file":
        environment["WARP_CACHE_PATH"] = str(tmp_path / "file")
    line = [sys.executable, "-c", textwrap.dedent(code), place]
    told = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    words, usable = told.stdout.splitlines()
    reason = "no home folder is known" if place == "nowhere" else ".*(Not a directory|File exists)"
    assert usable == "True"
    assert words.startswith("kernels are compiled anew for this run (")
    assert words.endswith("): name a folder to keep them in WARP_CACHE_PATH")
    assert re.search(reason, words)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
