"""Finding, saving and loading priors, and what is said when that fails."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import DDIMScheduler
from safetensors.torch import load_file, save_file
from transformers import CLIPTokenizer

import tiny_diffusion
from headartist.errors import HeadArtistError
from headartist.priors import Conditions, PriorSource, StableDiffusionPrior, load_prior, resolve
from headartist.priors.layout import WEIGHTS, save_prior

COMMIT = "0123456789012345678901234567890123456789"


@pytest.fixture
def folder(tiny_prior_folder, tmp_path) -> Path:
    """A tiny prior that may be harmed."""
    return Path(shutil.copytree(tiny_prior_folder("sd21"), tmp_path / "prior"))


@pytest.fixture
def hub_cache(monkeypatch, tmp_path) -> Path:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def put_into_cache(cache: Path, repository: str, folder: Path, subfolder: str = "") -> None:
    """Lay a folder where the hub's client would have downloaded it."""
    place = cache / f"models--{repository.replace('/', '--')}"
    shutil.copytree(folder, place / "snapshots" / COMMIT / subfolder)
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text(COMMIT)


def predict(prior: StableDiffusionPrior) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    z_t = torch.randn(1, *prior.latent_shape, generator=generator)
    size = prior.landmark_size
    landmark_map = torch.rand(1, 3, size, size, generator=generator) if size else None
    view, negative = prior.embed(("a head, side view", "low quality"))[:, None]
    noise = prior.predict_noise(z_t, torch.tensor([300]), Conditions(view, negative, None, landmark_map))
    return torch.cat([noise.cond, noise.uncond])


def error_of(call) -> str:
    with pytest.raises(HeadArtistError) as caught:
        call()
    return str(caught.value)


# Saving and loading


@pytest.mark.parametrize("kind", tiny_diffusion.KINDS)
def test_a_saved_prior_predicts_what_the_live_one_did(kind, tmp_path):
    networks = tiny_diffusion.networks(kind, seed=7)
    tokens = tmp_path / "tokenizer"
    tiny_diffusion.write_tokenizer(tokens, tiny_diffusion.TOKENS[kind])
    files = {"tokenizer_folder": tokens, "scheduler_config": tiny_diffusion.CLOCKS[kind]}
    full = save_prior(tmp_path / "full", **networks, **files, dtype=torch.float32)
    half = save_prior(tmp_path / "half", **networks, **files)
    live = StableDiffusionPrior(
        **networks,
        tokenizer=CLIPTokenizer.from_pretrained(tokens),
        scheduler=DDIMScheduler(**tiny_diffusion.CLOCKS[kind]),
    )
    assert torch.equal(predict(load_prior(full, offline=True)), predict(live))
    torch.testing.assert_close(predict(load_prior(half, offline=True)), predict(live), rtol=0, atol=5e-3)


def test_the_saved_folder_is_the_portable_layout(tiny_prior_folder):
    folder = tiny_prior_folder("embedded")
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    networks = {f"{part}/{name}" for part in WEIGHTS for name in ("config.json", f"{WEIGHTS[part]}.safetensors")}
    tokenizer = {"vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json"}
    settings = {"model_index.json", "scheduler/scheduler_config.json"}
    assert files == networks | settings | {f"tokenizer/{name}" for name in tokenizer}
    weights = load_file(folder / "text_encoder" / "model.safetensors")
    assert all(name.startswith("text_model.") and not name.startswith("text_model.text_model.") for name in weights)
    assert {tensor.dtype for tensor in weights.values()} == {torch.float16}
    assert {path.stat().st_mode & 0o777 for path in folder.rglob("*") if path.is_file()} == {0o644}


def test_saving_over_a_folder_replaces_it_whole(tiny_prior_folder, tmp_path):
    target = tmp_path / "prior"
    target.mkdir()
    (target / "stale").touch()
    tiny_diffusion.build(target, "sd21")
    assert {path.name for path in tmp_path.iterdir()} == {"prior"}
    assert not (target / "stale").exists()
    assert torch.equal(predict(load_prior(target, offline=True)), predict(load_prior(tiny_prior_folder("sd21"))))


def test_a_failed_save_leaves_the_old_folder(folder, tmp_path):
    networks = tiny_diffusion.networks("sd21")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    message = error_of(lambda: save_prior(folder, **networks, tokenizer_folder=tmp_path, scheduler_config={}))
    assert message.startswith(f"tokenizer folder {tmp_path} has no vocab.json")
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert {path.name for path in tmp_path.iterdir()} == {"prior"}


def test_weights_that_half_precision_cannot_hold_are_refused(tmp_path):
    networks = tiny_diffusion.networks("sd21")
    torch.nn.init.constant_(networks["unet"].conv_in.bias, 1e6)
    message = error_of(lambda: save_prior(tmp_path / "p", **networks, tokenizer_folder=tmp_path, scheduler_config={}))
    assert message == "weight unet.conv_in.bias does not fit into torch.float16: save with dtype=torch.float32"


def test_the_dtype_can_be_chosen_and_predictions_stay_float32(folder):
    full, half = (load_prior(folder, dtype=dtype, offline=True) for dtype in (None, torch.bfloat16))
    assert predict(half).dtype == torch.float32
    torch.testing.assert_close(predict(half), predict(full), rtol=0, atol=0.1)
    assert not torch.equal(predict(half), predict(full))


def test_a_folder_of_half_precision_files_alone_is_read(folder):
    expected = predict(load_prior(folder, offline=True))
    for weights in folder.rglob("*.safetensors"):
        weights.rename(weights.with_suffix(".fp16.safetensors"))
    assert torch.equal(predict(load_prior(folder, offline=True)), expected)


# Sources


def test_landmarks_can_be_done_without_but_not_by_oversight(folder):
    shutil.rmtree(folder / "controlnet")
    assert error_of(lambda: load_prior(folder, offline=True)) == (
        f"prior folder {folder} has no controlnet/: give --controlnet DIR (such as "
        "CrucibleAI/ControlNetMediaPipeFace), or --controlnet none to judge without landmarks"
    )
    prior = load_prior(folder, controlnet="none", offline=True)
    assert prior.landmark_size == 0
    assert predict(prior).isfinite().all()
    view = prior.embed(("a head",))
    conditions = Conditions(view, view, None, torch.zeros(1, 3, 64, 64))
    z_t = torch.zeros(1, *prior.latent_shape)
    message = error_of(lambda: prior.predict_noise(z_t, torch.tensor([300]), conditions))
    assert message == "the prior has no ControlNet to show the landmark map to: load it with one"


def test_a_prior_with_landmarks_wants_them(tiny_prior_folder):
    prior = load_prior(tiny_prior_folder("sd21"), offline=True)
    view = prior.embed(("a head",))
    z_t = torch.zeros(1, *prior.latent_shape)
    conditions = Conditions(view, view, None, None)
    message = error_of(lambda: prior.predict_noise(z_t, torch.tensor([300]), conditions))
    assert message == "the prior wants a landmark map: give one, or load it with controlnet 'none'"


def test_a_controlnet_may_lie_elsewhere(folder, tmp_path):
    expected = predict(load_prior(folder, offline=True))
    shutil.move(folder / "controlnet", tmp_path / "elsewhere")
    assert torch.equal(predict(load_prior(folder, controlnet=tmp_path / "elsewhere", offline=True)), expected)


def test_names_ids_and_folders_resolve(folder):
    assert resolve("sd15").controlnet_subfolder == "diffusion_sd15"
    assert resolve("sd21").bases[0] == "stabilityai/stable-diffusion-2-1-base"
    assert resolve("some/model") == PriorSource("some/model", ("some/model",), "some/model", "controlnet")
    assert resolve("sd15", "some/controlnet/sub/folder").controlnet == "some/controlnet"
    assert resolve("sd15", "some/controlnet/sub/folder").controlnet_subfolder == "sub/folder"
    assert resolve("sd21", "none") == replace(resolve("sd21"), controlnet=None)
    assert resolve(folder) == PriorSource(str(folder), (str(folder),), str(folder), "controlnet")


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("sd12", "prior 'sd12' is no known name, no existing folder and no hub id owner/name: did you mean 'sd21'?"),
        (
            "./no/such",
            "prior './no/such' is no known name, no existing folder and no hub id owner/name: "
            "choose among embedded, sd21, sd15.",
        ),
    ],
)
def test_an_unknown_prior_is_named(word, message):
    assert error_of(lambda: resolve(word)) == message


@pytest.mark.parametrize("word", ["some/mo..del", "some/mo--del", "some/-model", "some/model.git", "../model"])
def test_an_id_that_the_hub_itself_would_refuse_is_named(word):
    assert error_of(lambda: resolve(word)).startswith(f"prior {word!r} is no known name, no existing folder and no hub")
    for place in (word, f"{word}/inner"):
        assert error_of(lambda place=place: resolve("sd21", place)).startswith(f"controlnet {place!r} is neither an")
    assert error_of(lambda: resolve("sd21", "some/model/../..")).startswith("controlnet 'some/model/../..' is neither")


def test_an_unknown_controlnet_is_named():
    assert error_of(lambda: resolve("sd21", "nowhere")) == (
        "controlnet 'nowhere' is neither an existing folder nor a hub id: "
        "give a folder, owner/name, owner/name/subfolder, or 'none'"
    )


# The hub


def test_a_mirror_in_the_cache_serves_where_the_original_is_gone(hub_cache, folder):
    put_into_cache(hub_cache, "Manojb/stable-diffusion-2-1-base", folder)
    put_into_cache(hub_cache, "CrucibleAI/ControlNetMediaPipeFace", folder / "controlnet")
    assert torch.equal(predict(load_prior("sd21", offline=True)), predict(load_prior(folder, offline=True)))


def test_sd15_takes_its_controlnet_from_the_subfolder(hub_cache, tiny_prior_folder):
    folder = tiny_prior_folder("sd15")
    put_into_cache(hub_cache, "stable-diffusion-v1-5/stable-diffusion-v1-5", folder)
    put_into_cache(hub_cache, "CrucibleAI/ControlNetMediaPipeFace", folder / "controlnet", "diffusion_sd15")
    assert torch.equal(predict(load_prior("sd15", offline=True)), predict(load_prior(folder, offline=True)))


@pytest.mark.parametrize(
    "lost", ["vae/diffusion_pytorch_model.safetensors", "tokenizer", "scheduler", "unet/config.json"]
)
def test_an_incomplete_cache_counts_as_none(hub_cache, folder, lost):
    shutil.rmtree(folder / lost) if (folder / lost).is_dir() else (folder / lost).unlink()
    put_into_cache(hub_cache, "some/model", folder)
    assert error_of(lambda: load_prior("some/model", offline=True)) == (
        "some/model is not in the local cache and no download was allowed: fetch it with `hf download some/model` "
        "where there is a network and run this command again, or give a folder with --prior DIR (which holds "
        "controlnet/, or add --controlnet DIR), or use --prior embedded"
    )


# Damage


def test_a_missing_part_is_named(folder):
    shutil.rmtree(folder / "vae")
    assert error_of(lambda: load_prior(folder)) == (
        f"{folder}/vae has no config.json: a prior folder wants vae/ in the diffusers layout"
    )


def test_missing_weights_are_named(folder):
    (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    assert error_of(lambda: load_prior(folder)) == (
        f"{folder}/unet has no diffusion_pytorch_model.safetensors: "
        "fetch it, or convert the weights you have to safetensors"
    )


@pytest.mark.parametrize("kept", [0, 5, 1000, -1])
def test_truncated_weights_are_named(folder, kept):
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:kept])
    message = error_of(lambda: load_prior(folder))
    assert message.startswith(f"{weights} is damaged or cut short (")
    assert message.endswith("): fetch that file again")


@pytest.mark.parametrize("part", ["unet", "controlnet", "vae", "text_encoder"])
def test_a_missing_key_is_refused(folder, part):
    """Libraries only warn of it, and go on with random numbers."""
    weights = folder / part / f"{WEIGHTS[part]}.safetensors"
    tensors = load_file(weights)
    lost = sorted(tensors)[0]
    del tensors[lost]
    save_file(tensors, weights, metadata={"format": "pt"})
    message = error_of(lambda: load_prior(folder))
    assert message.startswith(f"{folder / part} lacks 1 weights (first ")
    assert lost.removeprefix("text_model.") in message


def test_weights_of_another_shape_are_refused(folder):
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(weights)
    tensors["conv_in.bias"] = tensors["conv_in.bias"][:-1].clone()
    save_file(tensors, weights, metadata={"format": "pt"})
    message = error_of(lambda: load_prior(folder))
    assert message.startswith(f"{folder}/unet cannot be used as unet (")
    assert message.endswith("): fetch it again, or give another with --prior")
    assert "\n" not in message


def test_a_damaged_scheduler_is_named(folder):
    (folder / "scheduler" / "scheduler_config.json").write_text("{")
    message = error_of(lambda: load_prior(folder))
    assert message.startswith(f"{folder}/scheduler/scheduler_config.json cannot be read as JSON (")
    assert message.endswith("): fetch it again")


def test_a_prediction_type_that_is_not_understood_is_named(folder):
    path = folder / "scheduler" / "scheduler_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"prediction_type": "sample"}))
    assert error_of(lambda: load_prior(folder)) == (
        "prediction type 'sample' is not supported: use epsilon or v_prediction"
    )


def test_a_controlnet_of_another_model_is_refused(folder, tmp_path):
    networks = tiny_diffusion.networks("sd21")
    other = networks["controlnet"].__class__.from_config({**networks["controlnet"].config, "cross_attention_dim": 24})
    other.save_pretrained(tmp_path / "other")
    assert error_of(lambda: load_prior(folder, controlnet=tmp_path / "other")) == (
        f"the ControlNet in {tmp_path}/other reads 24 text features but the UNet in {folder}/unet has 16: "
        "use CrucibleAI/ControlNetMediaPipeFace with SD 2.1 and "
        "CrucibleAI/ControlNetMediaPipeFace/diffusion_sd15 with SD 1.5"
    )
