"""From a prompt to a Head folder, with tiny random priors of every shape."""

import json
import os
import re
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import trimesh
from safetensors import safe_open
from safetensors.torch import save_file

from headartist import HeadArtistError, generate, load_head, presets
from headartist.config.config import Run
from headartist.config.exports import Exports
from headartist.config.prompts import PromptWarning
from headartist.export import video
from headartist.runs.generation import _device
from headartist.runs.head import Head
from headartist.training.folder import HeadFolder
from small_run import PROMPT, small_config
from toys import ToyPrior

PriorFolder = Callable[[str], Path]


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory, tiny_prior_folder: PriorFolder) -> Head:
    """A finished small head, with a preview along the way."""
    config = small_config(tiny_prior_folder("sd21"))
    config = replace(config, run=replace(config.run, preview_every=4))
    return generate(PROMPT, config, out=tmp_path_factory.mktemp("heads") / "head", progress=False)


def _equal(left: Head, right: Head) -> bool:
    weights, others = left.avatar.state_dict(), right.avatar.state_dict()
    return weights.keys() == others.keys() and all(torch.equal(weights[name], others[name]) for name in weights)


def test_a_prompt_becomes_a_head_folder(head: Head):
    names = {path.name for path in head.folder.iterdir()}
    assert names == {
        "checkpoint",
        "config.json",
        "contact.png",
        "head.glb",
        "head.safetensors",
        "metrics.jsonl",
        "previews",
        "provenance.json",
    }
    assert sorted(path.name for path in (head.folder / "previews").iterdir()) == [
        "0-geometry-00004.png",
        "1-texture-00004.png",
    ]
    assert len(trimesh.load(head.folder / "head.glb").geometry) == 1


@pytest.mark.parametrize("kind", ["sd15", "embedded"])
def test_priors_of_other_shapes_do_as_well(tmp_path: Path, tiny_prior_folder: PriorFolder, kind: str):
    generate(PROMPT, small_config(tiny_prior_folder(kind), steps=2), out=tmp_path / "head", progress=False)
    assert len(trimesh.load(tmp_path / "head" / "head.glb").geometry) == 1


def test_provenance_says_how_to_make_the_head_again(head: Head):
    record = json.loads((head.folder / "provenance.json").read_text())
    assert record == head.provenance
    assert record["prompt"] == PROMPT
    assert record["seed"] == 0
    assert record["device"] == "cpu"
    assert record["torch"] == torch.__version__
    assert set(record["prior"]["sha256"]) == {"unet", "vae", "text_encoder", "controlnet"}
    assert all(len(digest) == 64 for digest in record["prior"]["sha256"].values())
    assert record["seconds"] > 0


def test_a_head_read_back_is_the_head_that_was_made(head: Head):
    again = load_head(head.folder)
    assert _equal(again, head)
    assert again.config == head.config
    assert again.config.prompt == PROMPT


def test_the_same_seed_gives_the_same_head_and_previews_change_nothing(
    tmp_path: Path, tiny_prior_folder: PriorFolder, head: Head
):
    without_previews = small_config(tiny_prior_folder("sd21"))
    assert _equal(generate(PROMPT, without_previews, out=tmp_path / "same", progress=False), head)
    other = replace(without_previews, seed=1)
    assert not _equal(generate(PROMPT, other, out=tmp_path / "other", progress=False), head)


def test_the_texture_stage_leaves_the_shape_as_the_geometry_stage_made_it(
    tmp_path: Path, tiny_prior_folder: PriorFolder, head: Head
):
    config = small_config(tiny_prior_folder("sd21"))
    only_geometry = generate(PROMPT, replace(config, stages=config.stages[:1]), out=tmp_path / "head", progress=False)
    assert torch.equal(only_geometry.avatar.to_mesh().verts, head.avatar.to_mesh().verts)
    assert torch.equal(only_geometry.avatar.to_mesh().faces, head.avatar.to_mesh().faces)


def test_a_finished_head_is_only_exported_again(head: Head):
    metrics = (head.folder / "metrics.jsonl").read_bytes()
    more = replace(head.config, exports=Exports(formats=("ply",), video_views=2, video_size=32))
    again = generate(PROMPT, more, out=head.folder, progress=False)
    assert (head.folder / "metrics.jsonl").read_bytes() == metrics
    assert (head.folder / "head.ply").exists()
    assert (head.folder / "turntable.mp4").exists()
    assert _equal(again, head)


def test_a_prior_may_be_passed_as_an_object(tmp_path: Path, tiny_prior_folder: PriorFolder, head: Head):
    from headartist.priors import load_prior

    prior = load_prior(tiny_prior_folder("sd21"))
    config = replace(head.config, prior=presets.EMBEDDED.prior)
    assert _equal(generate(PROMPT, config, prior=prior, out=tmp_path / "head", progress=False), head)
    # and used again, for words it has not seen
    untrained = replace(config, stages=(replace(config.stages[0], steps=1),))
    generate("a clown", untrained, prior=prior, out=tmp_path / "clown", progress=False)


DENYING = "a head of a bearded woman called Zork without glasses"


@pytest.mark.parametrize(
    ("name", "told", "warned"),
    [
        ("embedded", "a head of a woman called Zork with a beard", 1),
        ("sd21", DENYING, 0),
        ("some/folder", DENYING, 0),
    ],
)
def test_the_embedded_prior_alone_is_told_what_a_prompt_means(tmp_path: Path, name: str, told: str, warned: int):
    prior = ToyPrior()
    prior.name = name
    config = replace(small_config(tmp_path, steps=1), prior=presets.EMBEDDED.prior)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        made = generate(DENYING, config, prior=prior, out=tmp_path / "head", progress=False)
    plain = {text for text in prior.texts if text and not text.endswith(" view")}
    assert plain == {told, told.replace("a head of", "a normal map of")}
    assert all("Zork" in text for text in prior.texts if text)
    assert made.config.prompt == made.provenance["prompt"] == DENYING
    assert made.provenance.get("reworded_prompt", DENYING) == told
    assert [str(each.message) for each in caught if each.category is PromptWarning] == [
        "the embedded prior reads 'bearded' as 'with a beard'; and it does not know 'called', 'Zork'; it was taught no "
        "names, professions or other languages: describe the face by age, sex, origin, build, skin, hair, beard, "
        "glasses, hat, paint, expression or material"
    ][:warned]


def test_a_prior_knows_the_name_it_was_loaded_by(tiny_prior_folder: PriorFolder):
    from headartist.priors import load_prior

    folder = tiny_prior_folder("embedded")
    assert load_prior(folder).name == str(folder)
    assert load_prior("embedded").name == "embedded"


def test_a_run_that_cannot_start_leaves_nothing_behind(tmp_path: Path, tiny_prior_folder: PriorFolder):
    config = replace(small_config(tiny_prior_folder("sd21")), template="closed")
    with pytest.raises(HeadArtistError, match="closed"):
        generate(PROMPT, config, out=tmp_path / "head", progress=False)
    assert not (tmp_path / "head").exists()


def test_importing_the_package_does_not_import_torch():
    code = "import sys, headartist, headartist.cli; sys.exit('torch' in sys.modules or 'warp' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_function_generate_is_never_hidden_by_its_module():
    code = "import headartist.runs.generation; from headartist import generate; assert callable(generate)"
    subprocess.run([sys.executable, "-c", code], check=True)


class _Elsewhere(ToyPrior):
    alpha_bar = ToyPrior.alpha_bar.to("meta")


def test_a_run_goes_where_the_prior_it_was_given_lives(tmp_path: Path):
    assert _device("auto", _Elsewhere()) == torch.device("meta")
    assert _device("auto", ToyPrior()) == _device("cpu", ToyPrior()) == torch.device("cpu")
    config = replace(presets.SMOKE, run=Run(device="cuda:3"))
    with pytest.raises(HeadArtistError) as caught:
        generate(PROMPT, config, prior=ToyPrior(), out=tmp_path / "head", progress=False)
    assert str(caught.value) == "The prior lives on cpu, not on cuda:3: load it there, or use run.device=auto."
    assert list(tmp_path.iterdir()) == []


def test_a_head_is_made_where_it_lives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    class Stop(Exception):
        pass

    def make(*_: object, device: object = None, **__: object) -> None:
        raise Stop(device)

    monkeypatch.setattr("headartist.avatars.build.begin_avatar", make)
    with pytest.raises(Stop) as stopped:
        generate(PROMPT, replace(presets.SMOKE, run=Run(device="cpu")), prior=ToyPrior(), out=tmp_path / "head")
    assert stopped.value.args == (torch.device("cpu"),)


def test_a_film_that_cannot_be_made_is_found_out_before_the_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(HeadArtistError, match="Videos need ffmpeg"):
        generate(PROMPT, presets.QUICK, prior=ToyPrior(), out=tmp_path / "head", progress=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="makes shell scripts")
@pytest.mark.parametrize(
    "script", [None, "exit 0", "echo ffmpeg version 7; exit 1", "sleep 60", "echo libx264"], ids=str
)
def test_an_encoder_that_does_not_encode_is_found_out_before_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str | None
):
    encoder = tmp_path / "ffmpeg"
    if script is not None:
        encoder.write_text(f"#!/bin/sh\n{script}\n")
        encoder.chmod(0o755)
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(encoder))
    monkeypatch.setattr(video, "ANSWER_S", 0.5)
    if script == "echo libx264":
        assert video.find_ffmpeg() == str(encoder)
        return
    with pytest.raises(HeadArtistError, match=rf"{encoder} is no ffmpeg that runs here") as caught:
        generate(PROMPT, presets.QUICK, prior=ToyPrior(), out=tmp_path / "head", progress=False)
    assert str(caught.value).count(". ") == 0
    assert not (tmp_path / "head").exists()


def test_what_was_written_is_noted_as_the_heads_own(head: Head):
    assert set(head.provenance["files"]) >= {"head.glb"}
    assert all((head.folder / name).exists() for name in head.provenance["files"])


def test_another_prior_does_not_go_on_with_a_head_that_was_begun(tmp_path: Path, tiny_prior_folder: PriorFolder):
    """The same path may hold other weights by now."""
    folder, prior = HeadFolder(tmp_path / "head"), tmp_path / "prior"
    shutil.copytree(tiny_prior_folder("sd21"), prior)
    config = small_config(prior, steps=2)
    first = generate(PROMPT, config, out=folder.path, progress=False).provenance
    unfinished = {"progress": json.dumps({"stage": 1, "step": 0, "seconds": 0.0})}
    with safe_open(folder.weights, framework="pt") as file:
        weights = {f"avatar.{name}": file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    weights["generator"] = torch.Generator().get_state()

    save_file(weights, folder.checkpoint, unfinished)
    folder.write_provenance({**first, "started": "long ago"})
    assert generate(PROMPT, config, out=folder.path, progress=False).provenance["started"] == "long ago"

    save_file(weights, folder.checkpoint, unfinished)
    bias = prior / "vae" / "diffusion_pytorch_model.safetensors"
    content = bytearray(bias.read_bytes())
    content[-1] ^= 1
    bias.write_bytes(content)
    with pytest.raises(HeadArtistError) as caught:
        generate(PROMPT, config, out=folder.path, progress=False)
    assert str(caught.value) == (
        f"{folder.path} was begun with another prior (other weights in vae): use --overwrite to start again, "
        "another --out, or bring that prior back."
    )
    with pytest.raises(HeadArtistError, match=re.escape(f"another prior ({prior} -> ToyPrior): use --overwrite")):
        generate(PROMPT, config, prior=ToyPrior(), out=folder.path, progress=False)
    again = generate(PROMPT, config, out=folder.path, overwrite=True, progress=False).provenance
    assert again["prior"]["sha256"]["vae"] != first["prior"]["sha256"]["vae"]
    assert again["started"] != "long ago"
