"""Finding, saving and loading priors, and what is said when that fails."""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import DDIMScheduler
from safetensors.torch import load_file, save_file
from transformers import CLIPTokenizer

import tiny_diffusion
from headartist.priors import PriorSource, Query, StableDiffusionPrior, load_prior, resolve
from headartist.priors.files.layout import WEIGHTS, save_prior
from headartist.system.errors import HeadArtistError

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
    queries = [Query(view, landmark_map), Query(negative, landmark_map)]
    return torch.cat(prior.predict_noise(z_t, torch.tensor([300]), queries))


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
    query = Query(prior.embed(("a head",)), torch.zeros(1, 3, 64, 64))
    z_t = torch.zeros(1, *prior.latent_shape)
    message = error_of(lambda: prior.predict_noise(z_t, torch.tensor([300]), [query]))
    assert message == "the prior has no ControlNet to show the landmark map to: load it with one"


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


@pytest.mark.parametrize(
    "word",
    ["", "~no-such-user", "~no-such-user/model", "some/mo\udcff", "\ud800", "a\0b", "x" * 5000, "x" * 500 + "/y"],
)
def test_a_word_that_can_be_no_folder_is_named(word):
    for message in (error_of(lambda: resolve(word)), error_of(lambda: resolve("sd21", word))):
        assert repr(word)[:50] in message
        assert len(message.encode()) < 500


@pytest.mark.parametrize("inner", ["\udcff", "*", "a//b", "../c", "a\\b", "a b", "x" * 100])
def test_a_subfolder_that_can_be_none_is_named(inner):
    message = error_of(lambda: resolve("sd21", f"some/model/{inner}"))
    assert message.startswith(f"controlnet {f'some/model/{inner}'!r} is neither an existing folder nor a hub id")


def test_a_home_that_is_not_known_is_no_traceback(monkeypatch):
    def no_home(_path: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", no_home)
    assert error_of(lambda: resolve("~/model")).startswith("prior '~/model' is no known name, no existing folder")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", "~/.cache/huggingface/hub")
    assert error_of(lambda: load_prior("some/model", controlnet="none")) == (
        "there is no home folder to keep a download in: set HF_HOME to a folder of yours"
    )


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


def change(file: Path, **settings: object) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | settings))


@pytest.mark.parametrize("name", ["vocab.json", "merges.txt"])
def test_a_tokenizer_without_its_words_is_refused(folder, name):
    """Libraries make up an empty one, and read every prompt as the same."""
    (folder / "tokenizer" / name).unlink()
    assert error_of(lambda: load_prior(folder)) == f"{folder}/tokenizer/{name} is missing: fetch it again"


@pytest.mark.parametrize("name", ["vocab.json", "tokenizer_config.json"])
@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"7", b"\xff\xfe", b"[" * 100_000])
def test_tokenizer_settings_that_are_no_json_object_are_named(folder, name, content):
    (folder / "tokenizer" / name).write_bytes(content)
    message = error_of(lambda: load_prior(folder))
    assert message.startswith((f"{folder}/tokenizer/{name} cannot be read as", f"{folder}/tokenizer/{name} holds a "))
    assert message.endswith(": fetch it again")


@pytest.mark.parametrize("words", [{}, {"a": "b"}, {"a": -1}, {"a": 1e30}, {"a": 10_000}, {"a": True}])
def test_words_whose_numbers_the_text_encoder_does_not_know_are_refused(folder, words):
    (folder / "tokenizer" / "vocab.json").write_text(json.dumps(words))
    message = error_of(lambda: load_prior(folder))
    assert message.startswith(f"{folder}/tokenizer/vocab.json does not give tokens numbers below ")


@pytest.mark.parametrize("content", [b"", b"a b c\n", b"qq ww\n", b"\xff\x00", None])
def test_rules_of_spelling_that_do_not_fit_the_words_are_refused(folder, content):
    merges = folder / "tokenizer" / "merges.txt"
    merges.write_bytes(merges.read_bytes()[:300] if content is None else content)
    message = error_of(lambda: load_prior(folder))
    assert message.startswith(f"{merges} ")
    assert message.endswith((": fetch it again", ": fetch both again"))


@pytest.mark.parametrize("limit", [0, -1, 2, "77", True, [], float("nan")])
def test_a_text_length_that_is_none_is_refused(folder, limit):
    change(folder / "tokenizer" / "tokenizer_config.json", model_max_length=limit)
    assert error_of(lambda: load_prior(folder)) == (
        f"{folder}/tokenizer/tokenizer_config.json has model_max_length {limit!r}, which is no number of tokens: fetch "
        "it again"
    )


@pytest.mark.parametrize("limit", [1e30, 10**30, 1000, None])
def test_no_more_text_is_read_than_the_text_encoder_can(folder, limit):
    expected = load_prior(folder).embed(("a head with a hat",))
    change(folder / "tokenizer" / "tokenizer_config.json", model_max_length=limit)
    assert torch.equal(load_prior(folder).embed(("a head with a hat",)), expected)


@pytest.mark.parametrize("steps", [0, -1, "1000", None, 5.5, True, 10**12])
def test_a_clock_without_steps_is_refused(folder, steps):
    change(folder / "scheduler" / "scheduler_config.json", num_train_timesteps=steps)
    assert error_of(lambda: load_prior(folder)).startswith(
        f"{folder}/scheduler/scheduler_config.json has num_train_timesteps {steps!r}, which is no number from 1 to "
    )


@pytest.mark.parametrize(
    "settings",
    [
        {"beta_start": float("nan")},
        {"beta_start": "x"},
        {"beta_end": -1},
        {"beta_schedule": "none"},
        {"trained_betas": [2.0] * 9},
        {"trained_betas": []},
    ],
)
def test_a_clock_that_does_not_fall_from_1_to_0_is_refused(folder, settings):
    change(folder / "scheduler" / "scheduler_config.json", **settings)
    message = error_of(lambda: load_prior(folder))
    assert message.startswith(f"{folder}/scheduler cannot be used as scheduler (")
    assert message.endswith("): fetch it again, or give another with --prior")


@pytest.mark.parametrize(
    ("part", "settings"),
    [
        ("unet", {"sample_size": -1}),
        ("unet", {"sample_size": None}),
        ("unet", {"sample_size": 10**7}),
        ("unet", {"norm_eps": "x"}),
        ("unet", {"attention_head_dim": 7}),
        ("vae", {"scaling_factor": 0}),
        ("vae", {"scaling_factor": float("nan")}),
        ("vae", {"act_fn": {}}),
        ("text_encoder", {"hidden_act": "x"}),
        ("text_encoder", {"num_attention_heads": 0}),
        ("controlnet", {"block_out_channels": "x"}),
        ("controlnet", {"down_block_types": 5}),
    ],
)
def test_settings_of_a_network_that_make_no_sense_are_refused(folder, part, settings):
    change(folder / part / "config.json", **settings)
    message = error_of(lambda: load_prior(folder))
    assert message.startswith(f"{folder}/{part} cannot be used as {part} (")
    assert message.endswith(
        f"): fetch it again, or give another with --{'controlnet' if part == 'controlnet' else 'prior'}"
    )


@pytest.mark.parametrize(
    ("part", "key"),
    [("text_encoder", "num_hidden_layers"), ("text_encoder", "hidden_size"), ("vae", "layers_per_block")],
)
def test_a_network_larger_than_its_weights_is_never_built(folder, part, key):
    change(folder / part / "config.json", **{key: 10**9})
    assert error_of(lambda: load_prior(folder)) == (
        f"{folder}/{part}/config.json has {key} {10**9}, more than the weights beside it hold: fetch both again"
    )


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder", "controlnet"])
def test_weights_that_are_no_numbers_are_refused(folder, part):
    weights = folder / part / f"{WEIGHTS[part]}.safetensors"
    tensors = {name: torch.full_like(tensor, torch.nan) for name, tensor in load_file(weights).items()}
    save_file(tensors, weights, metadata={"format": "pt"})
    message = error_of(lambda: load_prior(folder))
    assert message.startswith(f"{folder}/{part} cannot be used as {part} (what comes out of it is not finite)")


def test_parts_of_different_models_are_refused(folder):
    networks = tiny_diffusion.networks("sd21")
    unet = networks["unet"].__class__.from_config({**networks["unet"].config, "in_channels": 9})
    unet.save_pretrained(folder / "unet")
    assert error_of(lambda: load_prior(folder)) == (
        f"the UNet in {folder}/unet has 9 channels and the VAE in {folder}/vae 4: use a prior that makes pictures from "
        "text alone"
    )


def test_out_of_memory_is_not_called_damage(folder, monkeypatch):
    def exhausted(*_arguments: object, **_options: object) -> None:
        raise MemoryError

    monkeypatch.setattr("diffusers.AutoencoderKL.from_pretrained", exhausted)
    with pytest.raises(MemoryError):
        load_prior(folder)


def test_a_library_that_cannot_be_imported_is_no_traceback(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "diffusers", None)
    message = error_of(lambda: load_prior(folder))
    assert message.startswith("the libraries that read a prior cannot be imported (")
    assert message.endswith(
        "): install headartist again, or mend the variables of your environment that begin with HF_"
    )
