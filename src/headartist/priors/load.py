"""Reading a prior from its folders: complete, sound and able to run, or one sentence that says which part is not."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from textwrap import shorten
from typing import Any

import torch
from torch import Tensor

from headartist.priors.files.hub import locate
from headartist.priors.files.hub_cache import mend
from headartist.priors.files.hub_client import cache_folder
from headartist.priors.files.layout import weights_variant
from headartist.priors.files.sources import FACE_CONTROLNET, PriorSource, resolve
from headartist.priors.settings import check_clock, check_network_size, check_words, token_limit
from headartist.priors.stable_diffusion import StableDiffusionPrior
from headartist.system.errors import HeadArtistError
from headartist.system.loading import LOADING

_PROBE = "a photo of a head"
_LARGEST = 1024  # side of a latent


def load_prior(
    source: PriorSource | str | Path,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype | None = None,
    controlnet: str | Path | None = None,
    offline: bool = False,
    progress: bool = True,
) -> StableDiffusionPrior:
    """Load a prior from a name, a folder or the hub (see `resolve`), trying the local cache before the network.

    Args:
        source: what to load.
        device: where it runs.
        dtype: of the networks; float16 on CUDA and float32 elsewhere by default.
        controlnet: another ControlNet than the source's, or "none".
        offline: never touch the network.
        progress: whether a download shows a bar on the terminal.

    Raises:
        HeadArtistError: unknown, unreachable, incomplete, damaged or senseless, each with what to do.
    """
    with LOADING:
        return _load(source, device, dtype, controlnet, offline=offline, progress=progress)


def _load(
    source: PriorSource | str | Path,
    device: torch.device | str,
    dtype: torch.dtype | None,
    controlnet: str | Path | None,
    *,
    offline: bool,
    progress: bool,
) -> StableDiffusionPrior:
    with _importing():
        cache_folder()
    if dtype is None:
        dtype = torch.float16 if torch.device(device).type == "cuda" else torch.float32
    half = dtype == torch.float16
    found = resolve(source, controlnet)
    folders = locate(found, half=half, offline=offline, progress=progress)
    with _quiet():
        parts = _load_parts(folders, dtype)
        with _reading(folders["unet"], "unet"):
            size = parts["unet"].config.sample_size
            _demand(type(size) is int and 1 <= size <= _LARGEST, f"its sample_size is {size!r}")
        _check_fit(parts, folders)
        prior = StableDiffusionPrior(**parts, device=device, dtype=dtype)
        _try_out(parts, folders, prior)
    prior.name = found.name
    return prior


@contextmanager
def _importing() -> Iterator[None]:
    """Say in one sentence that a library is broken, or cannot bear the environment.

    Raises:
        HeadArtistError: in place of what its import raises.
    """
    try:
        yield
    except Exception as error:
        raise HeadArtistError(
            f"the libraries that read a prior cannot be imported ({_in_short(error)}): install headartist again, or "
            "mend the variables of your environment that begin with HF_"
        ) from error


def _in_short(error: Exception) -> str:
    return shorten(str(error).strip() or type(error).__name__, 160, placeholder=" ...")


def _load_parts(folders: Mapping[str, Path], dtype: torch.dtype) -> dict[str, Any]:
    """Read every part with its own library class; diffusers and transformers are imported here and nowhere else."""
    with _importing():
        from diffusers import AutoencoderKL, ControlNetModel, DDIMScheduler, UNet2DConditionModel
        from transformers import CLIPTextModel, CLIPTokenizer

    kinds = {"unet": UNet2DConditionModel, "controlnet": ControlNetModel, "vae": AutoencoderKL}
    parts: dict[str, Any] = {"controlnet": None}
    for part, kind in kinds.items():
        if part in folders:
            with _reading(folders[part], part):
                parts[part] = _load_weights(kind, folders[part], part, torch_dtype=dtype)
    with _reading(folders["text_encoder"], "text_encoder"):
        # Without a dtype: old and new transformers name that argument differently, and the prior converts anyway.
        parts["text_encoder"] = encoder = _load_weights(CLIPTextModel, folders["text_encoder"], "text_encoder")
    with _reading(folders["tokenizer"], "tokenizer") as folder:
        check_words(folder, encoder.config.vocab_size)
        limit = token_limit(folder, encoder.config.max_position_embeddings)
        parts["tokenizer"] = CLIPTokenizer.from_pretrained(folder, local_files_only=True, model_max_length=limit)
    with _reading(folders["scheduler"], "scheduler") as folder:
        check_clock(folder)
        parts["scheduler"] = DDIMScheduler.from_pretrained(folder, local_files_only=True)
    return parts


def _load_weights(kind: Any, folder: Path, part: str, **options: Any) -> Any:
    """One network from its folder, complete or not at all."""
    variant = weights_variant(folder, part)
    check_network_size(folder, part, variant)
    module, info = kind.from_pretrained(
        folder, use_safetensors=True, variant=variant, output_loading_info=True, local_files_only=True, **options
    )
    missing = sorted(key for key in info["missing_keys"] if not key.endswith("position_ids"))
    if missing:
        raise HeadArtistError(f"{folder} lacks {len(missing)} weights (first {missing[0]!r}): fetch it again")
    return module


@contextmanager
def _reading(folder: Path, part: str) -> Iterator[Path]:
    """Say in one sentence whatever a library raises on a folder, and mend it where it is of the hub's cache.

    Raises:
        HeadArtistError: in place of the library's errors.
    """
    mend(folder, whole=False)
    try:
        yield folder
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # what the libraries raise on damaged files follows no rule
        mend(folder, whole=True)
        if isinstance(error, HeadArtistError):
            raise
        option = "--controlnet" if part == "controlnet" else "--prior"
        raise HeadArtistError(
            f"{folder} cannot be used as {part} ({_in_short(error)}): fetch it again, or give another with {option}"
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the libraries' bars and warnings off the terminal, and leave their switches as they were."""
    with _importing():
        from diffusers.utils import logging as of_diffusers
        from transformers.utils import logging as of_transformers

    bars = of_transformers.is_progress_bar_enabled()
    levels = [log.get_verbosity() for log in (of_diffusers, of_transformers)]
    of_transformers.disable_progress_bar()
    for log in (of_diffusers, of_transformers):
        log.set_verbosity(log.CRITICAL)
    try:
        yield
    finally:
        if bars:
            of_transformers.enable_progress_bar()
        for log, level in zip((of_diffusers, of_transformers), levels, strict=True):
            log.set_verbosity(level)


def _check_fit(parts: Mapping[str, Any], folders: Mapping[str, Path]) -> None:
    """Refuse parts of different models."""
    unet, controlnet, vae, encoder = (parts[part] for part in ("unet", "controlnet", "vae", "text_encoder"))
    wanted = unet.config.cross_attention_dim
    if encoder.config.hidden_size != wanted:
        raise HeadArtistError(
            f"the text encoder in {folders['text_encoder']} has {encoder.config.hidden_size} features but the UNet in "
            f"{folders['unet']} reads {wanted}: use a prior of the kind of Stable Diffusion 1.5 or 2.1"
        )
    if {unet.config.in_channels, unet.config.out_channels} != {vae.config.latent_channels}:
        raise HeadArtistError(
            f"the UNet in {folders['unet']} has {unet.config.in_channels} channels and the VAE in {folders['vae']} "
            f"{vae.config.latent_channels}: use a prior that makes pictures from text alone"
        )
    if controlnet is not None and controlnet.config.cross_attention_dim != wanted:
        raise HeadArtistError(
            f"the ControlNet in {folders['controlnet']} reads {controlnet.config.cross_attention_dim} text features "
            f"but the UNet in {folders['unet']} has {wanted}: use {FACE_CONTROLNET} with SD 2.1 and "
            f"{FACE_CONTROLNET}/diffusion_sd15 with SD 1.5"
        )


@torch.no_grad()
def _try_out(parts: Mapping[str, Any], folders: Mapping[str, Path], prior: StableDiffusionPrior) -> None:
    """Run every part once, as small as it goes, so that settings or weights that make no sense are found now.

    Raises:
        HeadArtistError: a part cannot run, or what comes out is not finite.
    """
    limit = parts["tokenizer"].model_max_length
    with _reading(folders["tokenizer"], "tokenizer"):
        ids = parts["tokenizer"](_PROBE, padding="max_length", max_length=limit, truncation=True)["input_ids"]
        _demand(len(ids) == limit and len(set(ids)) > 2, "it does not split a sentence into words")
    with _reading(folders["text_encoder"], "text_encoder"):
        features = parts["text_encoder"](torch.tensor([ids], device=prior.device))[0]
        _demand_finite(features)
    with _reading(folders["scheduler"], "scheduler"):
        clock = prior.alpha_bar
        _demand_finite(clock)
        _demand(
            bool((clock.diff() <= 0).all() and clock[0] <= 1 and clock[-1] >= 0), "its clock does not fall from 1 to 0"
        )
    side = 2 ** (len(parts["unet"].config.block_out_channels) - 1)
    with _reading(folders["vae"], "vae"):
        scale, size = parts["vae"].config.scaling_factor, side * prior.picture_size // prior.latent_shape[1]
        _demand(scale > 0, f"its scaling_factor is {scale}")
        grey = torch.zeros(1, 3, size, size, device=prior.device, dtype=prior.dtype)
        latent = parts["vae"].encode(grey).latent_dist.mean
        _demand_finite(latent * scale, parts["vae"].decode(latent).sample)
    inputs = latent, torch.tensor([len(clock) // 2], device=prior.device), features.to(prior.dtype)
    added: dict[str, Any] = {}
    if parts["controlnet"] is not None:
        with _reading(folders["controlnet"], "controlnet"):
            size = side * prior.landmark_size // prior.latent_shape[1]
            black = torch.zeros(1, 3, size, size, device=prior.device, dtype=prior.dtype)
            down, middle = parts["controlnet"](*inputs, controlnet_cond=black, return_dict=False)
            _demand_finite(*down, middle)
            added = {"down_block_additional_residuals": down, "mid_block_additional_residual": middle}
    with _reading(folders["unet"], "unet"):
        _demand_finite(parts["unet"](*inputs, **added, return_dict=False)[0])


def _demand(sound: bool, otherwise: str) -> None:
    if not sound:
        raise ValueError(otherwise)


def _demand_finite(*tensors: Tensor) -> None:
    _demand(all(bool(tensor.isfinite().all()) for tensor in tensors), "what comes out of it is not finite")
