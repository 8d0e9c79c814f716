"""Tiny random diffusers folders, shaped like the real priors, for tests that need a prior but not a good one."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, get_args

import torch
from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel
from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPTextConfig, CLIPTextModel

from headartist.priors.files.layout import save_prior

Kind = Literal["sd21", "sd15", "embedded"]
KINDS: tuple[Kind, ...] = get_args(Kind)

WORDS = (
    "a an and back beard black blonde bronze brown cartoon dslr elderly face front glasses hair hat head long "
    "low man normal of old overhead overexposed photo picture portrait quality red render saturation semi realistic "
    "short side sketch smile statue the underexposed view white with woman worst young"
)
START, END = "<|startoftext|>", "<|endoftext|>"
TEXT_WIDTH = 16
TOKENS: dict[Kind, int] = {"sd21": 77, "sd15": 77, "embedded": 32}
_SD_CLOCK = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
    "prediction_type": "epsilon",
}
CLOCKS: dict[Kind, dict[str, object]] = {
    "sd21": _SD_CLOCK,
    "sd15": _SD_CLOCK,
    "embedded": {**_SD_CLOCK, "prediction_type": "v_prediction", "rescale_betas_zero_snr": True},
}


def build(folder: Path, kind: Kind = "sd21", seed: int = 0, *, with_controlnet: bool = True) -> Path:
    """Write a tiny prior of one kind; equal seeds give equal folders."""
    with TemporaryDirectory() as scratch:
        write_tokenizer(Path(scratch), TOKENS[kind])
        parts = networks(kind, seed) | ({} if with_controlnet else {"controlnet": None})
        return save_prior(folder, **parts, tokenizer_folder=Path(scratch), scheduler_config=CLOCKS[kind])


def networks(kind: Kind, seed: int = 0) -> dict[str, Any]:
    """The random networks of a tiny prior, by the names of `save_prior`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _networks(kind)


def _networks(kind: Kind) -> dict[str, Any]:
    embedded = kind == "embedded"
    shared = {
        "in_channels": 4,
        "block_out_channels": (8, 16),
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "layers_per_block": 1,
        "norm_num_groups": 4,
        "cross_attention_dim": TEXT_WIDTH,
        "attention_head_dim": 2 if kind == "sd15" else (1, 2),
        "use_linear_projection": kind != "sd15",
        "addition_embed_type": "text" if embedded else None,
        "addition_embed_type_num_heads": 2,
    }
    unet = UNet2DConditionModel(
        sample_size=16 if embedded else 8, up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"), **shared
    )
    controlnet = ControlNetModel(conditioning_embedding_out_channels=(4, 4, 8, 8), **shared)
    for name, parameter in controlnet.named_parameters():  # zeros and small weights would make landmarks matter little
        if name.startswith(("controlnet_cond_embedding", "controlnet_down_blocks", "controlnet_mid_block")):
            torch.nn.init.normal_(parameter, std=0.22)
    levels = 3 if embedded else 4
    vae = AutoencoderKL(
        block_out_channels=(4,) * levels,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        latent_channels=4,
        norm_num_groups=2,
        sample_size=64,
        scaling_factor=0.5 if embedded else 0.18215,
    )
    vocabulary = len(_vocabulary())
    text_encoder = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=vocabulary,
            hidden_size=TEXT_WIDTH,
            intermediate_size=2 * TEXT_WIDTH,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=TOKENS[kind],
            projection_dim=TEXT_WIDTH,
            bos_token_id=vocabulary - 2,
            eos_token_id=vocabulary - 1,
            pad_token_id=vocabulary - 1,
        )
    )
    return {"unet": unet, "controlnet": controlnet, "vae": vae, "text_encoder": text_encoder}


def write_tokenizer(folder: Path, tokens: int) -> None:
    """A CLIP tokenizer that knows every byte and spells `WORDS` in few tokens."""
    folder.mkdir(parents=True, exist_ok=True)
    special = {"bos_token": START, "eos_token": END, "unk_token": END, "pad_token": END}
    settings = {**special, "do_lower_case": True, "model_max_length": tokens, "tokenizer_class": "CLIPTokenizer"}
    lines = ["#version: 0.2", *(" ".join(pair) for pair in _merges())]
    (folder / "vocab.json").write_text(json.dumps(_vocabulary()), encoding="utf-8")
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    (folder / "special_tokens_map.json").write_text(json.dumps(special), encoding="utf-8")


def _merges() -> list[tuple[str, str]]:
    """Byte pair merges that make one token of every word of `WORDS`."""
    merges: list[tuple[str, str]] = []
    for word in WORDS.split():
        pieces = [*word[:-1], word[-1] + "</w>"]
        for pair in merges:
            pieces = _merged(pieces, pair)
        while len(pieces) > 1:
            merges.append((pieces[0], pieces[1]))
            pieces = _merged(pieces, merges[-1])
    return merges


def _merged(pieces: list[str], pair: tuple[str, str]) -> list[str]:
    merged: list[str] = []
    for piece in pieces:
        if merged and (merged[-1], piece) == pair:
            merged[-1] += piece
        else:
            merged.append(piece)
    return merged


def _vocabulary() -> dict[str, int]:
    alphabet = sorted(ByteLevel.alphabet())
    names = [*alphabet, *(letter + "</w>" for letter in alphabet), *map("".join, _merges()), START, END]
    return {name: index for index, name in enumerate(dict.fromkeys(names))}
