"""The folder a prior is kept in: the diffusers layout, in the form that old and new library versions read alike.

- `model_index.json`
- `scheduler/`: `scheduler_config.json`
- `tokenizer/`: `vocab.json`, `merges.txt`, `tokenizer_config.json`, `special_tokens_map.json`
- `text_encoder/`: `config.json`, `model.safetensors` whose keys begin with `text_model.`
- `unet/`, `controlnet/`, `vae/`: `config.json`, `diffusion_pytorch_model.safetensors`
"""

import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from headartist.system.errors import HeadArtistError

WEIGHTS = {
    "text_encoder": "model",
    "unet": "diffusion_pytorch_model",
    "controlnet": "diffusion_pytorch_model",
    "vae": "diffusion_pytorch_model",
}
TOKENIZER_FILES = ("vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json")
_TEXT_CONFIG_KEYS = (
    "attention_dropout",
    "bos_token_id",
    "eos_token_id",
    "hidden_act",
    "hidden_size",
    "initializer_factor",
    "initializer_range",
    "intermediate_size",
    "layer_norm_eps",
    "max_position_embeddings",
    "num_attention_heads",
    "num_hidden_layers",
    "pad_token_id",
    "projection_dim",
    "vocab_size",
)
_MODEL_INDEX = {
    "_class_name": "StableDiffusionControlNetPipeline",
    "_diffusers_version": "0.31.0",
    "feature_extractor": [None, None],
    "image_encoder": [None, None],
    "requires_safety_checker": False,
    "safety_checker": [None, None],
    "scheduler": ["diffusers", "DDIMScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}


def save_prior(
    folder: Path,
    *,
    unet: nn.Module,
    controlnet: nn.Module | None,
    vae: nn.Module,
    text_encoder: nn.Module,
    tokenizer_folder: Path,
    scheduler_config: Mapping[str, object],
    dtype: torch.dtype = torch.float16,
    documents: Mapping[str, str] | None = None,
) -> Path:
    """Write a prior so that `load_prior` gives it back; an older folder of that name is replaced when all is written.

    The replacement is two renames, the old folder away and the new one into its place: an error before them leaves
    the old folder as it was, and a kill between them leaves both in a hidden folder beside it.

    Args:
        folder: where to; its parent is made when missing.
        unet: a diffusers `UNet2DConditionModel`.
        controlnet: a diffusers `ControlNetModel`, or None.
        vae: a diffusers `AutoencoderKL`.
        text_encoder: a transformers `CLIPTextModel`.
        tokenizer_folder: holds the files of a `CLIPTokenizer`, see `TOKENIZER_FILES`.
        scheduler_config: the settings of a `DDIMScheduler`: clock and prediction type.
        dtype: of the stored weights.
        documents: further text files by name, such as the model card.

    Raises:
        HeadArtistError: a weight does not fit into `dtype`, or a tokenizer file is missing.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    parts = {"unet": unet, "controlnet": controlnet, "vae": vae, "text_encoder": text_encoder}
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as scratch:
        fresh = Path(scratch) / "fresh"
        for part, module in parts.items():
            if module is not None:
                _write_part(fresh / part, part, module, dtype)
        _write_json(fresh / "scheduler" / "scheduler_config.json", {**scheduler_config, "_class_name": "DDIMScheduler"})
        _copy_tokenizer(tokenizer_folder, fresh / "tokenizer")
        index = _MODEL_INDEX | ({} if controlnet is None else {"controlnet": ["diffusers", "ControlNetModel"]})
        _write_json(fresh / "model_index.json", index)
        for name, text in (documents or {}).items():
            (fresh / name).write_text(text, encoding="utf-8")
        for path in (fresh, *fresh.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
        if folder.exists():
            folder.rename(Path(scratch) / "old")
        fresh.rename(folder)
    return folder


def weights_variant(folder: Path, part: str) -> str | None:
    """Which weights a part's folder holds: None for the plain file, "fp16" where only the half-precision one is there.

    The file's header is read, which tells a file that was cut short or is no safetensors at all.

    Raises:
        HeadArtistError: no configuration, no safetensors weights, or damaged ones.
    """
    if not (folder / "config.json").is_file():
        raise HeadArtistError(f"{folder} has no config.json: a prior folder wants {part}/ in the diffusers layout")
    for variant, suffix in ((None, ""), ("fp16", ".fp16")):
        weights = folder / f"{WEIGHTS[part]}{suffix}.safetensors"
        if not weights.is_file():
            continue
        try:
            with safe_open(weights, framework="pt"):
                return variant
        except SafetensorError as error:
            raise HeadArtistError(f"{weights} is damaged or cut short ({error}): fetch that file again") from error
    raise HeadArtistError(
        f"{folder} has no {WEIGHTS[part]}.safetensors: fetch it, or convert the weights you have to safetensors"
    )


def _write_part(folder: Path, part: str, module: nn.Module, dtype: torch.dtype) -> None:
    folder.mkdir(parents=True)
    if part == "text_encoder":
        config, weights = _text_config(module), _prefixed(module.state_dict())
    else:
        config, weights = _diffusers_config(module), module.state_dict()
    _write_json(folder / "config.json", config)
    stored = {name: _stored(f"{part}.{name}", tensor, dtype) for name, tensor in weights.items()}
    save_file(stored, folder / f"{WEIGHTS[part]}.safetensors", metadata={"format": "pt"})


def _stored(name: str, tensor: Tensor, dtype: torch.dtype) -> Tensor:
    if not tensor.is_floating_point():
        return tensor.detach().cpu().contiguous()
    # A clone, because safetensors refuses tensors that share their memory.
    stored = tensor.detach().to("cpu", dtype, copy=True, memory_format=torch.contiguous_format)
    if not stored.isfinite().all():
        raise HeadArtistError(f"weight {name} does not fit into {dtype}: save with dtype=torch.float32")
    return stored


def _prefixed(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Text encoder weights under the names every version of transformers reads (newer ones drop the prefix)."""
    bare = {name.removeprefix("text_model."): tensor for name, tensor in weights.items()}
    return {f"text_model.{name}": tensor for name, tensor in bare.items() if not name.endswith("position_ids")}


def _text_config(module: nn.Module) -> dict[str, Any]:
    config: Any = module.config
    kept = {key: getattr(config, key) for key in _TEXT_CONFIG_KEYS}
    return kept | {"architectures": ["CLIPTextModel"], "model_type": "clip_text_model"}


def _diffusers_config(module: nn.Module) -> dict[str, Any]:
    as_module: Any = module
    config: dict[str, Any] = json.loads(as_module.to_json_string())
    config.pop("_name_or_path", None)
    return config


def _copy_tokenizer(source: Path, target: Path) -> None:
    target.mkdir()
    for name in TOKENIZER_FILES:
        if not (source / name).is_file():
            raise HeadArtistError(f"tokenizer folder {source} has no {name}: it wants {', '.join(TOKENIZER_FILES)}")
        shutil.copyfile(source / name, target / name)


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n", encoding="utf-8")
