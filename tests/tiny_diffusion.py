"""Tiny random diffusers folders, shaped like the real priors, for tests that need a prior but not a good one."""

import json
from pathlib import Path
from typing import Literal, get_args

import torch
from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel
from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPTextConfig, CLIPTextModel

from headartist.priors.layout import save_prior

Kind = Literal["sd21", "sd15", "embedded"]
KINDS: tuple[Kind, ...] = get_args(Kind)

WORDS = (
    "a an and back beard black blonde bronze brown cartoon dslr elderly face front glasses hair hat head long "
    "low man normal of old overhead overexposed photo picture portrait quality red render saturation semi realistic "
    "short side sketch smile statue the underexposed view white with woman worst young"
)
START, END = "<|startoftext|>", "<|endoftext|>"
TEXT_WIDTH = 16
SD_CLOCK = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
}


def build(folder: Path, kind: Kind = "sd21", seed: int = 0, *, with_controlnet: bool = True) -> Path:
    """Write a tiny prior of one kind; equal seeds give equal folders."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _build(folder, kind, with_controlnet)


def _build(folder: Path, kind: Kind, with_controlnet: bool) -> Path:
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
    tokens = 32 if embedded else 77
    tokenizer_folder = folder.parent / f".{folder.name}-tokenizer"
    vocabulary = write_tokenizer(tokenizer_folder, tokens)
    text_encoder = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=vocabulary,
            hidden_size=TEXT_WIDTH,
            intermediate_size=2 * TEXT_WIDTH,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=tokens,
            projection_dim=TEXT_WIDTH,
            bos_token_id=vocabulary - 2,
            eos_token_id=vocabulary - 1,
            pad_token_id=vocabulary - 1,
        )
    )
    clock = {"prediction_type": "v_prediction", "rescale_betas_zero_snr": True} if embedded else {}
    return save_prior(
        folder,
        unet=unet,
        controlnet=controlnet if with_controlnet else None,
        vae=vae,
        text_encoder=text_encoder,
        tokenizer_folder=tokenizer_folder,
        scheduler_config={**SD_CLOCK, "prediction_type": "epsilon", **clock},
    )


def write_tokenizer(folder: Path, tokens: int) -> int:
    """A CLIP tokenizer that knows every byte and spells `WORDS` in few tokens; returns its vocabulary's size."""
    folder.mkdir(parents=True, exist_ok=True)
    alphabet = sorted(ByteLevel.alphabet())
    merges: dict[tuple[str, str], None] = {}
    for word in WORDS.split():
        pieces = [*word[:-1], word[-1] + "</w>"]
        while len(pieces) > 1:
            merges[pieces[0], pieces[1]] = None
            pieces[:2] = ["".join(pieces[:2])]
    names = [*alphabet, *(letter + "</w>" for letter in alphabet), *map("".join, merges), START, END]
    vocabulary = {name: index for index, name in enumerate(dict.fromkeys(names))}
    special = {"bos_token": START, "eos_token": END, "unk_token": END, "pad_token": END}
    settings = {**special, "do_lower_case": True, "model_max_length": tokens, "tokenizer_class": "CLIPTokenizer"}
    (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    (folder / "special_tokens_map.json").write_text(json.dumps(special), encoding="utf-8")
    return len(vocabulary)
